package schema

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/labctl-dev/labctl/lab"
)

// machine is what routers and servers have in common; l has its networks.
func (d *decoder) machine(path, name string, m machineDoc, l lab.Lab) lab.Machine {
	out := lab.Machine{
		Name: name, CPUs: m.CPUs, Memory: d.size(path+".memory", m.Memory), Arch: lab.Arch(m.Arch),
		Image: d.imageFor(m.Image, lab.Arch(m.Arch)), Firmware: lab.Firmware(m.Firmware), Power: lab.Power(m.Power),
		Protect: m.Protect, Ready: d.patience(path, m), Guest: d.guest(path, m),
		Groups: set(m.Groups), Firewall: m.Firewall, Boot: m.Boot.list, Nested: m.Nested, Devices: m.Devices, GPUs: m.GPUs, Adopted: m.Adopted,
	}
	if m.External != "" {
		return d.external(path, out, m, l)
	}
	if m.Adopted != "" { // what is refused in it by adopted, in adopted.go
		out.Arch, out.Image, out.Firmware, out.Guest, out.Firewall, out.Boot = "", "", "", lab.Guest{}, false, nil
		out.NICs = d.nics(path, m, l)
		return out
	}
	if out.Installer = d.installer(path+".installer", m); out.Installer != nil {
		out.Image = ""
	}
	if m.networked() {
		out.Install = lab.FromNetwork
	} else if out.Starts() == nil {
		out.Boot = nil
	}
	pool := d.pool
	if m.Pool != nil {
		pool = *m.Pool
	}
	out.Disks = []lab.Disk{{Name: "root", Size: d.size(path+".disk", m.Disk), Pool: pool}}
	for _, f := range m.Disks {
		var v diskDoc
		d.member(path+".disks", f, &v)
		out.Disks = append(out.Disks, lab.Disk{Name: f.name, Size: d.size(path+"."+lab.Path("disks", f.name, "size"), v.Size), Pool: pool})
	}
	d.data(path, m.Data, &out)
	out.NICs = d.nics(path, m, l)
	if out.Firmware == "" {
		out.Firmware = defaultFirmware(d.images[out.Image].Kernel && out.Boot == nil && !out.Networked(), out.Arch)
	}
	return out
}

// networked says whether a machine is installed from the network.
func (m machineDoc) networked() bool { return m.Install == lab.FromNetwork || m.Boot.pxe }

// patience is how long a machine may take until it is what it should be.
func (d *decoder) patience(path string, m machineDoc) lab.Duration {
	switch {
	case m.Ready != "":
		return d.duration(path+".ready", m.Ready)
	case m.networked() && m.Installer != ownInstaller:
		return lab.Duration(90 * time.Minute)
	case m.networked():
		return lab.Duration(45 * time.Minute)
	}
	return lab.Duration(20 * time.Minute)
}

// nics are a machine's interfaces in the order in which its guest sees them.
func (d *decoder) nics(path string, m machineDoc, l lab.Lab) []lab.NIC {
	var out []lab.NIC
	for _, f := range m.NICs {
		out = append(out, d.nic(path+"."+lab.Path("nics", f.name), f, l))
	}
	slices.SortStableFunc(out, func(a, b lab.NIC) int { return uplinkRank(l, a) - uplinkRank(l, b) })
	return out
}

// uplinkRank puts uplinks first, whose interface has the default route.
func uplinkRank(l lab.Lab, n lab.NIC) int {
	if net, _ := l.Network(n.Network); net.Uplink {
		return 0
	}
	return 1
}

func defaultFirmware(kernel bool, arch lab.Arch) lab.Firmware {
	switch {
	case kernel:
		return lab.Kernel
	case arch == lab.ARM64:
		return lab.UEFI
	}
	return lab.BIOS
}

func (d *decoder) nic(path string, f member, l lab.Lab) lab.NIC {
	var v nicDoc
	d.member(path, f, &v)
	out := lab.NIC{Network: f.name, MAC: v.MAC, DUID: strings.ToLower(v.DUID), Link: lab.Link(v.Link)}
	if v.IP != "" {
		out.Addr, out.Given = d.addr(path+".ip", v.IP), true
	}
	if v.IP6 != "" {
		out.Addr6, out.Given6 = d.addr(path+".ip6", v.IP6), true
	}
	// A network with IPv6 alone has its prefix where others have their first one.
	if n, ok := l.Network(f.name); ok && v.IP == "" && n.CIDR.IsValid() && n.CIDR.Addr().Is6() && !n.CIDR6.IsValid() {
		out.Addr, out.Given, out.Addr6, out.Given6 = out.Addr6, out.Given6, netip.Addr{}, false
	}
	return out
}

func (d *decoder) guest(path string, m machineDoc) lab.Guest {
	out := lab.Guest{User: m.User, Packages: set(m.Packages), Sources: d.sources(path, m.Sources, lab.Arch(m.Arch)), Users: d.users(m.Users)}
	for _, name := range slices.Sorted(maps.Keys(m.Files)) {
		f := m.Files[name]
		file := lab.File{Path: name, From: f.From, Owner: f.Owner, Group: f.Group, Restart: f.Restart}
		switch {
		case count(f.Text != nil, f.Secret != nil, f.From != nil) != 1:
			d.problem(path+"."+lab.Path("files", name), "needs exactly one of text, secret and from")
		case f.From != nil:
			d.origin(path+"."+lab.Path("files", name, "from"), f.From)
		case f.Text != nil:
			file.Text, file.Fill = *f.Text, f.Fill
		default:
			file.Secret = *f.Secret
		}
		file.Mode = cmp.Or(f.Mode, "0600")
		if file.Public() {
			file.Mode = cmp.Or(f.Mode, "0644")
		}
		out.Files = append(out.Files, file)
	}
	for _, name := range slices.Sorted(maps.Keys(m.Units)) {
		out.Units = append(out.Units, lab.Unit{Name: name, Enabled: m.Units[name].Enabled, Running: m.Units[name].Running})
	}
	for _, f := range m.Commands {
		var v commandDoc
		d.member(path+".commands", f, &v)
		out.Commands = append(out.Commands, lab.Command{Name: f.name, Run: v.Run, Creates: v.Creates, Keep: v.Keep, OnChange: v.OnChange})
	}
	return out
}

// count is how many of all are true.
func count(all ...bool) int {
	n := 0
	for _, one := range all {
		if one {
			n++
		}
	}
	return n
}

package check

import (
	"fmt"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// besides is what the disk of a machine that is installed from the network holds beside its image: the largest seed, and
// what aligning it takes.
const besides = 18 * lab.MiB

// install checks how a machine comes to what is on its root disk.
func (v *vetter) install(m lab.Machine) {
	path := m.Path("install")
	switch {
	case m.Install == "" || m.Adopted != "":
		return
	case !m.Networked():
		v.error(path, "%q is neither %q nor %q", m.Install, lab.FromDisk, lab.FromNetwork)
		return
	case m.Firmware == lab.Kernel:
		v.clash(m.Path("firmware"), path, "with firmware %q the hypervisor starts the image's kernel, and the disk of %s is written by what it starts from the network: use %q or %q", lab.Kernel, m.Name, lab.BIOS, lab.UEFI)
		return
	}
	all := v.lab.Installers(m)
	switch {
	case len(all) == 0:
		v.error(path, "nobody installs %s: %s", m.Name, unserved(m))
	case len(all) > 1:
		var who []string
		for _, i := range all {
			s := i.Server
			if s == "" {
				s = "the host"
			}
			who = append(who, fmt.Sprintf("%s on %s", s, i.Network))
		}
		v.error(path, "%s would be installed by %s: one is wanted; boot: [\"disk\", \"network:NAME\"] names a network", m.Name, strings.Join(who, " and by "))
	case !slices.Contains(m.Starts(), string(lab.FromNetwork)+":"+all[0].Network):
		v.clash(m.Path("boot"), path, "%s is installed from %s, and does not start from it", m.Name, all[0].Network)
	}
	if i, ok := v.images[m.Image]; ok && len(m.Disks) > 0 && m.Disks[0].Size >= i.MinDisk && m.Disks[0].Size < i.MinDisk+besides {
		v.error(m.Path("disk"), "%s is too small: image %s needs %s, and the seed that is put beside it %s", m.Disks[0].Size, i.Name, i.MinDisk, besides)
	}
}

// least is what distributions' installers need. With less memory debian-installer begins to ask questions (lowmem);
// Ubuntu's initrd holds the whole medium in memory.
var least = map[lab.Answers]struct{ memory, disk lab.Bytes }{
	lab.Preseed:     {512 * lab.MiB, 3 * lab.GiB},
	lab.Autoinstall: {4 * lab.GiB, 8 * lab.GiB},
}

// installer checks a machine that a distribution's installer makes.
func (v *vetter) installer(m lab.Machine) {
	i, need := m.Installer, least[m.Installer.Answers]
	if m.Memory < need.memory {
		v.error(m.Path("memory"), "%s is too little: installer %s needs %s", m.Memory, i.Name, need.memory)
	}
	if len(m.Disks) > 0 && m.Disks[0].Size < need.disk {
		v.error(m.Path("disk"), "%s is too small: what installer %s makes needs %s", m.Disks[0].Size, i.Name, need.disk)
	}
	if m.Firmware == lab.BIOS && m.Arch == lab.ARM64 {
		v.error(m.Path("firmware"), "%s has no BIOS: use %q", m.Arch, lab.UEFI)
	}
}

// unserved says why nobody installs the machine.
func unserved(m lab.Machine) string {
	var names []string
	for _, n := range m.NICs {
		if len(m.Boot) == 0 || slices.Contains(m.Starts(), string(lab.FromNetwork)+":"+n.Network) {
			names = append(names, n.Network)
		}
	}
	switch len(names) {
	case 0:
		return "it starts from no network"
	case 1:
		return fmt.Sprintf("its network %s has neither netboot: %q nor a machine with a role that installs", names[0], lab.ByHost)
	}
	return fmt.Sprintf("none of its networks %s has netboot: %q or a machine with a role that installs", strings.Join(names, ", "), lab.ByHost)
}

// netboot checks who serves installations on the networks.
func (v *vetter) netboot() {
	for _, n := range v.lab.Networks {
		path := lab.Path("networks", n.Name, "netboot")
		switch {
		case n.Netboot == "":
			continue
		case n.Netboot != lab.ByHost:
			v.error(path, "%q is not %q", n.Netboot, lab.ByHost)
		case n.Adopted != "":
			v.clash(path, lab.Path("networks", n.Name, "adopted"), "%s is adopted, and labctl leaves it as it is", n.Name)
		case n.CIDR.IsValid() && !n.CIDR.Addr().Is4():
			v.error(path, "%s has IPv6 alone, and machines are given addresses to be installed by DHCP for IPv4", n.Name)
		}
		for _, m := range v.lab.Machines {
			if m.ServesInstalls(n) {
				v.clash(path, m.Path("nics", n.Name), "the host and %s would both answer machines that start from %s", m.Name, n.Name)
			}
			if m.Routing != nil && slices.Contains(m.Routing.DHCP, n.Name) {
				v.clash(path, m.Path("dhcp"), "the host and %s would both give addresses on %s", m.Name, n.Name)
			}
		}
	}
}

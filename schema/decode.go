package schema

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/labctl-dev/labctl/lab"
)

// decoder makes a lab.Lab of a document and collects what the definition could not say: each problem with its path,
// for Spec.Locate to find.
type decoder struct {
	images   map[string]lab.Image // the well-known ones and the lab's own
	problems Errors
}

func (d *decoder) problem(path, format string, args ...any) {
	d.problems = append(d.problems, Error{Path: path, Message: fmt.Sprintf(format, args...)})
}

// decode reads what CUE exported. The lab is worth nothing if there are problems.
func decode(text []byte, catalogue []lab.Image) (lab.Lab, Errors) {
	d := &decoder{images: map[string]lab.Image{}}
	var doc document
	if err := json.Unmarshal(text, &doc); err != nil {
		d.problem("", "cannot read the lab as CUE exports it: %v", err)
		return lab.Lab{}, d.problems
	}
	d.refuse(doc)
	for _, i := range catalogue {
		d.images[i.Name] = i
	}
	for name, i := range doc.Images {
		d.images[name] = d.image(name, i)
	}
	l := lab.Lab{Name: doc.Name, Domain: doc.Domain}
	for _, name := range slices.Sorted(maps.Keys(doc.Networks)) {
		l.Networks = append(l.Networks, d.network(name, doc.Networks[name]))
	}
	used := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(doc.Servers)) {
		m := d.machine(name, doc.Servers[name], l)
		l.Machines = append(l.Machines, m)
		used[m.Image] = true
	}
	for _, name := range slices.Sorted(maps.Keys(used)) {
		if i, ok := d.images[name]; ok {
			l.Images = append(l.Images, i)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(doc.Secrets)) {
		l.Secrets = append(l.Secrets, d.secret(name, doc.Secrets[name]))
	}
	l.Targets = d.targets(doc.Targets)
	return l, d.problems
}

// refuse names everything that has its place in the definition and is not built yet.
func (d *decoder) refuse(doc document) {
	for what, all := range map[string]map[string]any{"routers": doc.Routers, "pools": doc.Pools, "checks": doc.Checks} {
		for _, name := range slices.Sorted(maps.Keys(all)) {
			d.problem(joinPath(what, name), "%s are not built yet", what)
		}
	}
	if len(doc.Policy) > 0 {
		d.problem("policy", "policy is not built yet")
	}
	for _, name := range slices.Sorted(maps.Keys(doc.Servers)) {
		if len(doc.Servers[name].Roles) > 0 {
			d.problem(joinPath("servers", name, "roles"), "roles are not built yet")
		}
	}
}

func (d *decoder) network(name string, n networkDoc) lab.Network {
	out := lab.Network{Name: name, Uplink: n.Uplink, MTU: n.MTU}
	path := joinPath("networks", name)
	switch {
	case n.CIDR != "":
		p, err := netip.ParsePrefix(n.CIDR)
		if err != nil {
			d.problem(path+".cidr", "%q is not a network such as \"10.20.0.0/24\"", n.CIDR)
		}
		out.CIDR = p
	case !n.Uplink:
		d.problem(path, "needs a cidr such as \"10.20.0.0/24\", or uplink: true")
	}
	if n.DHCP != nil {
		out.DHCP = &lab.Range{From: d.addr(path+".dhcp.from", n.DHCP.From), To: d.addr(path+".dhcp.to", n.DHCP.To)}
	}
	return out
}

func (d *decoder) machine(name string, m machineDoc, l lab.Lab) lab.Machine {
	path := joinPath("servers", name)
	out := lab.Machine{
		Name: name, CPUs: m.CPUs, Memory: d.size(path+".memory", m.Memory), Arch: lab.Arch(m.Arch),
		Image: d.imageFor(m.Image, lab.Arch(m.Arch)), Firmware: lab.Firmware(m.Firmware), Power: lab.Power(m.Power),
		Protect: m.Protect, Ready: d.duration(path+".ready", m.Ready), Guest: d.guest(path, m),
		Disks: []lab.Disk{{Name: "root", Size: d.size(path+".disk", m.Disk)}},
	}
	for _, f := range m.Disks {
		var v diskDoc
		d.member(path+".disks", f, &v)
		out.Disks = append(out.Disks, lab.Disk{Name: f.name, Size: d.size(joinPath("servers", name, "disks", f.name, "size"), v.Size)})
	}
	for _, f := range m.NICs {
		out.NICs = append(out.NICs, d.nic(joinPath("servers", name, "nics", f.name), f))
	}
	slices.SortStableFunc(out.NICs, func(a, b lab.NIC) int { return uplinkRank(l, a) - uplinkRank(l, b) })
	if out.Firmware == "" {
		out.Firmware = defaultFirmware(d.images[out.Image].Kernel, out.Arch)
	}
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

func (d *decoder) nic(path string, f member) lab.NIC {
	var v nicDoc
	d.member(path, f, &v)
	out := lab.NIC{Network: f.name, MAC: v.MAC, Link: lab.Link(v.Link)}
	if v.IP != "" {
		out.Addr, out.Given = d.addr(path+".ip", v.IP), true
	}
	return out
}

func (d *decoder) guest(path string, m machineDoc) lab.Guest {
	out := lab.Guest{User: m.User, Packages: slices.Compact(slices.Sorted(slices.Values(m.Packages)))}
	for _, name := range slices.Sorted(maps.Keys(m.Files)) {
		f := m.Files[name]
		file := lab.File{Path: name, Owner: f.Owner, Group: f.Group, Restart: f.Restart}
		switch {
		case (f.Text == nil) == (f.Secret == nil):
			d.problem(path+"."+joinPath("files", name), "needs exactly one of text and secret")
		case f.Text != nil:
			file.Text, file.Mode = *f.Text, cmp.Or(f.Mode, "0644")
		default:
			file.Secret, file.Mode = *f.Secret, cmp.Or(f.Mode, "0600")
		}
		out.Files = append(out.Files, file)
	}
	for _, name := range slices.Sorted(maps.Keys(m.Units)) {
		out.Units = append(out.Units, lab.Unit{Name: name, Enabled: m.Units[name].Enabled, Running: m.Units[name].Running})
	}
	for _, f := range m.Commands {
		var v commandDoc
		d.member(path+".commands", f, &v)
		out.Commands = append(out.Commands, lab.Command{Name: f.name, Run: v.Run, Creates: v.Creates})
	}
	return out
}

func (d *decoder) secret(name string, s secretDoc) lab.Secret {
	out, sources := lab.Secret{Name: name}, 0
	if s.Env != nil {
		out.Env, sources = *s.Env, sources+1
	}
	if s.File != nil {
		out.File, sources = *s.File, sources+1
	}
	if s.Generate != nil {
		out.Generate, sources = *s.Generate, sources+1
	}
	if sources != 1 || out == (lab.Secret{Name: name}) {
		d.problem(joinPath("secrets", name), "needs exactly one of env, file and generate")
	}
	return out
}

// targets are the lab's, or the one that every lab has.
func (d *decoder) targets(all map[string]map[string]json.RawMessage) []lab.Target {
	if len(all) == 0 {
		return []lab.Target{{Name: "local", Provider: "qemu"}}
	}
	var out []lab.Target
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t := lab.Target{Name: name}
		d.member(joinPath("targets", name, "provider"), member{value: all[name]["provider"]}, &t.Provider)
		delete(all[name], "provider")
		if len(all[name]) > 0 {
			// A map is written with sorted keys: the same options are the same bytes.
			t.Options, _ = json.Marshal(all[name])
		}
		out = append(out, t)
	}
	return out
}

// member reads a part of the document. The definition has made sure that it can be read.
func (d *decoder) member(path string, f member, v any) {
	if err := json.Unmarshal(f.value, v); err != nil {
		d.problem(path, "cannot read it as CUE exports it: %v", err)
	}
}

func (d *decoder) size(path, s string) lab.Bytes {
	b, err := lab.ParseBytes(s)
	if err != nil {
		d.problem(path, "%v", err)
	}
	return b
}

func (d *decoder) addr(path, s string) netip.Addr {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		d.problem(path, "%q is not an IP address such as \"10.20.0.10\"", s)
	}
	return a
}

func (d *decoder) duration(path, s string) lab.Duration {
	v, err := time.ParseDuration(s)
	if err != nil || v <= 0 {
		d.problem(path, "%q is not a duration above zero such as \"90s\" or \"20m\"", s)
	}
	return lab.Duration(v)
}

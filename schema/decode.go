package schema

import (
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
	images     map[string]lab.Image     // the well-known ones and the lab's own
	installers map[string]installerDoc  // the lab's
	services   map[string][]lab.Service // the lab's names for services
	own        map[string][]lab.Service // those of services that stand in the lab's services
	folder     string                   // the lab's
	pool       string                   // where disks are that name none; "" is the target's choice
	given      map[string][]string      // see Spec
	problems   Errors
}

func (d *decoder) problem(path, format string, args ...any) {
	d.problems = append(d.problems, Error{Path: path, Message: fmt.Sprintf(format, args...)})
}

// decode reads what CUE exported, all but what follows from roles. The lab is worth nothing if the decoder has problems
// with it.
func decode(text []byte, catalogue []lab.Image, folder string) (lab.Lab, document, *decoder) {
	d := &decoder{images: map[string]lab.Image{}, given: map[string][]string{}, folder: folder}
	var doc document
	if err := json.Unmarshal(text, &doc); err != nil {
		d.problem("", "cannot read the lab as CUE exports it: %v", err)
		return lab.Lab{}, doc, d
	}
	for _, i := range catalogue {
		d.images[i.Name] = i
	}
	for name, i := range doc.Images {
		d.images[name] = d.image(name, i)
	}
	d.installers = doc.Installers
	l := lab.Lab{Name: doc.Name, Domain: doc.Domain}
	for _, name := range slices.Sorted(maps.Keys(doc.Networks)) {
		l.Networks = append(l.Networks, d.network(doc.Name, name, doc.Networks[name]))
	}
	if _, ok := doc.Pools["disks"]; ok {
		d.pool = "disks"
	}
	for _, name := range slices.Sorted(maps.Keys(doc.Servers)) {
		l.Machines = append(l.Machines, d.machine(lab.Path("servers", name), name, doc.Servers[name], l))
	}
	for _, name := range slices.Sorted(maps.Keys(doc.Routers)) {
		l.Machines = append(l.Machines, d.router(lab.Path("routers", name), name, doc.Routers[name], l))
	}
	l.Images = d.used(l.Machines)
	d.named(doc.Services)
	for _, name := range slices.Sorted(maps.Keys(doc.Checks)) {
		c := d.check(lab.Path("checks", name), doc.Checks[name])
		c.Name = name
		l.Checks = append(l.Checks, c)
	}
	for _, name := range slices.Sorted(maps.Keys(doc.Pools)) {
		l.Pools = append(l.Pools, d.storage(name, doc.Pools[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(doc.Secrets)) {
		l.Secrets = append(l.Secrets, d.secret(lab.Path("secrets", name), name, doc.Secrets[name]))
	}
	l.Targets = d.targets(doc.Targets)
	return l, doc, d
}

// judge reads who may do what: it may name ports of roles.
func (d *decoder) judge(l *lab.Lab, doc document) {
	l.Policy, l.Expect, l.Implied = d.policy(doc.Policy), d.expect(doc.Expect), d.implied(doc.Implied)
}

// used are the images that machines are made from.
func (d *decoder) used(machines []lab.Machine) []lab.Image {
	names := map[string]bool{}
	for _, m := range machines {
		names[m.Image] = true
	}
	var out []lab.Image
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if i, ok := d.images[name]; ok {
			out = append(out, i)
		}
	}
	return out
}

func (d *decoder) network(labName, name string, n networkDoc) lab.Network {
	out := lab.Network{Name: name, Uplink: n.Uplink, MTU: n.MTU, Routed: n.Routed, Isolated: n.Isolated, Adopted: n.Adopted, Netboot: lab.Netboot(n.Netboot)}
	path := lab.Path("networks", name)
	if n.Assign != string(lab.Static) {
		out.Assign = lab.Assign(n.Assign)
	}
	if n.CIDR != "" {
		out.CIDR = d.prefix(path+".cidr", n.CIDR)
	}
	switch n.CIDR6 {
	case "":
	case "auto":
		out.CIDR6 = lab.ULA(labName, name)
	default:
		if out.CIDR6 = d.prefix(path+".cidr6", n.CIDR6); out.CIDR6.IsValid() && !out.CIDR6.Addr().Is6() {
			d.problem(path+".cidr6", "%q is not an IPv6 network such as \"fd00:10::/64\"", n.CIDR6)
		}
	}
	if n.CIDR == "" && !n.Uplink { // with IPv6 alone that is what its CIDR is
		out.CIDR, out.CIDR6 = out.CIDR6, netip.Prefix{}
		if n.CIDR6 == "" {
			d.problem(path, "needs a cidr such as \"10.20.0.0/24\", or uplink: true")
		}
	}
	if n.DHCP != nil {
		out.DHCP = &lab.Range{From: d.addr(path+".dhcp.from", n.DHCP.From), To: d.addr(path+".dhcp.to", n.DHCP.To)}
	}
	return out
}

func (d *decoder) storage(name string, p poolDoc) lab.Pool {
	out := lab.Pool{Name: name, Path: p.Path}
	if p.Size != "" {
		out.Size = d.size(lab.Path("pools", name, "size"), p.Size)
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
		d.member(lab.Path("targets", name, "provider"), member{value: all[name]["provider"]}, &t.Provider)
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

func (d *decoder) prefix(path, s string) netip.Prefix {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		d.problem(path, "%q is not a network such as \"10.20.0.0/24\"", s)
	}
	return p
}

func (d *decoder) duration(path, s string) lab.Duration {
	v, err := time.ParseDuration(s)
	if err != nil || v <= 0 {
		d.problem(path, "%q is not a duration above zero such as \"90s\" or \"20m\"", s)
	}
	return lab.Duration(v)
}

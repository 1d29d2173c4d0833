package reach

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/check"
	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/lab"
)

// Vet returns everything that is wrong or questionable about the ways, the policy and the expectations of a complete
// lab, sorted by path; nil if nothing is. It is what check.Vet is for the rest of the lab.
func Vet(l lab.Lab) []check.Finding {
	out := names(l)
	if len(out) == 0 { // else the policy cannot be compiled, or would mean something else
		p, err := Prove(l)
		if err != nil {
			out = append(out, check.Finding{Severity: check.Error, Path: "policy", Text: err.Error()})
		} else {
			out = p.Findings()
		}
	}
	return sorted(out)
}

func sorted(all []check.Finding) []check.Finding {
	slices.SortFunc(all, func(a, b check.Finding) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.Text, b.Text), slices.Compare(a.Related, b.Related))
	})
	return slices.CompactFunc(all, func(a, b check.Finding) bool { return a.Path == b.Path && a.Text == b.Text })
}

// Findings are what the proof shows to be wrong or questionable, broken expectations included; sorted by path.
func (p *Proof) Findings() []check.Finding {
	var out []check.Finding
	out = append(out, p.topology()...)
	out = append(out, published(p.lab)...)
	out = append(out, p.doorless()...)
	out = append(out, p.useless()...)
	out = append(out, p.shadowed()...)
	out = append(out, p.oneWire()...)
	out = append(out, p.lockedOut()...)
	out = append(out, p.expected()...)
	return sorted(out)
}

func finding(s check.Severity, path, format string, args ...any) check.Finding {
	return check.Finding{Severity: s, Path: path, Text: fmt.Sprintf(format, args...)}
}

// names finds what the policy names and does not exist, or exists twice.
func names(l lab.Lab) []check.Finding {
	var out []check.Finding
	twice := l.Ambiguous()
	selectors := func(path string, all []string) {
		_, unknown := l.Ends(all)
		for _, s := range unknown {
			out = append(out, finding(check.Error, path, "there is no machine, network or group called %q", s))
		}
		for _, s := range all {
			if slices.Contains(twice, s) {
				out = append(out, finding(check.Error, path, "%q means more than one thing: give the machine, the network and the group names of their own", s))
			}
		}
		if len(all) == 0 {
			out = append(out, finding(check.Error, path, "nobody is named"))
		}
	}
	seen := map[string]string{}
	for _, r := range l.Policy {
		selectors(r.Path+".from", r.From)
		selectors(r.Path+".to", r.To)
		if len(r.Allow) == 0 {
			out = append(out, finding(check.Error, r.Path+".allow", "a rule that allows nothing"))
		}
		if other, ok := seen[r.Name]; ok {
			f := finding(check.Error, r.Path, "there are two rules called %q", r.Name)
			f.Related = []string{other}
			out = append(out, f)
		}
		seen[r.Name] = r.Path
	}
	for _, e := range l.Expect {
		selectors(e.Path+".from", e.From)
		selectors(e.Path+".on", e.On)
	}
	if l.Implied != nil {
		for path, all := range map[string][]string{"implied.dns": l.Implied.DNS, "implied.ntp": l.Implied.NTP} {
			if len(all) > 0 {
				selectors(path, all)
			}
		}
	}
	for i := range l.Machines {
		out = append(out, routing(l, l.Machines[i])...)
	}
	return out
}

// routing checks the names in a router's own part.
func routing(l lab.Lab, m lab.Machine) []check.Finding {
	var out []check.Finding
	r, at := m.Routing, "routers."+m.Name
	if r == nil {
		return nil
	}
	if !m.Router {
		return []check.Finding{finding(check.Error, "servers."+m.Name, "only a router can do what routers do")}
	}
	for _, use := range []struct {
		field    string
		networks []string
	}{{"masquerade", r.Masquerade}, {"masquerade6", r.Masquerade6}, {"dns", r.DNS}, {"dhcp", r.DHCP}, {"ntp", r.NTP}} {
		for _, n := range use.networks {
			if _, ok := m.NIC(n); !ok {
				out = append(out, finding(check.Error, at+"."+use.field, "%s is not on network %q", m.Name, n))
			}
		}
	}
	for _, p := range r.Publish {
		if _, ok := l.Machine(p.Machine); !ok {
			out = append(out, finding(check.Error, p.Path, "there is no machine called %q", p.Machine))
		}
		if _, ok := m.NIC(p.Network); p.Network != "" && !ok {
			out = append(out, finding(check.Error, p.Path, "%s is not on network %q", m.Name, p.Network))
		}
	}
	return out
}

// published finds ports of a router that are published twice.
func published(l lab.Lab) []check.Finding {
	var out []check.Finding
	for i := range l.Machines {
		m := &l.Machines[i]
		if m.Routing == nil {
			continue
		}
		for j, a := range m.Routing.Publish {
			for _, b := range m.Routing.Publish[:j] {
				if a.Proto != b.Proto || a.Port != b.Port || !overlap(l, *m, a.Network, b.Network) {
					continue
				}
				f := finding(check.Error, a.Path, "%s/%d of %s is published already, to %s:%d", a.Proto, a.Port, m.Name, b.Machine, b.To)
				f.Related = []string{b.Path}
				out = append(out, f)
			}
		}
	}
	return out
}

// overlap says whether two published ports are offered on one network; "" is every uplink.
func overlap(l lab.Lab, m lab.Machine, a, b string) bool {
	uplink := func(name string) bool { n, _ := l.Network(name); return n.Uplink }
	return a == b || a == "" && uplink(b) || b == "" && uplink(a)
}

// topology finds loops, ways that are not the only ones, and networks that no router joins to the others.
func (p *Proof) topology() []check.Finding {
	var out []check.Finding
	for _, a := range p.ways.Ambiguities() {
		at := "networks." + a.Network
		if a.Loop {
			out = append(out, finding(check.Error, at, "routers %s make a loop: which way packets take is not said, and answers may come back another way", strings.Join(a.Routers, ", ")))
			continue
		}
		out = append(out, finding(check.Warning, at, "%s lead equally far to the world: %s is taken", strings.Join(a.Routers, " and "), a.Routers[0]))
	}
	routers := 0
	for i := range p.lab.Machines {
		if p.lab.Machines[i].Router {
			routers++
		}
	}
	for _, n := range p.lab.Networks {
		w := p.wires[n.Name]
		if routers == 0 || n.Uplink || len(w.nodes) == 0 || slices.ContainsFunc(w.nodes, func(m *node) bool { return m.forwards }) {
			continue
		}
		out = append(out, finding(check.Warning, "networks."+n.Name, "no router is on this network: nobody on others reaches it, and it reaches nobody"))
	}
	return out
}

// doorless finds published ports that lead nowhere.
func (p *Proof) doorless() []check.Finding {
	var out []check.Finding
	for i := range p.lab.Machines {
		m := &p.lab.Machines[i]
		if m.Routing == nil {
			continue
		}
		for _, door := range m.Routing.Publish {
			if len(p.rules(func(r *nft.Rule) bool { return r.Action == nft.DNAT && r.Origin.Path == door.Path })) == 0 {
				out = append(out, finding(check.Error, door.Path, "%s/%d leads nowhere: %s has no way to an address of %s in a family that it is published in", door.Proto, door.Port, m.Name, door.Machine))
			}
		}
	}
	return out
}

// rules are the rules of all machines that which says, with their machines.
func (p *Proof) rules(which func(*nft.Rule) bool) []Decision {
	var out []Decision
	for _, m := range p.lab.Machines {
		for _, c := range p.sets[m.Name].Chains {
			for i := range c.Rules {
				if which(&c.Rules[i]) {
					out = append(out, Decision{Machine: m.Name, Origin: c.Rules[i].Origin})
				}
			}
		}
	}
	return out
}

// shadowed finds rules of the policy of which everything is allowed by others before them, on every machine.
func (p *Proof) shadowed() []check.Finding {
	needed, by := map[string]bool{}, map[string]string{}
	for _, m := range p.lab.Machines {
		n := p.nodes[m.Name]
		if n.filter == nil {
			continue
		}
		for _, hook := range []nft.Hook{nft.Input, nft.Forward} {
			for _, c := range n.filter.chains[hook] {
				dst := union(all4, all6)
				if hook == nft.Input {
					dst = n.local // others never get there
				}
				cover(c, dst, needed, by)
			}
		}
	}
	var out []check.Finding
	for _, r := range p.lab.Policy {
		if other := by[r.Path]; other != "" && !needed[r.Path] {
			f := finding(check.Warning, r.Path, "rule %q decides nothing: what it allows is allowed already", r.Name)
			f.Related = []string{other}
			out = append(out, f)
		}
	}
	return out
}

// cover notes which rules of the policy decide something in a chain about packets to dst, and which others come before
// those that do not.
func cover(c chain, dst addrs, needed map[string]bool, by map[string]string) {
	type earlier struct {
		box  box
		path string
	}
	var before []earlier
	for i := range c.rules {
		r := &c.rules[i]
		m := r.Match
		if len(m.State) > 0 || m.DNATed || m.Local || r.Action != nft.Accept {
			continue
		}
		free := len(m.In)+len(m.Out) == 0
		for _, b := range r.boxes {
			if b.dst = b.dst.and(dst); b.empty() {
				continue
			}
			rest, last := []box{b}, ""
			for _, e := range before {
				var left []box
				for _, x := range rest {
					if !x.and(e.box).empty() {
						last = e.path
					}
					left = append(left, x.minus(e.box)...)
				}
				if rest = left; len(rest) == 0 {
					break
				}
			}
			if r.Origin.Kind != nft.FromPolicy {
				continue
			}
			if len(rest) > 0 || last == r.Origin.Path {
				needed[r.Origin.Path] = true
			} else {
				by[r.Origin.Path] = last
			}
		}
		if free {
			for _, b := range r.boxes {
				before = append(before, earlier{b, r.Origin.Path})
			}
		}
	}
}

// oneWire finds rules that speak of who may open what between machines on one wire, where nothing stands between them.
func (p *Proof) oneWire() []check.Finding {
	var out []check.Finding
	for _, r := range p.lab.Policy {
		from, _ := p.lab.Ends(r.From)
		to, _ := p.lab.Ends(r.To)
		if slices.ContainsFunc(r.Allow, func(s lab.Service) bool { return s.Proto == lab.Any }) {
			continue
		}
		for _, pair := range pairsOf(from.Machines, to.Machines) {
			a, b := p.nodes[pair[0]], p.nodes[pair[1]]
			if a == b || b.filter != nil {
				continue
			}
			if i := slices.IndexFunc(a.ifaces, func(i iface) bool { return b.on(i.network).network != "" }); i >= 0 {
				out = append(out, finding(check.Warning, r.Path, "%s and %s are both on %s: nothing stands between them, and all of %s is open to %s, not only what this rule says (firewall: true on %s changes that)",
					a.name, b.name, a.ifaces[i].network, b.name, a.name, b.name))
				break
			}
		}
	}
	return out
}

func pairsOf(a, b []string) (out [][2]string) {
	for _, x := range a {
		for _, y := range b {
			out = append(out, [2]string{x, y})
		}
	}
	return out
}

// lockedOut finds machines that labctl could not get into any more.
func (p *Proof) lockedOut() []check.Finding {
	var out []check.Finding
	for i := range p.lab.Machines {
		m := &p.lab.Machines[i]
		n := p.nodes[m.Name]
		if n.filter == nil || len(n.ifaces) == 0 || p.admits(n) {
			continue
		}
		kind := "servers."
		if m.Router {
			kind = "routers."
		}
		out = append(out, finding(check.Error, kind+m.Name, "the packet filter would cut off labctl itself: tcp/22 is open to it on no interface"))
	}
	return out
}

// admits says whether labctl's own way in leads into n over one of its interfaces.
func (p *Proof) admits(n *node) bool {
	for _, i := range n.ifaces {
		for _, v6 := range []bool{false, true} {
			from := prefixes(nft.Admin(p.lab, p.wires[i.network].network, v6)...).minus(n.local)
			for _, b := range []box{
				{src: from.minus(links), dst: n.local.and(universe(v6))},
				{src: from.and(links), dst: i.link6()},
			} {
				b.proto, b.sport, b.dport = only(tcp), everyPort, only(22)
				if b.empty() {
					continue
				}
				w := &walker{p: p}
				w.arrive(n, i.network, flow{now: b, orig: b})
				if slices.ContainsFunc(w.ends, func(e end) bool { return e.taken && e.node == n }) {
					return true
				}
			}
		}
	}
	return false
}

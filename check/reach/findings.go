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
	out := Names(l)
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
	twins := p.twins()
	out = append(out, p.topology()...)
	out = append(out, published(p.lab)...)
	out = append(out, jumps(p.lab)...)
	out = append(out, p.doorless()...)
	out = append(out, p.useless(twins)...)
	out = append(out, p.shadowed(twins)...)
	out = append(out, p.oneWire()...)
	out = append(out, p.lockedOut()...)
	out = append(out, p.expected()...)
	out = append(out, p.waits()...)
	return sorted(out)
}

func finding(s check.Severity, path, format string, args ...any) check.Finding {
	return check.Finding{Severity: s, Path: path, Text: fmt.Sprintf(format, args...)}
}

// topology finds loops, ways that are not the only ones, and networks that no router joins to the others.
func (p *Proof) topology() []check.Finding {
	var out []check.Finding
	for _, a := range p.ways.Ambiguities() {
		at := "networks." + a.Network
		if a.Loop {
			f := finding(check.Error, at, "routers %s make a loop: nothing says which way packets take, and an answer that comes back another way is dropped", strings.Join(a.Routers, ", "))
			for _, r := range a.Routers {
				f.Related = append(f.Related, "routers."+r)
			}
			out = append(out, f)
			continue
		}
		out = append(out, finding(check.Warning, at, "%s are equally near to the world: machines on this network take %s, the first by name", strings.Join(a.Routers, " and "), a.Routers[0]))
	}
	routers := 0
	for i := range p.lab.Machines {
		if p.lab.Machines[i].Router {
			routers++
		}
	}
	for _, n := range p.lab.Networks {
		w := p.wires[n.Name]
		if routers == 0 || n.Uplink || n.Isolated || len(w.nodes) == 0 || slices.ContainsFunc(w.nodes, func(m *node) bool { return m.forwards }) {
			continue
		}
		out = append(out, finding(check.Error, "networks."+n.Name, "no router is on this network: nobody on others reaches it, and it reaches nobody; if that is meant, say isolated: true"))
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

// oneWire finds rules that speak of who may open what between machines on one wire, where nothing stands between them.
func (p *Proof) oneWire() []check.Finding {
	var out []check.Finding
	for _, r := range p.lab.Policy {
		from, _ := p.lab.Ends(r.From)
		to, _ := p.lab.Ends(r.To)
		if slices.ContainsFunc(r.Allow, func(s lab.Service) bool { return s.Proto == lab.Any }) {
			continue
		}
		open := slices.DeleteFunc(to.Machines, func(b string) bool { return p.nodes[b].filter != nil })
		if a, b, network := p.neighbours(from.Machines, open); network != "" {
			out = append(out, finding(check.Warning, r.Path, "%s and %s are both on %s: nothing stands between them, and all of %s is open to %s, not only what this rule says (%s)",
				a, b, network, b, a, p.cure(b)))
		}
	}
	return out
}

// cure is what keeps the neighbours of a machine to the rules.
func (p *Proof) cure(machine string) string {
	if m, _ := p.lab.Machine(machine); !m.Ours() {
		return "what filters in " + machine + " is up to whoever made it"
	}
	return "firewall: true on " + machine + " changes that"
}

// neighbours are the first two, one of each side, that are on one network.
func (p *Proof) neighbours(from, to []string) (a, b, network string) {
	for _, a := range from {
		for _, b := range to {
			if a == b {
				continue
			}
			for _, i := range p.nodes[a].ifaces {
				if p.nodes[b].on(i.network).network != "" {
					return a, b, i.network
				}
			}
		}
	}
	return "", "", ""
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
		out = append(out, finding(check.Error, m.Path(), "the packet filter would cut off labctl itself: tcp/22 is open to it on no interface"))
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

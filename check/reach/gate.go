package reach

import (
	"net/netip"
	"slices"

	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/lab"
)

// outward is where a packet leaves a machine's interface, translated as it will be: what filters there is no machine's.
const outward nft.Hook = "outward"

// Behind makes the proof of a lab on a host with a filter of its own, besides what filters in the machines: packets have to
// pass both.
func Behind(l lab.Lab, f lab.Filter) (*Proof, error) {
	p, err := Prove(l)
	if err != nil {
		return nil, err
	}
	p.wall(f)
	return p, nil
}

// wall puts a new proof behind a host's filter.
func (p *Proof) wall(f lab.Filter) {
	p.gated = slices.SortedFunc(slices.Values(f.Rules), lab.FilterRule.Before)
	for _, n := range p.nodes {
		var gates nft.Ruleset
		for _, i := range n.ifaces {
			if slices.Contains(f.Networks, i.network) {
				gates.Chains = append(gates.Chains, gate(n.name, i.network, p.gated)...)
			}
		}
		if len(gates.Chains) > 0 {
			n.gates = newFilter(gates)
		}
	}
}

// gate is what rules, in their order, make of an interface. In is asked before anything in the machine, even what tells
// connections apart: so a packet that belongs to one in the machine's eyes does here, too.
func gate(machine, network string, rules []lab.FilterRule) []nft.Chain {
	known := nft.Rule{
		Match:  nft.Match{In: []string{network}, State: []nft.State{nft.Established, nft.Related}},
		Action: nft.Accept, Origin: nft.Origin{Kind: nft.Connections, Name: "what is open already"},
	}
	in := nft.Chain{Name: "in", Hook: nft.Early, Rules: []nft.Rule{known}}
	known.Match.In, known.Match.Out = nil, []string{network}
	out := nft.Chain{Name: "out", Hook: outward, Rules: []nft.Rule{known}}
	for _, r := range rules {
		if r.Network != network || !r.At(machine) {
			continue
		}
		for _, m := range gateMatches(r) {
			made := nft.Rule{Match: m, Action: nft.Accept, Origin: nft.Origin{Kind: nft.Outside, Name: r.Name}}
			if r.Deny {
				made.Action = nft.Drop
			}
			if r.Egress {
				made.Match.Out = []string{network}
				out.Rules = append(out.Rules, made)
			} else {
				made.Match.In = []string{network}
				in.Rules = append(in.Rules, made)
			}
		}
	}
	rest := nft.Rule{Action: nft.Drop, Origin: nft.Origin{Kind: nft.Outside, Name: "nothing else comes in from " + network}}
	rest.Match = nft.Match{In: []string{network}, Family: true}
	in.Rules = append(in.Rules, rest)
	// Where there is no IPv6 but link-local, these filters do not speak of it.
	rest.Match = nft.Match{In: []string{network}, V6: true, Src: nft.Addrs{Not: true, Prefixes: []netip.Prefix{linkLocal}}}
	in.Rules = append(in.Rules, rest)
	return []nft.Chain{in, out}
}

// gateMatches are a rule's conditions: one for each service and family.
func gateMatches(r lab.FilterRule) []nft.Match {
	var out []nft.Match
	for _, v6 := range []bool{false, true} {
		of := func(all []netip.Prefix) (nft.Addrs, bool) {
			var a nft.Addrs
			for _, p := range all {
				if p.Addr().Is6() == v6 {
					a.Prefixes = append(a.Prefixes, p)
				}
			}
			return a, len(all) == 0 || len(a.Prefixes) > 0
		}
		src, ok1 := of(r.From)
		dst, ok2 := of(r.To)
		if !ok1 || !ok2 {
			continue
		}
		for _, s := range r.Services {
			m := nft.Match{Family: true, V6: v6, Src: src, Dst: dst, Proto: s.Proto}
			if s.Proto == lab.Any {
				m.Proto = ""
			}
			if s.Proto == lab.TCP || s.Proto == lab.UDP {
				m.Dport = []nft.Ports{{From: s.From, To: s.To}}
			}
			out = append(out, m)
		}
	}
	return out
}

// singled says whether a rule of the host's filter tells a machine from others on its networks.
func (p *Proof) singled(m *lab.Machine) bool {
	return slices.ContainsFunc(p.gated, func(r lab.FilterRule) bool {
		if slices.Contains(r.Machines, m.Name) {
			return true
		}
		return slices.ContainsFunc(m.NICs, func(n lab.NIC) bool {
			w := p.wires[n.Network]
			return slices.ContainsFunc(slices.Concat(r.From, r.To), func(x netip.Prefix) bool {
				return w != nil && x.Contains(n.Addr) && x.Bits() > w.network.CIDR.Bits()
			})
		})
	})
}

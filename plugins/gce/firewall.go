package gce

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/lab"
)

// VPC firewall rules are asked on every interface, before whatever runs inside the machine. What may cross between
// networks is decided by the routers' rulesets (guest/nft); the VPC's rules are made of the very same rulesets, so that
// they let through what a router of the network would let through, and not a packet more:
//
//   - whatever comes from an address of the network itself, as on a wire;
//   - labctl's way in;
//   - what a router on the network forwards onto it: to the network, or to what lies beyond it;
//   - what comes over the network for a router on it: for itself, for one of its published ports, or to be forwarded.
//
// Answers need no rule: VPC firewalls know connections.

// wall collects the rules of one network.
type wall struct {
	network string
	lan     spans // the network's own addresses
	rules   []*opening
}

// opening is one thing that is let through.
type opening struct {
	name     string // of the rule of the policy that it is there for
	from, to spans
	allow    []string
	log      bool
}

// The limits of a rule: prefixes on a side.
const maxPrefixes = 256

// walls are the VPC rules of a lab whose addresses are all known, by the names that they get.
func walls(l lab.Lab, ways *lab.Topology, admin []netip.Prefix) (map[string]firewallAttrs, error) {
	sets, err := nft.All(l)
	if err != nil {
		return nil, err
	}
	out := map[string]firewallAttrs{}
	for _, n := range l.Networks {
		p, ok := n.Prefix(false)
		if !ok {
			continue
		}
		w := wall{network: n.Name, lan: spansOf(p)}
		w.open("the network itself", w.lan, everywhere, []string{"all"}, false)
		w.open(nft.AdminName, spansOf(admin...), everywhere, []string{"tcp/22"}, false)
		for i := range l.Machines {
			m := l.Machines[i]
			if _, on := m.NIC(n.Name); on && m.Router {
				w.router(gateway{l, ways, m, sets[m.Name], n.Name})
			}
		}
		w.attrs(out)
	}
	return out, nil
}

// gateway is a router on a network.
type gateway struct {
	lab     lab.Lab
	ways    *lab.Topology
	machine lab.Machine
	set     nft.Ruleset
	network string
}

// beyond are the addresses that are over there, those of the network included.
func (g gateway) beyond(network string) spans {
	names, world := g.ways.Beyond(g.machine.Name, network, false)
	var here, all spans
	for _, n := range g.lab.Networks {
		p, ok := n.Prefix(false)
		if !ok {
			continue
		}
		all = all.or(spansOf(p))
		if slices.Contains(names, n.Name) {
			here = here.or(spansOf(p))
		}
	}
	if world {
		return here.or(everywhere.minus(all))
	}
	return here
}

// behind are the addresses beyond the router's other interfaces, of those that a rule is about: its early chain drops what
// says to come from elsewhere.
func (g gateway) behind(in []string) spans {
	var out spans
	for _, n := range g.machine.NICs {
		if n.Network != g.network && (len(in) == 0 || slices.Contains(in, n.Network)) {
			out = out.or(g.beyond(n.Network))
		}
	}
	return out
}

// own are the router's addresses.
func (g gateway) own() spans {
	var out spans
	for _, n := range g.machine.NICs {
		if n.Addr.Is4() {
			out = out.or(spansOf(netip.PrefixFrom(n.Addr, 32)))
		}
	}
	return out
}

// router opens what a router on the network forwards to it, and what comes over it for the router.
func (w *wall) router(g gateway) {
	beyond := g.beyond(w.network)
	outside := beyond.minus(w.lan) // who comes from afar over this network
	nic, _ := g.machine.NIC(w.network)
	hides := g.machine.Routing != nil && slices.Contains(g.machine.Routing.Masquerade, w.network)
	for _, c := range g.set.Chains {
		for _, r := range c.Rules {
			if !opens(r) {
				continue
			}
			m := r.Match
			in := len(m.In) == 0 || slices.Contains(m.In, w.network)
			from, to := addrsOf(m.Src), addrsOf(m.Dst)
			switch {
			case c.Hook == nft.Input && in:
				w.open(name(r), from.and(outside), to.and(g.own()), service(m), r.Log)
			case c.Hook == nft.Arrive && in && r.Action == nft.DNAT:
				if m.Local {
					to = spansOf(netip.PrefixFrom(nic.Addr, 32))
				}
				w.open(name(r), from.and(outside), to, service(m), r.Log)
			case c.Hook == nft.Forward:
				if in && !m.DNATed { // one that is translated comes for the port that is published
					w.open(name(r), from.and(outside), to.minus(g.own()).minus(w.lan), service(m), r.Log)
				}
				if !hides {
					w.open(name(r), from.and(g.behind(m.In)), to.and(beyond), service(m), r.Log)
				}
			}
		}
	}
}

// opens says whether a rule lets new IPv4 connections through, or translates them.
func opens(r nft.Rule) bool {
	m := r.Match
	switch {
	case r.Action != nft.Accept && r.Action != nft.DNAT, m.V6 && (m.Family || len(m.Src.Prefixes)+len(m.Dst.Prefixes) > 0 || m.Proto == lab.ICMP):
		return false
	case len(m.State) > 0 && !slices.Contains(m.State, nft.New):
		return false
	}
	return !slices.Equal(m.In, []string{nft.Loopback}) && !r.Origin.Chore()
}

// service is the protocol and ports of a match.
func service(m nft.Match) []string {
	switch m.Proto {
	case "", lab.Any:
		return []string{"all"}
	case lab.ICMP: // VPC rules know no types: an echo request opens the same door as any other ICMP
		return []string{"icmp"}
	}
	if len(m.Dport) == 0 {
		return []string{string(m.Proto)}
	}
	var out []string
	for _, p := range m.Dport {
		if p.From == p.To {
			out = append(out, fmt.Sprintf("%s/%d", m.Proto, p.From))
		} else {
			out = append(out, fmt.Sprintf("%s/%d-%d", m.Proto, p.From, p.To))
		}
	}
	return out
}

// name is what a rule is called after.
func name(r nft.Rule) string {
	if r.Origin.Says != "" {
		return r.Origin.Says
	}
	return r.Origin.Name
}

// open adds an opening, or more services to one of the same ends.
func (w *wall) open(name string, from, to spans, allow []string, log bool) {
	if len(from) == 0 || len(to) == 0 {
		return
	}
	for _, o := range w.rules {
		if o.name == name && o.log == log && slices.Equal(o.from, from) && slices.Equal(o.to, to) {
			o.allow = append(o.allow, allow...)
			return
		}
	}
	w.rules = append(w.rules, &opening{name, from, to, slices.Clone(allow), log})
}

// attrs adds the network's rules to out: a name is the network's and what the rule is there for, with a number where
// that takes several.
func (w *wall) attrs(out map[string]firewallAttrs) {
	for _, o := range w.rules {
		slices.Sort(o.allow)
		o.allow = slices.Compact(o.allow)
		var to [][]string
		if slices.Equal(o.to, everywhere) {
			to = [][]string{nil}
		} else {
			to = cut(o.to.prefixes(), maxPrefixes)
		}
		for _, from := range cut(o.from.prefixes(), maxPrefixes) {
			for _, to := range to {
				base := w.network + "/" + slug(o.name)
				name := base
				for n := 2; out[name].Network != ""; n++ {
					name = fmt.Sprintf("%s-%d", base, n)
				}
				out[name] = firewallAttrs{Network: w.network, From: sorted(from), To: sorted(to), Allow: o.allow, Log: o.log, Priority: firewallPriority}
			}
		}
	}
}

// firewallPriority is the API's own default.
const firewallPriority = 1000

func sorted(texts []string) []string {
	if len(texts) == 0 {
		return nil
	}
	out := slices.Clone(texts)
	slices.SortFunc(out, strings.Compare)
	return out
}

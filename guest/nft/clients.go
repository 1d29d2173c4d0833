package nft

import (
	"net/netip"
	"slices"

	"github.com/labctl-dev/labctl/lab"
)

// Clients says who may open services of a lab's machines, for what a service itself is told: whom to answer and where to
// listen. It reads the rules that a machine with a firewall has, whether this one has or not.
type Clients struct {
	c     *compiler
	rules map[string][]Rule // by machine, once they were asked for
}

// NewClients compiles the policy of a complete lab.
func NewClients(l lab.Lab) (*Clients, error) {
	c, err := newCompiler(l)
	if err != nil {
		return nil, err
	}
	return &Clients{c: c, rules: map[string][]Rule{}}, nil
}

// Of are the addresses from which any of services may be opened on a machine, sorted and none within another: the whole
// of a family for the world; and the addresses of the machine at which such a connection arrives, sorted: on a network
// that the two share the one there, of the world those on uplinks, else all. Where an address at which it arrives is not
// known, since the target gives it, the unspecified one stands for all of the family. The machine itself is no client.
func (k *Clients) Of(machine string, services []lab.Service) (from []netip.Prefix, at []netip.Addr) {
	m := k.c.machines[machine]
	if m == nil {
		return nil, nil
	}
	rules, known := k.rules[machine]
	if !known {
		rules = k.c.input(*m).Rules
		k.rules[machine] = rules
	}
	for _, v6 := range []bool{false, true} {
		own := k.c.addresses(*m, v6)
		if len(own) == 0 {
			continue
		}
		var all []netip.Prefix
		var here []netip.Addr
		for _, r := range rules {
			if r.opens(services, v6) {
				src := k.c.comes(*m, r.Match, v6)
				all = append(all, src...)
				here = append(here, arrives(own, r.Match, src)...)
			}
		}
		slices.SortFunc(here, netip.Addr.Compare)
		if here = slices.Compact(here); len(here) > 0 && here[0].IsUnspecified() {
			here = here[:1]
		}
		from, at = append(from, normal(all)...), append(at, here...)
	}
	return from, at
}

// opens says whether the rule lets in any of services of a family.
func (r Rule) opens(services []lab.Service, v6 bool) bool {
	m := r.Match
	bound := m.Family || len(m.Src.Prefixes)+len(m.Dst.Prefixes) > 0
	if r.Action != Accept || len(m.State) > 0 || slices.Contains(m.In, Loopback) || len(m.Sport) > 0 || bound && m.V6 != v6 {
		return false
	}
	return slices.ContainsFunc(services, func(s lab.Service) bool {
		return (m.Proto == "" || m.Proto == s.Proto) && (len(m.Dport) == 0 || slices.ContainsFunc(m.Dport, func(p Ports) bool {
			return p.From <= s.To && s.From <= p.To
		}))
	})
}

// own is an address of a machine, and what its network has.
type own struct {
	nic    lab.NIC
	addr   netip.Addr
	prefix netip.Prefix // zero if it is not known
	uplink bool
}

// addresses are a machine's in one family; an unspecified one where the target gives it.
func (c *compiler) addresses(m lab.Machine, v6 bool) []own {
	var out []own
	for _, nic := range m.NICs {
		n, _ := c.lab.Network(nic.Network)
		p, _ := n.Prefix(v6)
		if a, ok := nic.Address(v6); ok {
			out = append(out, own{nic, a, p, n.Uplink})
		} else if n.Uplink && !n.CIDR.IsValid() && !v6 {
			out = append(out, own{nic: nic, addr: netip.IPv4Unspecified(), uplink: true})
		}
	}
	return out
}

// comes is from where a rule lets in; what it says of interfaces is what is beyond them. Link-local addresses, which mean
// nothing without an interface, are left out.
func (c *compiler) comes(m lab.Machine, match Match, v6 bool) []netip.Prefix {
	all := everything[family(v6) : family(v6)+1]
	src := match.Src
	if len(src.Prefixes) == 0 && len(match.In) > 0 {
		for _, network := range match.In {
			side := c.side(m.Name, network, v6)
			if !m.Router {
				n, _ := c.lab.Network(network)
				p, _ := n.Prefix(v6)
				side = Addrs{Not: n.Uplink, Prefixes: []netip.Prefix{p}}
			}
			if side.Not {
				return all
			}
			src.Prefixes = append(src.Prefixes, side.Prefixes...)
		}
	}
	if src.Not || len(src.Prefixes) == 0 {
		return all
	}
	return slices.DeleteFunc(slices.Clone(src.Prefixes), func(p netip.Prefix) bool { return !p.IsValid() || linkLocal.Contains(p.Addr()) })
}

// arrives are those of a machine's addresses at which what a rule lets in from src arrives.
func arrives(all []own, match Match, src []netip.Prefix) []netip.Addr {
	here := func(o own) bool {
		dst := len(match.Dst.Prefixes) == 0 || slices.ContainsFunc(match.Dst.Prefixes, func(p netip.Prefix) bool { return p.Contains(o.addr) })
		return dst && (len(match.In) == 0 || slices.Contains(match.In, o.nic.Network))
	}
	var out []netip.Addr
	for _, s := range src {
		near := func(o own) bool {
			if s.Bits() == 0 {
				return o.uplink && match.Src.Not
			}
			return o.prefix.Overlaps(s)
		}
		shared := slices.ContainsFunc(all, func(o own) bool { return here(o) && near(o) })
		for _, o := range all {
			if here(o) && (!shared || near(o)) {
				out = append(out, o.addr)
			}
		}
	}
	return out
}

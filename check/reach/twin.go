package reach

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/lab"
)

// twins says for every host with a filter of its own which host stands for it, maybe itself: one on the same networks,
// such that exchanging the addresses of the two makes the ruleset of one that of the other. Such two filters do the same to
// everybody else.
func (p *Proof) twins() map[string]string {
	out := map[string]string{}
	firsts := map[string][]*lab.Machine{}
	for i := range p.lab.Machines {
		m := &p.lab.Machines[i]
		set, filtered := p.sets[m.Name]
		if m.Router || !filtered {
			continue
		}
		key := p.legs(m.Name) + outline(set)
		at := slices.IndexFunc(firsts[key], func(first *lab.Machine) bool { return swap(first, m).maps(p.sets[first.Name], set) })
		if at < 0 {
			out[m.Name] = m.Name
			firsts[key] = append(firsts[key], m)
		} else {
			out[m.Name] = firsts[key][at].Name
		}
	}
	return out
}

// outline is what twins' rulesets have in common in any case, and what tells most others from each other.
func outline(set nft.Ruleset) string {
	var b strings.Builder
	for _, c := range set.Chains {
		b.WriteString("\n" + c.Name + " " + string(c.Hook))
		for i := range c.Rules {
			b.WriteString("\n" + c.Rules[i].Origin.Path)
		}
	}
	return b.String()
}

// exchange puts the addresses of two machines on the same networks in each other's place.
type exchange [][2]netip.Addr

func swap(a, b *lab.Machine) exchange {
	var out exchange
	for _, mine := range a.NICs {
		other, _ := b.NIC(mine.Network)
		for _, v6 := range []bool{false, true} {
			x, ok1 := mine.Address(v6)
			y, ok2 := other.Address(v6)
			if ok1 && ok2 {
				out = append(out, [2]netip.Addr{x, y})
			}
		}
		if x, y := lab.LinkLocal(mine.MAC), lab.LinkLocal(other.MAC); x.IsValid() && y.IsValid() {
			out = append(out, [2]netip.Addr{x, y})
		}
	}
	return out
}

// maps says whether ruleset a becomes b.
func (x exchange) maps(a, b nft.Ruleset) bool {
	return slices.EqualFunc(a.Chains, b.Chains, func(c, d nft.Chain) bool {
		return c.Name == d.Name && c.Hook == d.Hook && c.NAT == d.NAT && c.Drop == d.Drop && slices.EqualFunc(c.Rules, d.Rules, x.rule)
	})
}

func (x exchange) rule(a, b nft.Rule) bool {
	m, n := &a.Match, &b.Match
	return a.Action == b.Action && a.To == b.To && a.Origin == b.Origin && a.Log == b.Log &&
		m.V6 == n.V6 && m.Family == n.Family && m.Proto == n.Proto && m.DNATed == n.DNATed && m.Local == n.Local &&
		slices.Equal(m.In, n.In) && slices.Equal(m.Out, n.Out) && slices.Equal(m.State, n.State) &&
		slices.Equal(m.Sport, n.Sport) && slices.Equal(m.Dport, n.Dport) && x.set(m.Src, n.Src) && x.set(m.Dst, n.Dst)
}

// set says whether a set of addresses becomes another.
func (x exchange) set(a, b nft.Addrs) bool {
	if a.Not != b.Not || len(a.Prefixes) != len(b.Prefixes) {
		return false
	}
	for _, two := range x {
		if inside(a.Prefixes, two[0]) != inside(b.Prefixes, two[1]) || inside(a.Prefixes, two[1]) != inside(b.Prefixes, two[0]) {
			return false
		}
	}
	if len(a.Prefixes) == 0 || &a.Prefixes[0] == &b.Prefixes[0] {
		return true
	}
	// What is left to compare does not move: all other single addresses, and prefixes that hold both or neither.
	others := func(all []netip.Prefix) []netip.Prefix {
		return slices.DeleteFunc(slices.Clone(all), func(p netip.Prefix) bool { return p.IsSingleIP() && x.moves(p.Addr()) })
	}
	return slices.Equal(others(a.Prefixes), others(b.Prefixes))
}

func (x exchange) moves(a netip.Addr) bool {
	return slices.ContainsFunc(x, func(two [2]netip.Addr) bool { return two[0] == a || two[1] == a })
}

// inside says whether one of prefixes, which are sorted and apart from each other, holds an address.
func inside(all []netip.Prefix, a netip.Addr) bool {
	i, found := slices.BinarySearchFunc(all, a, func(p netip.Prefix, a netip.Addr) int { return p.Addr().Compare(a) })
	return found || i > 0 && all[i-1].Contains(a)
}

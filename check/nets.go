package check

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/labctl-dev/labctl/lab"
)

// nets checks the networks and what is between them.
func (v *vetter) nets() {
	used := map[string]bool{}
	for _, m := range v.lab.Machines {
		for _, n := range m.NICs {
			used[n.Network] = true
		}
	}
	for _, n := range v.lab.Networks {
		if !used[n.Name] {
			v.warn(lab.Path("networks", n.Name), "no machine uses this network")
		}
		v.families(n)
		v.dhcp(n)
	}
	v.overlaps()
}

// families checks the prefixes of a network, one of each family at most.
func (v *vetter) families(n lab.Network) {
	first, second := lab.Path("networks", n.Name, "cidr"), lab.Path("networks", n.Name, "cidr6")
	switch {
	case !n.CIDR.IsValid() && !n.Uplink:
		v.error(first, "a network needs a cidr unless it is an uplink")
	case n.CIDR.IsValid():
		v.cidr(first, n, n.CIDR)
	}
	if !n.CIDR6.IsValid() {
		return
	}
	switch {
	case !n.CIDR6.Addr().Is6():
		v.error(second, "%s is not IPv6", n.CIDR6)
	case n.CIDR.IsValid() && n.CIDR.Addr().Is6():
		v.clash(second, first, "the cidr of the network is IPv6 already")
	default:
		v.cidr(second, n, n.CIDR6)
	}
}

func (v *vetter) cidr(path string, n lab.Network, p netip.Prefix) {
	switch {
	case p != p.Masked():
		v.error(path, "%s has host bits set: the network is %s", p, p.Masked())
	case p.Addr().BitLen()-p.Bits() < 2:
		v.error(path, "%s has no room for machines", p)
	case p.Addr().IsMulticast() || p.Addr().IsLoopback() || p.Addr().IsUnspecified() || p.Addr().Is4In6():
		v.error(path, "%s is not for machines: it is multicast, loopback or reserved", p)
	case p.Addr().IsLinkLocalUnicast():
		v.error(path, "%s is link-local: every network has these addresses, and no router forwards them", p)
	case p.Addr().Is6() && n.MTU < 1280:
		v.error(lab.Path("networks", n.Name, "mtu"), "IPv6 needs an MTU of at least 1280 bytes, not %d", n.MTU)
	}
}

func (v *vetter) dhcp(n lab.Network) {
	r, path := n.DHCP, lab.Path("networks", n.Name, "dhcp")
	if r == nil {
		return
	}
	if !n.CIDR.IsValid() {
		v.error(path, "a DHCP range needs a network with a cidr")
		return
	}
	outside := false
	for _, end := range []struct {
		name string
		addr netip.Addr
	}{{"from", r.From}, {"to", r.To}} {
		if !n.CIDR.Masked().Contains(end.addr) {
			v.error(path+"."+end.name, "%s is outside the network %s", end.addr, n.CIDR.Masked())
			outside = true
		}
	}
	switch {
	case outside:
	case r.To.Less(r.From):
		v.error(path, "the range ends at %s before it begins at %s", r.To, r.From)
	default:
		for _, s := range special(n, n.CIDR) {
			if r.Contains(s.addr) {
				v.error(path, "the range holds %s, %s", s.addr, s.what)
			}
		}
	}
}

// prefix is a prefix of a network, and which of its fields says so.
type prefix struct {
	netip.Prefix
	network, field string
}

// prefixes are those of all networks.
func (v *vetter) prefixes() []prefix {
	var all []prefix
	for _, n := range v.lab.Networks {
		for _, p := range []prefix{{n.CIDR, n.Name, "cidr"}, {n.CIDR6, n.Name, "cidr6"}} {
			if p.IsValid() {
				all = append(all, p)
			}
		}
	}
	return all
}

// overlaps finds networks that share addresses. Prefixes never overlap in part: sorted by address, wider ones first,
// a network lies in one of those that are still open.
func (v *vetter) overlaps() {
	var open []prefix
	all := v.prefixes()
	slices.SortStableFunc(all, func(a, b prefix) int {
		return cmp.Or(a.Masked().Addr().Compare(b.Masked().Addr()), a.Bits()-b.Bits())
	})
	for _, n := range all {
		for len(open) > 0 && !open[len(open)-1].Overlaps(n.Prefix) {
			open = open[:len(open)-1]
		}
		if len(open) > 0 {
			a, b := open[len(open)-1], n
			if a.network > b.network {
				a, b = b, a
			}
			v.clash(lab.Path("networks", b.network, b.field), lab.Path("networks", a.network, a.field), "%s overlaps %s of network %s", b.Prefix, a.Prefix, a.network)
		}
		open = append(open, n)
	}
}

// reserved is an address of a network that no machine may have.
type reserved struct {
	addr netip.Addr
	what string
}

func special(n lab.Network, p netip.Prefix) []reserved {
	p = p.Masked()
	out := []reserved{{p.Addr(), "the address of the network itself"}}
	if p.Addr().Is4() {
		out = append(out, reserved{lab.Broadcast(p), "the broadcast address"})
	}
	if n.Uplink {
		return append(out, reserved{lab.Gateway(p), "the gateway of the uplink"})
	}
	if n.Adopted != "" {
		return out
	}
	return append(out, reserved{lab.Door(p), "kept free for labctl's own way in"})
}

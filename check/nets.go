package check

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"

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
			v.warn(at("networks", n.Name), "no machine uses this network")
		}
		v.cidr(n)
		v.dhcp(n)
	}
	v.overlaps()
}

func (v *vetter) cidr(n lab.Network) {
	path := at("networks", n.Name, "cidr")
	p := n.CIDR
	if !p.IsValid() {
		if !n.Uplink {
			v.error(path, "a network needs a cidr unless it is an uplink")
		}
		return
	}
	switch {
	case p != p.Masked():
		v.error(path, "%s has host bits set: the network is %s", p, p.Masked())
	case p.Addr().BitLen()-p.Bits() < 2:
		v.error(path, "%s has no room for machines", p)
	case p.Addr().IsMulticast() || p.Addr().IsLoopback() || p.Addr().IsUnspecified() || p.Addr().Is4In6():
		v.error(path, "%s is not for machines: it is multicast, loopback or reserved", p)
	case p.Addr().Is6() && n.MTU < 1280:
		v.error(at("networks", n.Name, "mtu"), "IPv6 needs an MTU of at least 1280 bytes, not %d", n.MTU)
	}
}

func (v *vetter) dhcp(n lab.Network) {
	r, path := n.DHCP, at("networks", n.Name, "dhcp")
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
		for _, s := range special(n) {
			if r.Contains(s.addr) {
				v.error(path, "the range holds %s, %s", s.addr, s.what)
			}
		}
	}
}

// overlaps finds networks that share addresses. Prefixes never overlap in part: sorted by address, wider ones first,
// a network lies in one of those that are still open.
func (v *vetter) overlaps() {
	var all, open []lab.Network
	for _, n := range v.lab.Networks {
		if n.CIDR.IsValid() {
			all = append(all, n)
		}
	}
	slices.SortStableFunc(all, func(a, b lab.Network) int {
		return cmp.Or(a.CIDR.Masked().Addr().Compare(b.CIDR.Masked().Addr()), a.CIDR.Bits()-b.CIDR.Bits())
	})
	for _, n := range all {
		for len(open) > 0 && !open[len(open)-1].CIDR.Overlaps(n.CIDR) {
			open = open[:len(open)-1]
		}
		if len(open) > 0 {
			a, b := open[len(open)-1], n
			if a.Name > b.Name {
				a, b = b, a
			}
			v.clash(at("networks", b.Name, "cidr"), at("networks", a.Name, "cidr"), "%s overlaps %s of network %s", b.CIDR, a.CIDR, a.Name)
		}
		open = append(open, n)
	}
}

// reserved is an address of a network that no machine may have.
type reserved struct {
	addr netip.Addr
	what string
}

func special(n lab.Network) []reserved {
	p := n.CIDR.Masked()
	out := []reserved{{p.Addr(), "the address of the network itself"}}
	if p.Addr().Is4() {
		out = append(out, reserved{lab.Broadcast(p), "the broadcast address"})
	}
	if n.Uplink {
		return append(out, reserved{lab.Gateway(p), "the gateway of the uplink"})
	}
	return append(out, reserved{lab.Door(p), "kept free for labctl's own way in"})
}

// nics checks every interface: its network, its address, its MAC.
func (v *vetter) nics() {
	addrs := map[netip.Addr]string{}
	macs := map[string]string{}
	for _, m := range v.lab.Machines {
		seen := map[string]bool{}
		for _, nic := range m.NICs {
			path := of(m, "nics", nic.Network)
			if seen[nic.Network] {
				v.error(path, "there are two interfaces on network %s", nic.Network)
				continue
			}
			seen[nic.Network] = true
			v.mac(path+".mac", nic.MAC)
			if other, ok := macs[nic.MAC]; ok {
				v.clash(path+".mac", other+".mac", "%s is the MAC of another interface too", nic.MAC)
			} else {
				macs[nic.MAC] = path
			}
			n, ok := v.networks[nic.Network]
			if !ok {
				v.error(path, "there is no network called %q%s", nic.Network, list("; there is ", keys(v.networks)))
				continue
			}
			v.addr(path, n, nic)
			if !nic.Addr.IsValid() {
				continue
			}
			if other, ok := addrs[nic.Addr]; ok {
				v.clash(path+".ip", other+".ip", "%s is taken already", nic.Addr)
			} else {
				addrs[nic.Addr] = path
			}
		}
	}
}

func (v *vetter) addr(path string, n lab.Network, nic lab.NIC) {
	a := nic.Addr
	switch {
	case !n.CIDR.IsValid() && a.IsValid():
		v.error(path+".ip", "network %s has no cidr, so its addresses cannot be given", n.Name)
		return
	case !n.CIDR.IsValid():
		return
	case !a.IsValid():
		v.error(path, "no address is left in %s", n.CIDR)
		return
	case !n.CIDR.Masked().Contains(a):
		v.error(path+".ip", "%s is outside the network %s", a, n.CIDR.Masked())
		return
	case n.DHCP.Contains(a):
		v.clash(path+".ip", at("networks", n.Name, "dhcp"), "%s is in the DHCP range %s to %s", a, n.DHCP.From, n.DHCP.To)
	}
	for _, s := range special(n) {
		if s.addr == a {
			v.error(path+".ip", "%s is %s", a, s.what)
			return
		}
	}
}

func (v *vetter) mac(path, mac string) {
	first, err := strconv.ParseUint(mac[:min(2, len(mac))], 16, 8)
	switch {
	case err != nil || len(mac) != 17:
		v.error(path, "%q is not a MAC address such as \"02:00:00:00:00:01\"", mac)
	case first&1 == 1:
		v.error(path, "%s is a multicast MAC address, and an interface needs one of its own (even first byte)", mac)
	case mac == "00:00:00:00:00:00":
		v.error(path, "%s is no interface's MAC address", mac)
	}
}

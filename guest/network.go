package guest

import (
	"net/netip"
	"slices"
	"sort"

	"github.com/labctl-dev/labctl/guest/dnsmasq"
	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/lab"
)

// interfaces is the configuration of m's interfaces in their order.
func (k *maker) interfaces(m lab.Machine) []Interface {
	out := []Interface{}
	routes := k.ways.Routes(m.Name)
	servers, over, own := dnsmasq.Resolvers(k.lab, k.ways, m)
	def := "" // the network with the default route, that of IPv4 if both have one
	for _, r := range routes {
		if r.To.Bits() == 0 && def == "" {
			def = r.Network
		}
	}
	for _, nic := range m.NICs {
		n := k.networks[nic.Network]
		i := Interface{
			Name: nic.Network, MAC: nic.MAC, MTU: n.MTU, Default: nic.Network == def,
			Addresses: []netip.Prefix{}, Routes: []lab.Route{}, DNS: []netip.Addr{},
		}
		if _, has := k.rulesets[m.Name]; has {
			i.Device = nft.Interface(nic.Network)
		}
		switch {
		case n.Uplink && !n.CIDR.IsValid():
			i.DHCP, i.UseRoutes, i.UseDNS = true, i.Default, own && over == nic.Network
			if i.Default && !m.Router { // a router would lead others where the proof knows no way
				i.RA = &RA{Address: true, Gateway: true, DHCP: true}
			}
		case !nic.Addr.IsValid() && !nic.Addr6.IsValid():
			i.DHCP = true // no address was left, which check.Vet reports
		default:
			k.addresses(&i, n, nic, m)
		}
		k.routes(&i, n, m, routes)
		if over == nic.Network && !own {
			i.DNS = append(i.DNS, servers...)
			if a := k.lab.Resolver(); a.IsValid() { // no other route leads there from a network that nobody leaves
				i.Routes = append(i.Routes, lab.Route{To: netip.PrefixFrom(a, a.BitLen()), Via: lab.Gateway(n.CIDR), Network: n.Name})
			}
		}
		out = append(out, i)
	}
	return out
}

// addresses says how the interface comes to the addresses that labctl chose.
func (k *maker) addresses(i *Interface, n lab.Network, nic lab.NIC, m lab.Machine) {
	served := !m.Router && !n.Uplink
	for _, v6 := range []bool{false, true} {
		a, has := nic.Address(v6)
		p, ok := n.Prefix(v6)
		switch {
		case !has || !ok:
		case served && n.Assign == lab.DHCP && !v6:
			i.DHCP, i.UseRoutes = true, true
			i.Leased = append(i.Leased, a)
		case served && n.Assign == lab.DHCP:
			i.RA = &RA{DHCP: true}
			i.Leased = append(i.Leased, a)
		case served && n.Assign == lab.SLAAC && v6 && autonomous(a, p, nic.MAC):
			i.RA = &RA{Address: true}
			i.Leased = append(i.Leased, a)
		default:
			i.Addresses = append(i.Addresses, netip.PrefixFrom(a, p.Bits()))
		}
	}
}

// autonomous says whether a is what the interface makes of the prefix by itself. An address that the spec gives need not be.
func autonomous(a netip.Addr, p netip.Prefix, mac string) bool {
	link := lab.LinkLocal(mac)
	if p.Bits() != 64 || !link.IsValid() {
		return false
	}
	x, y := a.As16(), link.As16()
	return slices.Equal(x[8:], y[8:])
}

// routes sorts the routes over an interface into those that are written and those that a router brings: by DHCP all of
// IPv4, by advertisement the default route to the router that advertises. Any other IPv6 route dnsmasq cannot tell.
func (k *maker) routes(i *Interface, n lab.Network, m lab.Machine, routes []lab.Route) {
	for _, r := range routes {
		v6 := r.To.Addr().Is6()
		switch {
		case r.Network != n.Name || !r.Via.IsValid():
		case !v6 && i.DHCP:
			if !n.Uplink {
				i.Learned = append(i.Learned, r)
			}
		case v6 && i.RA != nil && r.To.Bits() == 0 && !n.Uplink && k.advertises(r.Router, n.Name):
			i.RA.Gateway = true
			i.Learned = append(i.Learned, r)
		default:
			i.Routes = append(i.Routes, r)
		}
	}
}

func (k *maker) advertises(router, network string) bool {
	r := k.machines[router]
	return r != nil && r.Routing != nil && slices.Contains(r.Routing.DHCP, network)
}

// hosts is the lab's block of /etc/hosts as m should have it: machines in name order, each with the addresses on
// m's own networks first, since a resolver takes the first line that matches.
func (k *maker) hosts(m lab.Machine) []Host {
	out := []Host{}
	for i := range k.lab.Machines {
		other := &k.lab.Machines[i]
		names := k.names[i]
		nics := other.NICs
		if len(nics) > 1 {
			nics = slices.Clone(nics)
			sort.SliceStable(nics, func(a, b int) bool { return k.near(m, nics[a]) < k.near(m, nics[b]) })
		}
		known := false
		for _, nic := range nics {
			for _, a := range []netip.Addr{nic.Addr, nic.Addr6} {
				if a.IsValid() {
					out, known = append(out, Host{a, names}), true
				}
			}
		}
		if !known && other.External.IsValid() {
			out, known = append(out, Host{other.External, names}), true
		}
		if !known && other.Name == m.Name { // sudo and many daemons look up the name of their own machine
			out = append(out, Host{netip.AddrFrom4([4]byte{127, 0, 1, 1}), names})
		}
	}
	return out
}

// near grades an address by the way from m: 0 on an own network of the lab, 1 on an own uplink, 2 elsewhere.
func (k *maker) near(m lab.Machine, nic lab.NIC) int {
	if _, ok := m.NIC(nic.Network); !ok {
		return 2
	}
	if k.networks[nic.Network].Uplink {
		return 1
	}
	return 0
}

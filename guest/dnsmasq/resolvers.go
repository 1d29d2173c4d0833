package dnsmasq

import (
	"net/netip"
	"slices"

	"github.com/labctl-dev/labctl/lab"
)

// most is how many name servers a machine is given: the C library reads no more of them (MAXNS in resolv.h).
const most = 3

// Resolvers are the name servers that m asks, and the network over which it reaches the first of them: the lab's own
// (Implied.DNS) and then, for while those are not up, the routers that answer on its networks; where there are neither,
// its uplink's where that is known. None and own means that its uplink tells it, by DHCP; none and not own that it has no
// name server.
//
// Where the target answers for the lab's names itself (lab.Resolver) everybody asks it alone, routers and name servers too.
//
// Routers ask each other in one direction only, towards the world, so that no question goes round in circles.
func Resolvers(l lab.Lab, ways *lab.Topology, m lab.Machine) (servers []netip.Addr, network string, own bool) {
	networks := ordered(ways, m)
	if a := l.Resolver(); a.IsValid() && len(networks) > 0 {
		n, _ := l.Network(networks[0])
		if n.Uplink && !n.CIDR.IsValid() { // its DHCP says the same
			return nil, n.Name, true
		}
		return []netip.Addr{a}, n.Name, false
	}
	uplink, has := onUplink(l, networks)
	if !answers(m) {
		servers, network = implied(l, ways, m, networks)
	}
	for _, name := range networks {
		for _, router := range serving(l, ways, name) {
			if router.Name == m.Name || answers(m) && !above(ways, router, m) {
				continue
			}
			if a, ok := shared(m, router, name); ok {
				servers = append(servers, a)
				network = first(network, name)
			}
		}
	}
	if len(servers) == 0 && answers(m) && !has { // such a router is asked by others: it does not wait for one of them
		servers, network = implied(l, ways, m, networks)
	}
	if len(servers) == 0 && has {
		n, _ := l.Network(uplink)
		if !n.CIDR.IsValid() {
			return nil, uplink, true
		}
		servers, network = []netip.Addr{lab.Gateway(n.CIDR)}, uplink
	}
	return servers[:min(len(servers), most)], network, false
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// ordered is m's networks, those first over which it reaches the world.
func ordered(ways *lab.Topology, m lab.Machine) []string {
	var out []string
	for _, r := range ways.Routes(m.Name) {
		if r.To.Bits() == 0 && !slices.Contains(out, r.Network) {
			out = append(out, r.Network)
		}
	}
	for _, nic := range m.NICs {
		if !slices.Contains(out, nic.Network) {
			out = append(out, nic.Network)
		}
	}
	return out
}

// serving are the routers that answer DNS on a network, the network's gateway first, then by name.
func serving(l lab.Lab, ways *lab.Topology, network string) []lab.Machine {
	gateway, _, _ := ways.Gateway(network, false)
	var out []lab.Machine
	for i := range l.Machines {
		m := &l.Machines[i]
		if m.Routing == nil || !slices.Contains(m.Routing.DNS, network) {
			continue
		}
		if m.Name == gateway {
			out = append([]lab.Machine{*m}, out...)
		} else {
			out = append(out, *m)
		}
	}
	return out
}

func answers(m lab.Machine) bool { return m.Routing != nil && len(m.Routing.DNS) > 0 }

// above says whether router a is nearer to the world than router b, or as near and first by name.
func above(ways *lab.Topology, a, b lab.Machine) bool {
	da, db := depth(ways, a), depth(ways, b)
	return da < db || da == db && a.Name < b.Name
}

// depth is the number of routers between a machine and the world; a large one where there is no way.
func depth(ways *lab.Topology, m lab.Machine) int {
	best := 1 << 20
	for _, nic := range m.NICs {
		for _, v6 := range []bool{false, true} {
			if hops, ok := ways.Path(nic.Network, "", v6); ok {
				best = min(best, len(hops))
			}
		}
	}
	return best
}

// shared is router's address on a network in a family that m speaks there.
func shared(m, router lab.Machine, network string) (netip.Addr, bool) {
	mine, _ := m.NIC(network)
	its, _ := router.NIC(network)
	for _, v6 := range []bool{false, true} {
		_, speaks := mine.Address(v6)
		if a, ok := its.Address(v6); ok && speaks {
			return a, true
		}
	}
	return netip.Addr{}, false
}

func onUplink(l lab.Lab, networks []string) (string, bool) {
	for _, name := range networks {
		if n, _ := l.Network(name); n.Uplink {
			return name, true
		}
	}
	return "", false
}

// implied are the addresses of the lab's own name servers, each in one that m can reach. A machine that is one of them
// asks none of them, and a router that answers itself asks none that asks a router.
func implied(l lab.Lab, ways *lab.Topology, m lab.Machine, networks []string) (servers []netip.Addr, network string) {
	if l.Implied == nil || slices.Contains(l.Implied.DNS, m.Name) {
		return nil, ""
	}
	for _, name := range l.Implied.DNS {
		s, ok := l.Machine(name)
		if !ok || answers(m) && asksRouter(l, ways, s) {
			continue
		}
		if a, over, ok := nearest(m, s, networks); ok {
			servers = append(servers, a)
			network = first(network, over)
		}
	}
	return servers, network
}

func asksRouter(l lab.Lab, ways *lab.Topology, m lab.Machine) bool {
	for _, nic := range m.NICs {
		if len(serving(l, ways, nic.Network)) > 0 {
			return true
		}
	}
	return false
}

// nearest is an address of s in a family that m speaks, on one of m's networks if there is one there, and m's network
// that leads to it.
func nearest(m, s lab.Machine, networks []string) (a netip.Addr, over string, ok bool) {
	for _, name := range networks {
		if nic, on := s.NIC(name); on {
			if mine, _ := m.NIC(name); mine.Addr.IsValid() || mine.Addr6.IsValid() {
				if a, ok := shared(m, s, name); ok && nic.Network == name {
					return a, name, true
				}
			}
		}
	}
	for _, v6 := range []bool{false, true} {
		speaks := slices.ContainsFunc(m.NICs, func(n lab.NIC) bool { _, ok := n.Address(v6); return ok })
		for _, nic := range s.NICs {
			if a, ok := nic.Address(v6); ok && speaks {
				return a, networks[0], true
			}
		}
	}
	return netip.Addr{}, "", false
}

package nspawn

import (
	"net/netip"
	"slices"
	"sort"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/nspawn/room"
)

// networkAttrs are a network's attributes in normal form: all that the room must be told.
type networkAttrs struct{ room.Network }

// site is a lab with the addresses that it has here, and the ways that follow from them.
type site struct {
	lab  lab.Lab       // uplinks for which the lab gives no addresses have some, and so have the machines on them
	ways *lab.Topology // for networks alone
}

// place gives the lab the addresses that this target gives.
func place(l lab.Lab, o options) (site, error) {
	cidrs, err := uplinkCIDRs(l, o)
	if err != nil {
		return site{}, err
	}
	l.Networks = slices.Clone(l.Networks)
	for i := range l.Networks {
		l.Networks[i].CIDR = cidrs[l.Networks[i].Name]
	}
	return site{lab: lab.Complete(l)}, nil
}

// addr is the address that a machine has on a network here; zero if none.
func (s site) addr(machine, network string) netip.Addr {
	m, _ := s.lab.Machine(machine)
	n, _ := m.NIC(network)
	return n.Addr
}

// network is a network in normal form; forward are the ports of the host that lead into it.
func (s site) network(n lab.Network, o options, forward []room.Forward) networkAttrs {
	n, _ = s.lab.Network(n.Name)
	a := networkAttrs{room.Network{
		Name: n.Name, MAC: lab.DoorMAC(s.lab.Name, n.Name), CIDR: n.CIDR.Masked(), CIDR6: n.CIDR6.Masked(), Uplink: n.Uplink, MTU: n.MTU,
		Domain: s.lab.Domain, HostAccess: n.Uplink && o.HostAccess, Forward: forward,
	}}
	gives := !s.served(n.Name) && (n.Uplink || n.DHCP != nil)
	if gives {
		a.Leases = s.leases(n)
		if n.DHCP != nil {
			a.DHCP = &room.Range{From: n.DHCP.From, To: n.DHCP.To}
		}
	}
	if n.Uplink || gives {
		a.Routes = s.routes(n)
	}
	if n.Uplink {
		a.Records = s.records()
	}
	return a
}

// served says whether a router of the lab gives a network its addresses.
func (s site) served(network string) bool {
	return slices.ContainsFunc(s.lab.Machines, func(m lab.Machine) bool {
		return m.Routing != nil && slices.Contains(m.Routing.DHCP, network)
	})
}

// leases are the addresses that machines of the lab get when they ask for one, by MAC.
func (s site) leases(n lab.Network) []room.Lease {
	var ls []room.Lease
	for _, m := range s.lab.Machines {
		if nic, ok := m.NIC(n.Name); ok && nic.Addr.Is4() && n.CIDR.Contains(nic.Addr) {
			ls = append(ls, room.Lease{MAC: nic.MAC, Addr: nic.Addr, Name: m.Name})
		}
	}
	sort.Slice(ls, func(i, j int) bool { return ls[i].MAC < ls[j].MAC })
	return ls
}

// routes lead to the networks behind the routers on a network, and, where that is no uplink, to the world. By them an
// uplink's gateway finds back to machines that no router hides, and whoever has an address from here finds the others.
func (s site) routes(n lab.Network) []room.Route {
	var rs []room.Route
	for _, v6 := range []bool{false, true} {
		add := func(to netip.Prefix, destination string) {
			hops, ok := s.ways.Path(n.Name, destination, v6)
			if !ok || len(hops) == 0 {
				return
			}
			m, _ := s.lab.Machine(hops[0].Router)
			nic, _ := m.NIC(n.Name)
			if via, ok := nic.Address(v6); ok {
				rs = append(rs, room.Route{Prefix: to, Via: via})
			}
		}
		if !n.Uplink {
			everything := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
			if v6 {
				everything = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
			}
			add(everything, "")
		}
		for _, other := range s.lab.Networks {
			if p, ok := other.Prefix(v6); ok && !other.Uplink && other.Name != n.Name {
				add(p, other.Name)
			}
		}
	}
	slices.SortFunc(rs, func(a, b room.Route) int {
		if c := a.Prefix.Addr().Compare(b.Prefix.Addr()); c != 0 {
			return c
		}
		return a.Prefix.Bits() - b.Prefix.Bits()
	})
	return rs
}

// records are the names that the uplink's name server knows: every machine's, at all its addresses.
func (s site) records() []room.Record {
	var rs []room.Record
	for _, m := range s.lab.Machines {
		for _, nic := range m.NICs {
			for _, a := range []netip.Addr{nic.Addr, nic.Addr6} {
				if a.IsValid() {
					rs = append(rs, room.Record{Name: m.Name, Addr: a})
				}
			}
		}
	}
	sort.Slice(rs, func(i, j int) bool {
		if rs[i].Name != rs[j].Name {
			return rs[i].Name < rs[j].Name
		}
		return rs[i].Addr.Less(rs[j].Addr)
	})
	return rs
}

// addresses are what each machine's interfaces are configured with inside, by machine and network.
func (s site) addresses() map[string]map[string]string {
	all := map[string]map[string]string{}
	for _, m := range s.lab.Machines {
		all[m.Name] = m.Addresses()
	}
	return all
}

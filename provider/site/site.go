// Package site says how a lab's networks lie on a host that makes them itself: which addresses its uplinks get, who is
// leased what, which ways lead behind routers, and where ports of the host lead in. It is pure.
//
// It must not know how a network is made.
package site

import (
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strings"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// Site is a lab with the addresses that it has on such a host: uplinks for which the lab gives none have some, and so have
// the machines on them.
type Site struct{ Lab lab.Lab }

// Place gives the lab the addresses that its target gives. uplink is the option uplink_cidr, checked by CheckUplink, or
// ""; network is the resource of a network, by its name, for errors.
func Place(l lab.Lab, uplink string, network func(name string) provider.Addr) (Site, error) {
	cidrs, err := uplinkCIDRs(l, uplink, network)
	if err != nil {
		return Site{}, err
	}
	l.Networks = slices.Clone(l.Networks)
	for i := range l.Networks {
		l.Networks[i].CIDR = cidrs[l.Networks[i].Name]
	}
	return Site{Lab: lab.Complete(l)}, nil
}

// CheckUplink says why the option uplink_cidr makes no sense. "" does.
func CheckUplink(cidr string) error {
	if cidr == "" {
		return nil
	}
	p, err := netip.ParsePrefix(cidr)
	if err != nil || !p.Addr().Is4() || p != p.Masked() || p.Bits() > 29 {
		return fmt.Errorf("uplink_cidr %q is no IPv4 network such as \"10.0.2.0/24\", at least a /29", cidr)
	}
	return nil
}

// Addr is the address that a machine has on a network here; zero if none.
func (s Site) Addr(machine, network string) netip.Addr {
	m, _ := s.Lab.Machine(machine)
	n, _ := m.NIC(network)
	return n.Addr
}

// Given are the addresses of a machine that the target gives, by network: l, the lab as it was placed, has none there.
func (s Site) Given(l lab.Lab, machine string) map[string]netip.Addr {
	all := map[string]netip.Addr{}
	for _, n := range l.Networks {
		if a := s.Addr(machine, n.Name); !n.CIDR.IsValid() && a.IsValid() {
			all[n.Name] = a
		}
	}
	return all
}

// Network is a network as whoever makes it must be told. Its JSON is part of providers' normal forms.
type Network struct {
	Name   string       `json:"name"`
	MAC    string       `json:"mac"` // of labctl's own end
	CIDR   netip.Prefix `json:"cidr,omitzero"`
	CIDR6  netip.Prefix `json:"cidr6,omitzero"`
	Uplink bool         `json:"uplink,omitempty"`
	MTU    int          `json:"mtu"`
	Domain string       `json:"domain,omitempty"`
	// DHCP is given to who is not in Leases. Without both, nobody is given an address.
	DHCP    *lab.Range `json:"dhcp,omitempty"`
	Leases  []Lease    `json:"leases,omitempty"`
	Routes  []Route    `json:"routes,omitempty"`  // to the lab's networks behind routers on this one
	Records []Record   `json:"records,omitempty"` // names that an uplink's name server knows
	// HostAccess lets machines reach the host's own addresses through the uplink.
	HostAccess bool      `json:"host_access,omitempty"`
	Forward    []Forward `json:"forward,omitempty"`
}

// Lease is an address that a machine gets when it asks for one.
type Lease struct {
	MAC  string     `json:"mac"`
	Addr netip.Addr `json:"addr"`
	Name string     `json:"name"`
}

// Route leads to a prefix by a machine on the network. Without one nobody is led there: the prefix is the lab's, and no
// address of the world outside.
type Route struct {
	Prefix netip.Prefix `json:"prefix"`
	Via    netip.Addr   `json:"via,omitzero"`
}

// Record is a name and one of its addresses.
type Record struct {
	Name string     `json:"name"`
	Addr netip.Addr `json:"addr"`
}

// Networks are the lab's, by name. entries are those of the option forward, hostAccess is the option host_access.
func (s Site) Networks(entries []Entry, hostAccess bool) (map[string]Network, error) {
	forwards, err := s.forwards(entries)
	if err != nil {
		return nil, err
	}
	ways := lab.NewTopology(s.Lab)
	all := map[string]Network{}
	for _, n := range s.Lab.Networks {
		a := s.network(n, ways)
		a.HostAccess, a.Forward = n.Uplink && hostAccess, forwards[n.Name]
		all[n.Name] = a
	}
	return all, nil
}

func (s Site) network(n lab.Network, ways *lab.Topology) Network {
	a := Network{
		Name: n.Name, MAC: lab.DoorMAC(s.Lab.Name, n.Name), CIDR: n.CIDR.Masked(), CIDR6: n.CIDR6.Masked(), Uplink: n.Uplink, MTU: n.MTU,
		Domain: s.Lab.Domain,
	}
	gives := !s.served(n.Name) && (n.Uplink || n.DHCP != nil || n.Netboot == lab.ByHost)
	if gives {
		a.DHCP, a.Leases = n.DHCP, s.leases(n)
	}
	if n.Uplink || gives {
		a.Routes = s.routes(n, ways)
	}
	if n.Uplink {
		a.Records = s.records()
	}
	return a
}

// served says whether a router of the lab gives a network its addresses.
func (s Site) served(network string) bool {
	return slices.ContainsFunc(s.Lab.Machines, func(m lab.Machine) bool {
		return m.Routing != nil && slices.Contains(m.Routing.DHCP, network)
	})
}

// leases are the addresses that machines of the lab get when they ask for one, by MAC.
func (s Site) leases(n lab.Network) []Lease {
	var ls []Lease
	for _, m := range s.Lab.Machines {
		if nic, ok := m.NIC(n.Name); ok && nic.Addr.Is4() && n.CIDR.Contains(nic.Addr) {
			ls = append(ls, Lease{MAC: nic.MAC, Addr: nic.Addr, Name: m.Name})
		}
	}
	sort.Slice(ls, func(i, j int) bool { return ls[i].MAC < ls[j].MAC })
	return ls
}

// routes lead to the networks behind the routers on a network, and, where that is no uplink, to the world: whoever has an
// address from here finds the others. Of an uplink they are its gateway's, too, and it knows the way only where the lab
// says so (routed: true), or machines would reach each other by a way that the proof does not know.
func (s Site) routes(n lab.Network, ways *lab.Topology) []Route {
	var rs []Route
	for _, v6 := range []bool{false, true} {
		add := func(to netip.Prefix, destination string) {
			hops, ok := ways.Path(n.Name, destination, v6)
			if n.Uplink && !n.Routed {
				rs = append(rs, Route{Prefix: to})
				return
			}
			if !ok || len(hops) == 0 {
				return
			}
			m, _ := s.Lab.Machine(hops[0].Router)
			nic, _ := m.NIC(n.Name)
			if via, ok := nic.Address(v6); ok {
				rs = append(rs, Route{Prefix: to, Via: via})
			}
		}
		if !n.Uplink {
			everything := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
			if v6 {
				everything = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
			}
			add(everything, "")
		}
		for _, other := range s.Lab.Networks {
			if p, ok := other.Prefix(v6); ok && !other.Uplink && other.Name != n.Name {
				add(p, other.Name)
			}
		}
	}
	slices.SortFunc(rs, func(a, b Route) int {
		if c := a.Prefix.Addr().Compare(b.Prefix.Addr()); c != 0 {
			return c
		}
		return a.Prefix.Bits() - b.Prefix.Bits()
	})
	return rs
}

// records are the names that the uplink's name server knows: every machine's, at all its addresses.
func (s Site) records() []Record {
	var rs []Record
	for _, m := range s.Lab.Machines {
		for _, nic := range m.NICs {
			for _, a := range []netip.Addr{nic.Addr, nic.Addr6} {
				if a.IsValid() {
					rs = append(rs, Record{Name: m.Name, Addr: a})
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

// Addresses are what each machine's interfaces are configured with inside, by machine and network.
func (s Site) Addresses() map[string]map[string]string {
	all := map[string]map[string]string{}
	for _, m := range s.Lab.Machines {
		all[m.Name] = m.Addresses()
	}
	return all
}

// uplinkCIDRs gives addresses to the uplinks for which the lab has none, each a network that overlaps no other.
func uplinkCIDRs(l lab.Lab, uplink string, network func(name string) provider.Addr) (map[string]netip.Prefix, error) {
	taken := []netip.Prefix{}
	for _, n := range l.Networks {
		if n.CIDR.IsValid() {
			taken = append(taken, n.CIDR)
		}
	}
	candidates := []string{"10.0.2.0/24", "192.168.127.0/24", "172.31.255.0/24"}
	if uplink != "" {
		candidates = []string{uplink}
	}
	given := map[string]netip.Prefix{}
	for _, n := range l.Networks {
		if n.CIDR.IsValid() {
			given[n.Name] = n.CIDR
			continue
		}
		for _, c := range candidates {
			p := netip.MustParsePrefix(c)
			if !slices.ContainsFunc(taken, p.Overlaps) {
				given[n.Name] = p
				taken = append(taken, p)
				break
			}
		}
		if !given[n.Name].IsValid() {
			return nil, &provider.Error{Op: "expand", Addr: network(n.Name), Code: provider.Invalid,
				Text: fmt.Sprintf("networks.%s.cidr: %s overlap with other networks of the lab; give this one a cidr", n.Name, strings.Join(candidates, ", "))}
		}
	}
	return given, nil
}

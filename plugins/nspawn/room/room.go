// Package room is the process that has a lab's networks: it lives in a network namespace of its own, with a bridge for
// each network, and from there puts cables into the namespaces of machines. On uplinks it is the gateway: it gives
// addresses and names (dnsmasq) and leads outside through a user-mode network stack (slirp4netns), so that the host's
// own network stays as it is. All of it goes when the process ends.
//
// It must not know what a machine is besides a process in a network namespace.
package room

import (
	"net/netip"

	"github.com/labctl-dev/labctl/lab"
)

// Network is all that the room must be told of one.
type Network struct {
	Name   string       `json:"name"`
	MAC    string       `json:"mac"` // of the room's own end
	CIDR   netip.Prefix `json:"cidr,omitzero"`
	CIDR6  netip.Prefix `json:"cidr6,omitzero"`
	Uplink bool         `json:"uplink,omitempty"`
	MTU    int          `json:"mtu"`
	Domain string       `json:"domain,omitempty"`
	// DHCP is given to who is not in Leases. Without both, nobody is given an address.
	DHCP    *Range   `json:"dhcp,omitempty"`
	Leases  []Lease  `json:"leases,omitempty"`
	Routes  []Route  `json:"routes,omitempty"`  // to networks behind routers on this one
	Records []Record `json:"records,omitempty"` // names that an uplink's name server knows
	// HostAccess lets machines reach the host's own addresses through the uplink.
	HostAccess bool      `json:"host_access,omitempty"`
	Forward    []Forward `json:"forward,omitempty"`
}

// Range is an inclusive range of addresses.
type Range struct {
	From netip.Addr `json:"from"`
	To   netip.Addr `json:"to"`
}

// Lease is an address that a machine gets when it asks for one.
type Lease struct {
	MAC  string     `json:"mac"`
	Addr netip.Addr `json:"addr"`
	Name string     `json:"name"`
}

// Route leads to a prefix by a machine on the network.
type Route struct {
	Prefix netip.Prefix `json:"prefix"`
	Via    netip.Addr   `json:"via"`
}

// Record is a name and one of its addresses.
type Record struct {
	Name string     `json:"name"`
	Addr netip.Addr `json:"addr"`
}

// Forward is a TCP port of the host that leads to one of a machine.
type Forward struct {
	Listen  netip.AddrPort `json:"listen"`
	To      netip.AddrPort `json:"to"`
	Machine string         `json:"machine"`
}

// Cable leads from a network into the network namespace of a process.
type Cable struct {
	Network string `json:"network"`
	Machine string `json:"machine"`
	MAC     string `json:"mac"`
	Up      bool   `json:"up"`
	// Device is the interface's name inside; at most 15 bytes.
	Device string `json:"device,omitempty"`
	PID    int    `json:"pid,omitempty"` // a process in the namespace
}

// Status is what the room has.
type Status struct {
	PID      int       `json:"pid"`
	Networks []Network `json:"networks,omitempty"` // whose bridges are there
	Cables   []Cable   `json:"cables,omitempty"`   // without Device and PID
}

// Cabled are the cables of one machine.
func (s Status) Cabled(machine string) []Cable {
	var cs []Cable
	for _, c := range s.Cables {
		if c.Machine == machine {
			cs = append(cs, c)
		}
	}
	return cs
}

// address is the room's own on a network: it has one where it is the gateway, gives addresses, or leads ports in.
func (n Network) addresses() []netip.Prefix {
	var own []netip.Prefix
	for _, p := range []netip.Prefix{n.CIDR, n.CIDR6} {
		if !p.IsValid() || !n.Uplink && !n.gives() && len(n.Forward) == 0 {
			continue
		}
		if a := n.own(p); a.IsValid() {
			own = append(own, netip.PrefixFrom(a, p.Bits()))
		}
	}
	return own
}

func (n Network) gives() bool { return n.DHCP != nil || len(n.Leases) > 0 }

// own is the room's address in a network.
func (n Network) own(p netip.Prefix) netip.Addr {
	if n.Uplink {
		return lab.Gateway(p)
	}
	return lab.Door(p)
}

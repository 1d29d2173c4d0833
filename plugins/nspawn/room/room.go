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
	"github.com/labctl-dev/labctl/provider/site"
)

// Network is all that the room must be told of one.
type Network struct{ site.Network }

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

package lab

import (
	"net/netip"
)

// Arrange is Complete for a lab with routers and two families: the router that leads to the world, or a network's
// only router, takes the network's first address (Gateway) unless the spec says otherwise, and interfaces on networks
// with CIDR6 get their second address. For a lab without either it is Complete.
func Arrange(l Lab) Lab {
	l = clone(l)
	place := func(v6 bool) {
		complete := Complete(l)
		t := NewTopology(second(complete))
		for i := range l.Machines {
			for j := range l.Machines[i].NICs {
				t.place(&l.Machines[i], &l.Machines[i].NICs[j], v6)
			}
		}
	}
	place(false)
	place(true)
	return second(Complete(l))
}

// place gives a router's interface the network's first address where the router is the network's gateway.
func (t *Topology) place(m *Machine, nic *NIC, v6 bool) {
	n := t.networks[nic.Network]
	if n == nil || n.Uplink || !m.Router {
		return
	}
	p, ok := n.Prefix(v6)
	if gateway, _, _ := t.Gateway(n.Name, v6); !ok || gateway != m.Name || t.taken(n.Name, Gateway(p)) {
		return
	}
	switch {
	case p == n.CIDR.Masked() && !nic.Addr.IsValid():
		nic.Addr = Gateway(p)
	case n.CIDR6.IsValid() && p == n.CIDR6.Masked() && !nic.Addr6.IsValid():
		nic.Addr6 = Gateway(p)
	}
}

func (t *Topology) taken(network string, a netip.Addr) bool {
	for i := range t.lab.Machines {
		if nic, ok := t.lab.Machines[i].NIC(network); ok && (nic.Addr == a || nic.Addr6 == a) {
			return true
		}
	}
	return false
}

// second allocates the addresses of CIDR6 as those of CIDR are, by the same rule of places.
func second(l Lab) Lab {
	l = clone(l)
	for _, n := range l.Networks {
		if !n.CIDR6.IsValid() {
			continue
		}
		n.CIDR, n.DHCP = n.CIDR6, nil
		swap := func() {
			for i := range l.Machines {
				for j := range l.Machines[i].NICs {
					if nic := &l.Machines[i].NICs[j]; nic.Network == n.Name {
						nic.Addr, nic.Addr6 = nic.Addr6, nic.Addr
					}
				}
			}
		}
		swap()
		allocate(l, n)
		swap()
	}
	return l
}

func clone(l Lab) Lab {
	l.Machines = append([]Machine(nil), l.Machines...)
	for i := range l.Machines {
		l.Machines[i].NICs = append([]NIC(nil), l.Machines[i].NICs...)
	}
	return l
}

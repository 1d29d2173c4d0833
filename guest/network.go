package guest

import (
	"net/netip"
	"sort"

	"github.com/labctl-dev/labctl/lab"
)

// interfaces is the configuration of m's interfaces in their order.
func interfaces(l lab.Lab, m lab.Machine) []Interface {
	out := []Interface{}
	def := false // has an interface with the default route been seen?
	for _, nic := range m.NICs {
		n, _ := l.Network(nic.Network)
		i := Interface{
			Name: nic.Network, MAC: nic.MAC, MTU: n.MTU,
			Addresses: []netip.Prefix{}, DNS: []netip.Addr{},
			Default: n.Uplink && !def,
		}
		def = def || n.Uplink
		switch {
		case nic.Addr.IsValid() && n.CIDR.IsValid():
			i.Addresses = append(i.Addresses, netip.PrefixFrom(nic.Addr, n.CIDR.Bits()))
			if i.Default {
				i.Gateway = lab.Gateway(n.CIDR)
				i.DNS = append(i.DNS, i.Gateway)
			}
		default:
			i.DHCP = true
		}
		out = append(out, i)
	}
	return out
}

// hosts is the lab's block of /etc/hosts as m should have it: machines in name order, each with the addresses on
// m's own networks first, since a resolver takes the first line that matches.
func hosts(l lab.Lab, m lab.Machine) []Host {
	out := []Host{}
	for _, other := range l.Machines {
		names := []string{l.FQDN(other.Name), other.Name}
		if l.Domain == "" {
			names = names[1:]
		}
		nics := append([]lab.NIC(nil), other.NICs...)
		sort.SliceStable(nics, func(a, b int) bool { return near(l, m, nics[a]) < near(l, m, nics[b]) })
		known := false
		for _, nic := range nics {
			if nic.Addr.IsValid() {
				out, known = append(out, Host{nic.Addr, names}), true
			}
		}
		if !known && other.Name == m.Name { // sudo and many daemons look up the name of their own machine
			out = append(out, Host{netip.AddrFrom4([4]byte{127, 0, 1, 1}), names})
		}
	}
	return out
}

// near grades an address by the way from m: 0 on an own network of the lab, 1 on an own uplink, 2 elsewhere.
func near(l lab.Lab, m lab.Machine, nic lab.NIC) int {
	if _, ok := m.NIC(nic.Network); !ok {
		return 2
	}
	if n, _ := l.Network(nic.Network); n.Uplink {
		return 1
	}
	return 0
}

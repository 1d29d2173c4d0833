package libvirt

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

const defaultMTU = 1500

// The ways a network leads out.
const (
	isolated = "isolated"
	nat      = "nat"
	routed   = "route"
	bridged  = "bridge"
)

// networkOf is a network in normal form, with the addresses that cidr gives where the lab has none.
func networkOf(l lab.Lab, n lab.Network, cidr netip.Prefix, o options) networkAttrs {
	a := networkAttrs{Name: networkName(l.Name, n.Name), Forward: isolated, Power: on, Autostart: true}
	if b := o.Bridges[n.Name]; b != "" {
		a.Forward, a.Bridge = bridged, b
		return a
	}
	// The host's own address is labctl's way in, and on an uplink the gateway.
	own := lab.Door
	a.MAC = lab.DoorMAC(l.Name, n.Name)
	switch {
	case n.Uplink && n.Routed:
		a.Forward, own = routed, lab.Gateway
	case n.Uplink:
		a.Forward, own = nat, lab.Gateway
	default:
		a.Local = lab.LinkLocal(a.MAC)
	}
	a.CIDR, a.Address = cidr.Masked(), own(cidr.Masked())
	if n.CIDR6.IsValid() {
		a.CIDR6, a.Address6 = n.CIDR6.Masked(), own(n.CIDR6.Masked())
	}
	if n.MTU != defaultMTU {
		a.MTU = n.MTU
	}
	if served(l, n.Name) || !cidr.Addr().Is4() { // libvirt gives IPv6 addresses by DUID, which nobody knows beforehand
		return a
	}
	if n.Uplink {
		a.Domain = l.Domain
	}
	if a.DHCP = n.DHCP; n.Uplink || n.DHCP != nil {
		a.names(addressed(l, n.Name, cidr), n)
	}
	a.sort()
	return a
}

// names fills in what the network's DHCP server knows, and on an uplink its name server: the machines on it. The name
// server knows a machine by its address there alone, since libvirt wants each name once to change names live.
func (a *networkAttrs) names(l lab.Lab, n lab.Network) {
	for _, m := range l.Machines {
		nic, ok := m.NIC(n.Name)
		if !ok || !nic.Addr.Is4() || !a.CIDR.Contains(nic.Addr) {
			continue
		}
		a.Leases = append(a.Leases, lease{MAC: nic.MAC, Addr: nic.Addr, Name: m.Name})
		if !n.Uplink {
			continue
		}
		names := []string{m.Name}
		if l.Domain != "" {
			names = append(names, l.FQDN(m.Name))
		}
		a.Records = append(a.Records, record{Addr: nic.Addr, Names: names})
	}
}

// served says whether a router of the lab gives addresses on a network.
func served(l lab.Lab, network string) bool {
	return slices.ContainsFunc(l.Machines, func(m lab.Machine) bool {
		return m.Routing != nil && slices.Contains(m.Routing.DHCP, network)
	})
}

// addressed is the lab with the addresses that a network without a CIDR of its own has here.
func addressed(l lab.Lab, network string, cidr netip.Prefix) lab.Lab {
	l.Networks = slices.Clone(l.Networks)
	for i := range l.Networks {
		if l.Networks[i].Name == network {
			l.Networks[i].CIDR = cidr
		}
	}
	return lab.Complete(l)
}

// uplinkCIDRs gives addresses to the uplinks for which the lab has none, each a network that overlaps no other of the
// lab. Which one is a matter of the names, so that labs on one host rarely meet; that none is taken on the host is
// seen when the network is made. A bridge of the host and an adopted network keep
// the addresses that they have.
func uplinkCIDRs(l lab.Lab, o options) (map[string]netip.Prefix, error) {
	var taken []netip.Prefix
	for _, n := range l.Networks {
		if n.CIDR.IsValid() {
			taken = append(taken, n.CIDR)
		}
	}
	given := map[string]netip.Prefix{}
	for _, n := range l.Networks {
		given[n.Name] = n.CIDR
		if n.CIDR.IsValid() || o.Bridges[n.Name] != "" || n.Adopted != "" {
			continue
		}
		var tried []netip.Prefix
		if o.UplinkCIDR != "" {
			tried = append(tried, netip.MustParsePrefix(o.UplinkCIDR)) // checked by options.check
		} else {
			tried = candidates(l.Name, n.Name)
		}
		free := slices.IndexFunc(tried, func(p netip.Prefix) bool { return !slices.ContainsFunc(taken, p.Overlaps) })
		if free < 0 {
			return nil, &provider.Error{Op: "expand", Addr: addr(kindNetwork, n.Name), Code: provider.Invalid,
				Text: fmt.Sprintf("networks.%s.cidr: %s and %d more overlap with other networks of the lab; give this one a cidr", n.Name, tried[0], len(tried)-1)}
		}
		given[n.Name] = tried[free]
		taken = append(taken, tried[free])
	}
	return given, nil
}

// candidates are networks of 10.128.0.0/9 in an order that the names give.
func candidates(labName, network string) []netip.Prefix {
	h := sha256.Sum256([]byte("uplink\x00" + labName + "\x00" + network))
	var ps []netip.Prefix
	for i := range 16 {
		ps = append(ps, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, h[2*i] | 0x80, h[2*i+1], 0}), 24))
	}
	return ps
}

func containsRecord(list []record, r record) bool {
	return slices.ContainsFunc(list, func(x record) bool { return x.Addr == r.Addr && slices.Equal(x.Names, r.Names) })
}

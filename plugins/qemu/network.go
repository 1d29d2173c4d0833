package qemu

import (
	"net/netip"
	"sort"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/qemu/netd"
)

// networkAttrs are a network's attributes in normal form: all that the network process must be told.
type networkAttrs struct{ netd.Network }

// networkOf is a network in normal form, with the addresses that cidr gives where the lab has none.
func networkOf(l lab.Lab, n lab.Network, cidr netip.Prefix, o options) networkAttrs {
	a := networkAttrs{netd.Network{
		Name: n.Name, Key: key(n.Name), CIDR: cidr.Masked(), Uplink: n.Uplink, MTU: n.MTU, DHCP: n.DHCP,
		Domain: l.Domain, HostAccess: n.Uplink && o.HostAccess,
	}}
	if n.Uplink || n.DHCP != nil {
		a.Leases = leases(l, n.Name, cidr)
	}
	if n.Uplink {
		a.Records = records(l, n.Name, cidr)
	}
	return a
}

// leases are the addresses that machines of the lab get when they ask for one, by MAC.
func leases(l lab.Lab, network string, cidr netip.Prefix) []netd.Lease {
	var ls []netd.Lease
	for _, m := range addressed(l, network, cidr).Machines {
		if nic, ok := m.NIC(network); ok && nic.Addr.Is4() && cidr.Contains(nic.Addr) {
			ls = append(ls, netd.Lease{MAC: nic.MAC, Addr: nic.Addr, Name: m.Name})
		}
	}
	sort.Slice(ls, func(i, j int) bool { return ls[i].MAC < ls[j].MAC })
	return ls
}

// addressed is the lab with the addresses that a network without a CIDR of its own has here.
func addressed(l lab.Lab, network string, cidr netip.Prefix) lab.Lab {
	l.Networks = append([]lab.Network(nil), l.Networks...)
	for i := range l.Networks {
		if l.Networks[i].Name == network {
			l.Networks[i].CIDR = cidr
		}
	}
	return lab.Complete(l)
}

// records are the names that the uplink's name server knows: every machine's, at all its addresses.
func records(l lab.Lab, network string, cidr netip.Prefix) []netd.Record {
	var rs []netd.Record
	for _, m := range addressed(l, network, cidr).Machines {
		for _, nic := range m.NICs {
			if nic.Addr.IsValid() {
				rs = append(rs, netd.Record{Name: m.Name, Addr: nic.Addr})
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

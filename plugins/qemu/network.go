package qemu

import (
	"github.com/labctl-dev/labctl/plugins/qemu/netd"
	"github.com/labctl-dev/labctl/provider/site"
)

// networkAttrs are a network's attributes in normal form: all that the network process must be told.
type networkAttrs struct{ netd.Network }

// networkOf is a network in the network process's words: that knows no provider, and has a folder for it.
func networkOf(n site.Network, installs *netd.Netboot) networkAttrs {
	a := networkAttrs{netd.Network{
		Name: n.Name, Key: key(n.Name), MAC: n.MAC, CIDR: n.CIDR, CIDR6: n.CIDR6, Uplink: n.Uplink, MTU: n.MTU,
		Domain: n.Domain, DHCP: n.DHCP, HostAccess: n.HostAccess, Netboot: installs,
	}}
	for _, x := range n.Leases {
		a.Leases = append(a.Leases, netd.Lease(x))
	}
	for _, x := range n.Routes {
		a.Routes = append(a.Routes, netd.Route(x))
	}
	for _, x := range n.Records {
		a.Records = append(a.Records, netd.Record(x))
	}
	for _, x := range n.Forward {
		a.Forward = append(a.Forward, netd.Forward(x))
	}
	return a
}

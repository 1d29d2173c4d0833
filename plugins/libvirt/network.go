package libvirt

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/labctl-dev/labctl/plugins/libvirt/conn"
	"github.com/labctl-dev/labctl/provider"
)

// putNetwork makes a network what r says, whether it exists or not.
func (v *virt) putNetwork(ctx context.Context, r provider.Resource, p provider.Progress) error {
	var a networkAttrs
	if err := decode(r.Addr, r.Attrs, &a); err != nil {
		return err
	}
	m := mark{Lab: r.Lab, Target: v.target, Name: r.Addr.Name}
	return v.host.Ask(ctx, "make network "+a.Name, func(c *libvirt.Libvirt) error {
		n, err := lookNetwork(c, m.Lab, m.Name)
		if err != nil {
			return err
		}
		if n != nil && n.live.Name != a.Name { // libvirt cannot rename networks
			if err := dropNetwork(c, n); err != nil {
				return err
			}
			n = nil
		}
		if n == nil || n.active != (a.Power == on) || restarts(networkOfXML(n.live, n.mark), a) {
			w := &world{}
			if err := w.lookNetworks(c, m.Lab); err != nil {
				return err
			}
			if err := w.vacant(a, m, v.host.URI().Local()); err != nil {
				return err
			}
			if err := w.prime(c, a); err != nil {
				return err
			}
		}
		return settleNetwork(c, n, a, m, p)
	})
}

// settleNetwork makes a network that exists, or not, what a says.
func settleNetwork(c *libvirt.Libvirt, n *networkSeen, a networkAttrs, m mark, p provider.Progress) error {
	x := networkXML(a, m)
	text, err := x.Marshal()
	if err != nil {
		return err
	}
	net, err := c.NetworkDefineXML(text) // of a network that runs, only the persistent definition
	if err != nil {
		return err
	}
	if err := c.NetworkSetAutostart(net, 1); err != nil {
		return err
	}
	switch {
	case n == nil || !n.active:
		if err = startNetwork(c, net); err != nil && n == nil { // what libvirt refuses leaves nothing behind
			err = errors.Join(err, c.NetworkUndefine(net))
		}
	case restarts(networkOfXML(n.live, n.mark), a):
		p(provider.Step{Phase: "restarting"})
		if err := c.NetworkDestroy(net); err != nil && !conn.Is(err, libvirt.ErrOperationInvalid) {
			return err
		}
		err = startNetwork(c, net)
	default:
		err = updateNetwork(c, net, networkOfXML(n.live, n.mark), a)
	}
	if err != nil {
		return err
	}
	return rejoin(c, net, m, p)
}

// startNetwork starts a network; its machines rejoin it.
func startNetwork(c *libvirt.Libvirt, net libvirt.Network) error {
	err := c.NetworkCreate(net)
	if err == nil {
		return nil
	}
	if active, aerr := c.NetworkIsActive(net); aerr == nil && active == 1 {
		return nil
	}
	return err
}

// lookNetwork is a lab's network; nil if there is none. It is found under another name, too.
func lookNetwork(c *libvirt.Libvirt, labName, name string) (*networkSeen, error) {
	for _, lookup := range []func() (libvirt.Network, error){
		func() (libvirt.Network, error) { return c.NetworkLookupByName(networkName(labName, name)) },
		func() (libvirt.Network, error) { return c.NetworkLookupByUUID(uuid(kindNetwork, labName, name)) },
	} {
		net, err := lookup()
		if conn.Is(err, libvirt.ErrNoNetwork) {
			continue
		}
		if err != nil {
			return nil, err
		}
		n := &networkSeen{net: net}
		active, err := c.NetworkIsActive(net)
		if err == nil {
			n.active = active == 1
			err = n.look(c, labName)
		}
		if gone(err) {
			continue
		}
		if err != nil || n.mark.Lab == labName && n.mark.Name == name {
			return n, err
		}
	}
	return nil, nil
}

// restarts says whether a network must be started anew to become what it should be.
func restarts(have, want networkAttrs) bool {
	return have.Forward != want.Forward || have.Bridge != want.Bridge || have.CIDR != want.CIDR || have.CIDR6 != want.CIDR6 ||
		have.MAC != want.MAC || have.Address != want.Address || have.Address6 != want.Address6 || have.Local != want.Local || have.MTU != want.MTU || have.Domain != want.Domain || named(have) != named(want)
}

// prime has libvirt start its name server once, on a network that is gone again at once, if a network is to be started
// that has none and no other on the host has one: libvirt 9.0 keeps a list for every network in a folder that only the
// start of a name server makes, and without it starts no machine there.
func (w *world) prime(c *libvirt.Libvirt, a networkAttrs) error {
	if a.Forward == bridged || named(a) || a.DHCP != nil || slices.ContainsFunc(w.networks, (*networkSeen).serves) {
		return nil
	}
	x := libvirtxml.Network{
		Name: "labctl-prime", Bridge: &libvirtxml.NetworkBridge{Name: "labprime", STP: "off", Delay: "0"},
		IPs: []libvirtxml.NetworkIP{{Address: "169.254.253.253", Prefix: 30, Family: "ipv4"}},
	}
	text, err := x.Marshal()
	if err != nil {
		return err
	}
	net, err := c.NetworkCreateXML(text)
	if err != nil {
		return nil // another is just doing it; if not, the start of a machine will tell
	}
	if err := c.NetworkDestroy(net); !gone(err) {
		return err
	}
	return nil
}

// serves says whether libvirt runs a name server for a network.
func (n *networkSeen) serves() bool {
	x := n.live
	if !n.active || len(x.IPs) == 0 {
		return false
	}
	return x.DNS == nil || x.DNS.Enable != "no" || slices.ContainsFunc(x.IPs, func(ip libvirtxml.NetworkIP) bool { return ip.DHCP != nil })
}

// updateNetwork changes what can be changed while a network runs and its machines keep their links.
func updateNetwork(c *libvirt.Libvirt, net libvirt.Network, have, want networkAttrs) error {
	var errs []error
	change := func(command libvirt.NetworkUpdateCommand, section libvirt.NetworkUpdateSection, marshal func() (string, error)) {
		text, err := marshal()
		if err == nil {
			err = c.NetworkUpdateCompat(net, command, section, -1, text, libvirt.NetworkUpdateAffectLive)
		}
		errs = append(errs, err)
	}
	const add, remove = libvirt.NetworkUpdateCommandAddLast, libvirt.NetworkUpdateCommandDelete
	if rangeOf(have) != rangeOf(want) {
		if have.DHCP != nil {
			x := rangeXML(*have.DHCP)
			change(remove, libvirt.NetworkSectionIPDhcpRange, x.Marshal)
		}
		if want.DHCP != nil {
			x := rangeXML(*want.DHCP)
			change(add, libvirt.NetworkSectionIPDhcpRange, x.Marshal)
		}
	}
	for _, pass := range []struct {
		command  libvirt.NetworkUpdateCommand
		from, to networkAttrs
	}{{remove, have, want}, {add, want, have}} { // first remove, since two must not be alike
		for _, l := range pass.from.Leases {
			if !slices.Contains(pass.to.Leases, l) {
				x := leaseXML(l)
				change(pass.command, libvirt.NetworkSectionIPDhcpHost, x.Marshal)
			}
		}
		for _, r := range pass.from.Records {
			if !containsRecord(pass.to.Records, r) {
				x := recordXML(r)
				change(pass.command, libvirt.NetworkSectionDNSHost, x.Marshal)
			}
		}
	}
	return errors.Join(errs...)
}

// deleteNetwork deletes a network that nobody else is on.
func (v *virt) deleteNetwork(ctx context.Context, o provider.Observed) error {
	return v.host.Ask(ctx, "delete network "+networkName(o.Lab, o.Addr.Name), func(c *libvirt.Libvirt) error {
		n, err := lookNetwork(c, o.Lab, o.Addr.Name)
		if err != nil || n == nil {
			return err
		}
		if n.mark.Adopted != "" {
			return &provider.Error{Code: provider.Foreign, Text: "network " + n.live.Name + " is adopted, and never labctl's to delete"}
		}
		w := &world{}
		if err := w.lookDomains(c, o.Lab); err != nil {
			return err
		}
		if base, ok := strings.CutSuffix(n.live.Name, detourSuffix); ok {
			if err := w.sendBack(c, n.live.Name, base); err != nil {
				return err
			}
			return dropNetwork(c, n)
		}
		if users := w.foreign(n.live.Name, o.Lab); len(users) > 0 {
			return &provider.Error{Code: provider.InUse, Text: "not made by this lab, but on the network: domain " + list(users)}
		}
		return dropNetwork(c, n)
	})
}

func dropNetwork(c *libvirt.Libvirt, n *networkSeen) error {
	if n.active {
		if err := c.NetworkDestroy(n.net); err != nil && !gone(err) && !conn.Is(err, libvirt.ErrOperationInvalid) {
			return err
		}
	}
	if err := c.NetworkUndefine(n.net); err != nil && !gone(err) {
		return err
	}
	return nil
}

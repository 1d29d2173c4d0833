package libvirt

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// plots are the networks that labs are to have, by lab and name, which were not yet compared with what is on the host.
type plots map[string]map[string]networkAttrs

// plot notes the networks of a lab.
func (v *virt) plot(l lab.Lab) {
	all := map[string]networkAttrs{}
	if uplinks, err := uplinkCIDRs(l, v.opts); err == nil {
		for _, n := range l.Networks {
			if n.Adopted != "" {
				continue
			}
			all[n.Name] = networkOf(l, n, uplinks[n.Name], v.opts)
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.plots[l.Name] = all
}

// room refuses to make anything of a lab that has a network for which there is no room on the host. It looks once.
func (v *virt) room(ctx context.Context) error {
	v.rooming.Lock() // the others wait for the answer
	defer v.rooming.Unlock()
	v.mu.Lock()
	left := v.plots
	v.plots = plots{}
	v.mu.Unlock()
	if len(left) == 0 {
		return nil
	}
	err := v.host.Ask(ctx, "look at all networks", func(c *libvirt.Libvirt) error {
		for labName, networks := range left {
			w := &world{}
			if err := w.lookNetworks(c, labName); err != nil {
				return err
			}
			for name, a := range networks {
				m := mark{Lab: labName, Name: name}
				if have := w.network(m); have != nil && have.active && !restarts(networkOfXML(have.live, have.mark), a) {
					continue
				}
				if err := w.vacant(a, m, v.host.URI().Local()); err != nil {
					return provider.Wrap("create", addr(kindNetwork, name), err)
				}
			}
		}
		return nil
	})
	if err != nil {
		v.mu.Lock()
		v.plots = left // so that whatever comes next is refused as well
		v.mu.Unlock()
	}
	return err
}

// network is the one with a mark; nil if there is none.
func (w *world) network(m mark) *networkSeen {
	for _, n := range w.networks {
		if n.mark.Lab == m.Lab && n.mark.Name == m.Name {
			return n
		}
	}
	return nil
}

// vacant refuses names, bridges and addresses that another network on the host has, ours or not. Of a host that is this
// one it also looks at the interfaces; of another libvirt itself does, for IPv4, when it starts the network.
func (w *world) vacant(a networkAttrs, m mark, here bool) error {
	for _, n := range w.networks {
		if n.mark.Lab == m.Lab && n.mark.Name == m.Name {
			continue
		}
		whose := "network " + n.live.Name
		if n.mark.Lab != "" {
			whose = fmt.Sprintf("network %s of lab %s", n.mark.Name, n.mark.Lab)
		}
		if n.live.Name == a.Name {
			return &provider.Error{Code: provider.Foreign, Text: whose + " is there already"}
		}
		if n.live.Bridge != nil && a.Forward != bridged && n.live.Bridge.Name == bridgeName(m.Lab, m.Name) {
			return &provider.Error{Code: provider.InUse, Text: fmt.Sprintf("%s has the bridge %s", whose, n.live.Bridge.Name)}
		}
		if !n.active && !n.autostart { // nobody waits for it
			continue
		}
		for _, theirs := range prefixes(n.live) {
			if err := a.apartFrom(whose, theirs); err != nil {
				return err
			}
		}
	}
	if here {
		return w.apartFromHost(a, m)
	}
	return nil
}

// prefixes are all that a network has for its own.
func prefixes(x libvirtxml.Network) []netip.Prefix {
	var out []netip.Prefix
	for _, ip := range x.IPs {
		if own, err := netip.ParseAddr(ip.Address); err == nil && !own.IsLinkLocalUnicast() {
			out = append(out, netip.PrefixFrom(own, prefixBits(ip)).Masked())
		}
	}
	return out
}

// apartFrom refuses addresses that somebody else has.
func (a networkAttrs) apartFrom(whose string, theirs netip.Prefix) error {
	for _, mine := range []netip.Prefix{a.CIDR, a.CIDR6} {
		if mine.IsValid() && mine.Overlaps(theirs) {
			return &provider.Error{Code: provider.InUse, Text: fmt.Sprintf("%s has %s, which overlaps with %s; give this one another cidr", whose, theirs, mine)}
		}
	}
	return nil
}

// apartFromHost refuses addresses that an interface of this computer has. Bridges of networks are not looked at: a
// network that is just being changed has its old addresses.
func (w *world) apartFromHost(a networkAttrs, m mark) error {
	bridges := map[string]bool{bridgeName(m.Lab, m.Name): true}
	for _, n := range w.networks {
		if n.live.Bridge != nil && (n.live.Forward == nil || n.live.Forward.Mode != bridged) {
			bridges[n.live.Bridge.Name] = true
		}
	}
	all, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("cannot see this host's interfaces: %w", err)
	}
	for _, i := range all {
		addrs, err := i.Addrs()
		if bridges[i.Name] || err != nil { // it has just gone
			continue
		}
		for _, x := range addrs {
			p, err := netip.ParsePrefix(x.String())
			if err != nil || p.Addr().IsLinkLocalUnicast() {
				continue
			}
			if err := a.apartFrom("the host's interface "+i.Name, p.Masked()); err != nil {
				return err
			}
		}
	}
	return nil
}

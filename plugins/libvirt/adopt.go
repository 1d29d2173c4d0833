package libvirt

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// Adoptable implements provider.Adopter.
func (v *virt) Adoptable(ctx context.Context, l lab.Lab) ([]provider.Candidate, error) {
	w := &world{}
	passing := map[string]bool{} // networks that libvirt forgets when they stop
	err := v.host.Ask(ctx, "look at all networks and domains", func(c *libvirt.Libvirt) error {
		*w = world{}
		if err := w.lookNetworks(c, l.Name); err != nil {
			return err
		}
		for _, n := range w.networks {
			kept, err := c.NetworkIsPersistent(n.net)
			if err != nil && !gone(err) {
				return err
			}
			passing[n.live.Name] = kept == 0
		}
		if err := w.lookDomains(c, l.Name); err != nil {
			return err
		}
		for _, d := range w.domains {
			if d.mark.Lab != "" || !d.active {
				continue
			}
			if err := d.lookConfig(c, glance); err != nil && !gone(err) {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, provider.Wrap("look for what can be adopted", provider.Addr{}, err)
	}
	var networks, machines []provider.Candidate
	for _, n := range w.networks {
		if n.mark.Lab == "" {
			networks = append(networks, n.candidate(passing[n.live.Name]))
		}
	}
	for _, d := range w.domains {
		if d.mark.Lab == "" {
			machines = append(machines, w.candidate(d, l.Name))
		}
	}
	for _, all := range [][]provider.Candidate{networks, machines} {
		slices.SortFunc(all, func(a, b provider.Candidate) int { return cmp.Compare(a.Host(), b.Host()) })
	}
	return append(networks, machines...), nil
}

// candidate is a network in the lab's terms.
func (n *networkSeen) candidate(passing bool) provider.Candidate {
	a := networkOfXML(n.live, mark{})
	out := lab.Network{Name: a.Name, Adopted: a.Name, MTU: cmp.Or(a.MTU, defaultMTU), CIDR: a.CIDR, CIDR6: a.CIDR6}
	c := provider.Candidate{Network: &out}
	note := func(format string, args ...any) { c.Notes = append(c.Notes, fmt.Sprintf(format, args...)) }
	switch a.Forward {
	case isolated:
	case nat:
		out.Uplink = true
	case routed, "open":
		out.Uplink, out.Routed = true, true
	case bridged, "private", "vepa", "passthrough":
		out.Uplink = true
		note("It is a bridge to a network outside of libvirt, where others give addresses.")
	default:
		c.Refused = "its forward mode is " + a.Forward + ", by which it is no network that machines share"
	}
	switch {
	case c.Refused != "":
	case passing:
		c.Refused = "libvirt forgets it when it stops, and a mark on it; define it first (virsh net-dumpxml, net-define)"
	case !n.active:
		c.Refused = "it is not active; start it first: virsh net-start '" + a.Name + "'"
	case out.CIDR.IsValid() && out.CIDR.Bits() > out.CIDR.Addr().BitLen()-2:
		c.Refused = out.CIDR.String() + " has no room for machines"
	}
	if !out.CIDR.IsValid() && !out.Uplink {
		note("libvirt has no address on it, and so does not say which ones it is for: give its cidr.")
	}
	for _, x := range []struct {
		p   netip.Prefix
		own netip.Addr
	}{{a.CIDR, a.Address}, {a.CIDR6, a.Address6}} {
		if x.p.IsValid() && out.Uplink && x.own != lab.Gateway(x.p) {
			note("Its gateway is %s; machines that labctl makes there take %s for it.", x.own, lab.Gateway(x.p))
		}
	}
	if r := a.DHCP; r != nil {
		note("Its DHCP server gives %s to %s to whoever asks; give the lab's own machines there addresses outside of that, if any are left.", r.From, r.To)
	}
	return c
}

// candidate is a domain in the lab's terms.
func (w *world) candidate(d *domainSeen, labName string) provider.Candidate {
	a := d.outside()
	m := lab.Machine{Name: d.live.Name, Adopted: d.live.Name, CPUs: a.CPUs, Memory: a.Memory, Power: lab.Power(d.state)}
	c := provider.Candidate{Machine: &m, Refused: d.refused(a)}
	if d.live.Devices == nil {
		return c
	}
	for _, i := range d.live.Devices.Interfaces {
		switch {
		case i.MAC == nil:
		case i.Source == nil || i.Source.Network == nil:
			where := "no network of libvirt's"
			if s := sourceOf(i); s != "" {
				where = s + " of the host"
			}
			c.Notes = append(c.Notes, fmt.Sprintf("Its interface %s is on %s, which a lab cannot speak of.", i.MAC.Address, where))
		default:
			nic := lab.NIC{MAC: strings.ToLower(i.MAC.Address), Link: lab.Up}
			if i.Link != nil && i.Link.State == "down" {
				nic.Link = lab.Down
			}
			if n := w.hosted(sourceOf(i)); n != nil {
				if n.mark.Lab == labName {
					nic.Network = n.mark.Name
				}
				nic.Addr = n.reserved(nic.MAC)
				nic.Given = nic.Addr.IsValid()
			}
			m.NICs, c.On = append(m.NICs, nic), append(c.On, sourceOf(i))
		}
	}
	return c
}

// refused says why a domain cannot be adopted now.
func (d *domainSeen) refused(a machineAttrs) string {
	switch {
	case d.transient:
		return "libvirt forgets it when it stops, and a mark on it; define it first (virsh dumpxml, define)"
	case d.state != on && d.state != off:
		return "it is " + d.state + "; a machine is adopted when it is on or off"
	case a.CPUs < 1 || a.CPUs > 64:
		return fmt.Sprintf("it has %d processors, and a lab's machines have 1 to 64", a.CPUs)
	}
	return ""
}

func (w *world) hosted(host string) *networkSeen {
	i := slices.IndexFunc(w.networks, func(n *networkSeen) bool { return n.live.Name == host })
	if i < 0 {
		return nil
	}
	return w.networks[i]
}

// reserved is the address that a network keeps for a MAC; zero if none.
func (n *networkSeen) reserved(mac string) netip.Addr {
	for _, l := range networkOfXML(n.live, mark{}).Leases {
		if strings.EqualFold(l.MAC, mac) {
			return l.Addr
		}
	}
	return netip.Addr{}
}

// outside is what of a domain is managed from the outside, whatever it is otherwise.
func (d *domainSeen) outside() machineAttrs {
	now, _ := known{}.machine(d, mark{})
	return now
}

// balloons says whether the memory of a domain can be changed while it runs.
func balloons(x libvirtxml.Domain) bool {
	return x.Devices != nil && x.Devices.MemBalloon != nil && x.Devices.MemBalloon.Model != "none"
}

package libvirt

import (
	"errors"
	"slices"

	"github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/libvirt/conn"
	"github.com/labctl-dev/labctl/provider"
)

// ports are where machines are connected to a network that runs, by their UUIDs. A network that is started has none,
// whoever was on it before: so who has lost a network that was started anew can be seen at any time.
type ports map[string]bool

func lookPorts(c *libvirt.Libvirt, net libvirt.Network) (ports, error) {
	all, _, err := c.NetworkListAllPorts(net, 1, 0)
	if err != nil {
		return nil, err
	}
	p := ports{}
	for _, port := range all {
		p[uuidText(port.UUID)] = true
	}
	return p, nil
}

// lost are the NICs by which a machine that runs should be on a network, and is not.
func (p ports) lost(x libvirtxml.Domain, network string) []libvirtxml.DomainInterface {
	if x.Devices == nil {
		return nil
	}
	var out []libvirtxml.DomainInterface
	for _, i := range x.Devices.Interfaces {
		if i.Source != nil && i.Source.Network != nil && i.Source.Network.Network == network && !p[i.Source.Network.PortID] {
			out = append(out, i)
		}
	}
	return out
}

// detached are the domains that run and have lost a network.
func (w *world) detached(n *networkSeen) []string {
	var names []string
	for _, d := range w.domains {
		if n.active && d.active && len(n.ports.lost(d.live, n.live.Name)) > 0 {
			names = append(names, d.live.Name)
		}
	}
	slices.Sort(names)
	return names
}

// rejoin connects the machines that run and have lost a network, since it was started under them, one after the other.
// Their NICs are on a bridge that is gone, and libvirt changes only what differs; so each is sent to another network
// and back. A NIC stays plugged in and its link up all the while. Who is left out by an error or a crash is observed.
func rejoin(c *libvirt.Libvirt, net libvirt.Network, m mark, p provider.Progress) error {
	running, _, err := c.ConnectListAllDomains(1, libvirt.ConnectListDomainsActive)
	if err != nil || len(running) == 0 {
		return err
	}
	on, err := lookPorts(c, net)
	if err != nil {
		return err
	}
	d := &detour{c: c, network: net.Name, mark: m}
	var errs []error
	for _, dom := range running {
		text, err := c.DomainGetXMLDesc(dom, 0)
		if gone(err) {
			continue
		}
		var x libvirtxml.Domain
		if err == nil {
			err = x.Unmarshal(text)
		}
		if err != nil {
			return err
		}
		for _, i := range on.lost(x, net.Name) {
			p(provider.Step{Phase: "reconnecting " + x.Name})
			errs = append(errs, d.send(dom, i))
		}
	}
	return errors.Join(append(errs, d.end())...)
}

// detour is a network that leads nowhere, over which a NIC is sent back to its own. It is made when it is needed, and
// has a mark: one that a crash leaves behind is seen, and deleted as any network that the lab does not have.
type detour struct {
	c       *libvirt.Libvirt
	network string // on the host
	mark    mark   // the network's
	via     string // on the host; "" until it is made
}

// detourSuffix makes a network's name that of its detour. No network of a lab has a dot in its name.
const detourSuffix = ".detour"

func (d *detour) send(dom libvirt.Domain, i libvirtxml.DomainInterface) error {
	if d.via == "" {
		if err := d.make(); err != nil {
			return err
		}
	}
	for _, name := range []string{d.via, d.network} {
		if err := moveNIC(d.c, dom, i, name); err != nil {
			return err
		}
	}
	return nil
}

func (d *detour) make() error {
	m := mark{Lab: d.mark.Lab, Target: d.mark.Target, Name: d.mark.Name + detourSuffix}
	x := networkXML(networkAttrs{Name: d.network + detourSuffix, Forward: isolated, MAC: lab.DoorMAC(m.Lab, m.Name)}, m)
	text, err := x.Marshal()
	if err != nil {
		return err
	}
	if _, err := d.c.NetworkCreateXML(text); err != nil {
		if _, lerr := d.c.NetworkLookupByName(x.Name); lerr != nil { // left by an earlier try
			return err
		}
	}
	d.via = x.Name
	return nil
}

func (d *detour) end() error {
	if d.via == "" {
		return nil
	}
	net, err := d.c.NetworkLookupByName(d.via)
	if err == nil {
		err = d.c.NetworkDestroy(net)
	}
	if gone(err) || conn.Is(err, libvirt.ErrOperationInvalid) {
		return nil
	}
	return err
}

// sendBack sends whoever a crash has left on a detour to the network that they were on.
func (w *world) sendBack(c *libvirt.Libvirt, via, network string) error {
	for _, d := range w.domains {
		for _, i := range (ports{}).lost(d.live, via) {
			if !d.active {
				continue
			}
			if err := moveNIC(c, d.dom, i, network); err != nil {
				return err
			}
		}
	}
	return nil
}

// moveNIC connects a NIC of a machine that runs to another network.
func moveNIC(c *libvirt.Libvirt, dom libvirt.Domain, i libvirtxml.DomainInterface, network string) error {
	i.Source = &libvirtxml.DomainInterfaceSource{Network: &libvirtxml.DomainInterfaceSourceNetwork{Network: network}}
	text, err := i.Marshal()
	if err != nil {
		return err
	}
	err = c.DomainUpdateDeviceFlags(dom, text, libvirt.DomainDeviceModifyLive)
	if gone(err) || conn.Is(err, libvirt.ErrOperationInvalid) { // off meanwhile
		return nil
	}
	return err
}

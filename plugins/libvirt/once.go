package libvirt

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/libvirt/conn"
	"github.com/labctl-dev/labctl/provider"
)

// StartOnce implements provider.Starter. libvirt has no word for it: the domain is started, held before its first
// instruction, told over QEMU's monitor what to start from, reset, let go, and told what it was before, which counts from its
// next reset on. libvirt knows nothing of it but that its monitor was used (the domain is "tainted" until it is off).
func (v *virt) StartOnce(ctx context.Context, l lab.Lab, s provider.Start, p provider.Progress) error {
	return provider.Wrap("start", addr(kindMachine, s.Machine), v.startOnce(ctx, l, s, p))
}

func (v *virt) startOnce(ctx context.Context, l lab.Lab, s provider.Start, p provider.Progress) error {
	var d *domainSeen
	err := v.host.Ask(ctx, "look for machine "+s.Machine, func(c *libvirt.Libvirt) (err error) {
		d, err = lookMachine(c, l.Name, s.Machine)
		return err
	})
	if err != nil {
		return err
	}
	m, _ := l.Machine(s.Machine)
	switch {
	case d == nil:
		return &provider.Error{Code: provider.NotFound, Text: "it does not exist"}
	case d.state == saved:
		return &provider.Error{Code: provider.Invalid, Text: "its memory is saved: 'labctl restore' lets it go on, 'labctl stop' shuts it down"}
	}
	mac, err := startsFrom(m, s)
	if err != nil {
		return err
	}
	if err := v.stop(ctx, d, v.opts.stopAfter(), p); err != nil {
		return err
	}
	if mac == "" && m.Starts() == nil { // as it always does
		return v.start(ctx, d, p)
	}
	p(provider.Step{Phase: "starting from " + string(s.From)})
	return v.host.Ask(ctx, "start domain "+d.dom.Name+" once from "+string(s.From), func(c *libvirt.Libvirt) error {
		dom, err := c.DomainCreateWithFlags(d.dom, uint32(libvirt.DomainStartPaused))
		if err != nil {
			return err
		}
		return once(c, dom, mac)
	})
}

// startsFrom is the hardware address of the NIC that the machine starts from, "" for its disk; an error says why it cannot.
func startsFrom(m lab.Machine, s provider.Start) (mac string, err error) {
	refuse := func(format string, args ...any) (string, error) {
		return "", &provider.Error{Code: provider.Unsupported, Text: fmt.Sprintf(format, args...)}
	}
	network, ok := s.From.Network(m)
	nic, on := m.NIC(network)
	switch {
	case s.From == lab.FromDisk:
		return "", nil
	case !ok:
		return refuse("%q is nothing that a machine could start from", s.From)
	case s.Shell:
		return refuse("nobody here serves networks, so nobody gives it a shell")
	case m.Firmware == lab.Kernel:
		return refuse("its firmware is \"kernel\": the host loads the kernel, and no firmware asks the network; \"bios\" and \"uefi\" do")
	case !on || nic.Link == lab.Down:
		return refuse("it has no interface on network %q whose link is up", network)
	}
	return nic.MAC, nil
}

// once lets a domain go that is held before its first instruction: from the NIC with that address, or from its disk if mac
// is "". Whatever fails, it is let go.
func once(c *libvirt.Libvirt, dom libvirt.Domain, mac string) error {
	text, err := c.DomainGetXMLDesc(dom, 0)
	if err != nil {
		return err
	}
	x, err := full(text)
	if err != nil {
		return err
	}
	usual, chosen := places(x, mac)
	err = arrange(c, dom, usual, map[string]int{chosen: 0})
	if err == nil {
		err = c.DomainReset(dom, 0)
	}
	if rerr := c.DomainResume(dom); rerr != nil && !conn.Is(rerr, libvirt.ErrOperationInvalid) { // it runs already
		return rerr
	}
	if aerr := arrange(c, dom, usual, usual); err == nil {
		err = aerr
	}
	return err
}

// places are those of the devices that a domain may start from, by alias, -1 for none; and the alias of the one that is meant.
func places(x libvirtxml.Domain, mac string) (usual map[string]int, chosen string) {
	usual = map[string]int{}
	add := func(alias *libvirtxml.DomainAlias, boot *libvirtxml.DomainDeviceBoot, meant bool) {
		if alias == nil {
			return
		}
		usual[alias.Name] = -1
		if boot != nil {
			usual[alias.Name] = int(boot.Order)
		}
		if meant {
			chosen = alias.Name
		}
	}
	for i, d := range x.Devices.Disks {
		add(d.Alias, d.Boot, i == 0 && mac == "")
	}
	for _, n := range x.Devices.Interfaces {
		add(n.Alias, n.Boot, mac != "" && n.MAC != nil && n.MAC.Address == mac)
	}
	return usual, chosen
}

// arrange gives devices their places. QEMU refuses one that another has, so all are taken away first.
func arrange(c *libvirt.Libvirt, dom libvirt.Domain, all, places map[string]int) error {
	for alias := range all {
		if err := setPlace(c, dom, alias, -1); err != nil {
			return err
		}
	}
	for alias, at := range places {
		if at >= 0 {
			if err := setPlace(c, dom, alias, at); err != nil {
				return err
			}
		}
	}
	return nil
}

func setPlace(c *libvirt.Libvirt, dom libvirt.Domain, alias string, at int) error {
	b, err := json.Marshal(map[string]any{"execute": "qom-set", "arguments": map[string]any{"path": "/machine/peripheral/" + alias, "property": "bootindex", "value": at}})
	if err != nil {
		return err
	}
	text, err := c.QEMUDomainMonitorCommand(dom, string(b), 0)
	if err != nil {
		return err
	}
	var answer struct {
		Error *struct{ Desc string }
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil || answer.Error == nil {
		return err
	}
	return &provider.Error{Code: provider.Unsupported, Text: fmt.Sprintf("QEMU does not let %s be what the machine starts from: %s", alias, answer.Error.Desc)}
}

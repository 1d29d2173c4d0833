package libvirt

import (
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strings"

	"github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/libvirt/conn"
	"github.com/labctl-dev/labctl/provider"
)

// What is adopted has attributes for what labctl manages of it, and for nothing else.

// adoptedNetworkAttrs are an adopted network's. Of addresses only those are compared that the lab and the host have.
type adoptedNetworkAttrs struct {
	Adopted string       `json:"adopted"` // its name on the host
	CIDR    netip.Prefix `json:"cidr,omitzero"`
	CIDR6   netip.Prefix `json:"cidr6,omitzero"`
	Power   string       `json:"power"` // "on" or "off"
}

// adoptedMachineAttrs are an adopted machine's.
type adoptedMachineAttrs struct {
	Adopted string    `json:"adopted"` // its name on the host when it was adopted
	CPUs    int       `json:"cpus"`
	Memory  lab.Bytes `json:"memory"`
	// MaxCPUs and MaxMemory are what it was built for, told only where that stands in the way of what the lab wants: a
	// change then takes a new start.
	MaxCPUs   int       `json:"max_cpus,omitempty"`
	MaxMemory lab.Bytes `json:"max_memory,omitempty"`
	NICs      []nic     `json:"nics,omitempty"` // those that the lab speaks of, and those that labctl has plugged in
	Power     string    `json:"power"`
	Protect   bool      `json:"protect,omitempty"`
}

func adoptedNetworkOf(n lab.Network) adoptedNetworkAttrs {
	a := adoptedNetworkAttrs{Adopted: n.Adopted, Power: on}
	if n.CIDR.IsValid() {
		a.CIDR = n.CIDR.Masked()
	}
	if n.CIDR6.IsValid() {
		a.CIDR6 = n.CIDR6.Masked()
	}
	return a
}

// adoptedMachine adds an adopted machine, or says what cannot be had of it.
func (x *expander) adoptedMachine(m lab.Machine) error {
	refuse := func(code provider.Code, field, text string) error {
		return &provider.Error{Op: "expand", Addr: addr(kindMachine, m.Name), Code: code, Text: m.Path(field) + ": " + text}
	}
	switch {
	case m.Memory == 0 || m.Memory%lab.KiB != 0:
		return refuse(provider.Invalid, "memory", m.Memory.String()+" is no whole number of KiB")
	case m.CPUs < 1:
		return refuse(provider.Invalid, "cpus", "a machine has at least one")
	case m.Power != lab.On && m.Power != lab.Off:
		return refuse(provider.Unsupported, "power", fmt.Sprintf("an adopted machine is on or off, not %s", m.Power))
	}
	a := adoptedMachineAttrs{Adopted: m.Adopted, CPUs: m.CPUs, Memory: m.Memory, Power: string(m.Power), Protect: m.Protect}
	for _, n := range m.NICs {
		net, ok := x.l.Network(n.Network)
		if !ok {
			return refuse(provider.Invalid, "nics."+n.Network, "the lab has no such network")
		}
		a.NICs = append(a.NICs, nic{n.Network, n.MAC, n.Link, net.Adopted})
	}
	a.sort()
	x.add(addr(kindMachine, m.Name), m.Name, a, a.needs()...)
	return nil
}

func (a *adoptedMachineAttrs) sort() {
	sort.Slice(a.NICs, func(i, j int) bool { return a.NICs[i].MAC < a.NICs[j].MAC })
}

func (a *adoptedMachineAttrs) needs() []provider.Addr {
	return machineNeeds("", machineAttrs{NICs: slices.DeleteFunc(slices.Clone(a.NICs), func(n nic) bool { return strings.HasPrefix(n.Network, "host:") })})
}

func (o *observer) adoptedNetwork(n *networkSeen) {
	spec, wanted := o.l.Network(n.mark.Name)
	x := networkOfXML(n.live, n.mark)
	a := adoptedNetworkAttrs{Adopted: n.mark.Adopted, Power: onOff(n.active), CIDR: x.CIDR, CIDR6: x.CIDR6}
	if !x.CIDR.IsValid() || wanted && !spec.CIDR.IsValid() { // the host does not say, or the lab does not
		a.CIDR = adoptedNetworkOf(spec).CIDR
	}
	if !x.CIDR6.IsValid() || wanted && !spec.CIDR6.IsValid() {
		a.CIDR6 = adoptedNetworkOf(spec).CIDR6
	}
	o.add(provider.Observed{Addr: addr(kindNetwork, n.mark.Name), Outputs: o.aboutNetwork(n, x.Address), Adopted: true}, a)
}

func (o *observer) adoptedMachine(d *domainSeen) {
	spec, _ := o.l.Machine(d.mark.Name)
	k := known{lab: o.l.Name, networks: o.networkNames(), adopted: o.w.adopted()}
	a := d.managed(k, spec.CPUs, spec.Memory, func(mac string) bool {
		return slices.ContainsFunc(spec.NICs, func(n lab.NIC) bool { return n.MAC == mac })
	})
	o.add(provider.Observed{Addr: addr(kindMachine, d.mark.Name), Machine: d.mark.Name, Needs: a.needs(), Outputs: d.about(), Adopted: true}, a)
}

// managed is what labctl manages of an adopted machine that should have so many CPUs and so much memory (0: nobody says).
// speaks says of which NICs the lab speaks.
func (d *domainSeen) managed(k known, cpus int, memory lab.Bytes, speaks func(mac string) bool) adoptedMachineAttrs {
	x := d.outside()
	a := adoptedMachineAttrs{Adopted: d.mark.Adopted, CPUs: x.CPUs, Memory: x.Memory, Power: d.state, Protect: d.mark.Protect}
	if memory != 0 && memory != x.Memory && (memory > x.MaxMemory || d.active && !balloons(d.live)) {
		a.MaxMemory = x.MaxMemory
	}
	if cpus != 0 && cpus != x.CPUs && (cpus > x.MaxCPUs || d.active && d.live.Type != typeKVM) {
		a.MaxCPUs = x.MaxCPUs
	}
	if d.live.Devices == nil {
		return a
	}
	var all machineAttrs
	for _, i := range d.live.Devices.Interfaces {
		k.nic(&all, i)
	}
	for _, n := range all.NICs {
		if speaks(n.MAC) || slices.Contains(d.mark.Plugged, n.MAC) {
			a.NICs = append(a.NICs, n)
		}
	}
	a.sort()
	return a
}

// lookAdopted is the domain that a lab has adopted as a machine; nil if there is none. It is found under another name
// than the one it had, too.
func lookAdopted(c *libvirt.Libvirt, labName, machine, host string) (*domainSeen, error) {
	dom, err := c.DomainLookupByName(host)
	if err == nil {
		d, err := lookDomain(c, dom, labName)
		if err == nil && d.is(labName, machine) || err != nil && !gone(err) {
			return d, err
		}
	} else if !conn.Is(err, libvirt.ErrNoDomain) {
		return nil, err
	}
	w := &world{}
	if err := w.lookDomains(c, labName); err != nil {
		return nil, err
	}
	for _, d := range w.domains {
		if d.is(labName, machine) {
			return d, nil
		}
	}
	return nil, nil
}

// is says whether a domain is what a lab has adopted as a machine.
func (d *domainSeen) is(labName, machine string) bool {
	return d.mark.Lab == labName && d.mark.Name == machine && d.mark.Adopted != ""
}

// made says whether a domain is a machine that labctl made for a lab: not an adopted one, whose disks are not ours.
func (d *domainSeen) made(labName string) bool { return d.mark.Lab == labName && d.mark.Adopted == "" }

// lookFor is the domain of a lab's machine, adopted or not; nil if there is none.
func lookFor(c *libvirt.Libvirt, l lab.Lab, machine string) (*domainSeen, error) {
	if m, ok := l.Machine(machine); ok && m.Adopted != "" {
		return lookAdopted(c, l.Name, machine, m.Adopted)
	}
	return lookMachine(c, l.Name, machine)
}

// leased are the addresses that libvirt's DHCP servers have given to an adopted machine; those of others labctl knows.
func (d *domainSeen) leased(c *libvirt.Libvirt) []netip.Addr {
	if d.mark.Adopted == "" {
		return nil
	}
	const lease = 0 // VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE
	all, err := c.DomainInterfaceAddresses(d.dom, lease, 0)
	if err != nil { // other ways may lead there
		return nil
	}
	var out []netip.Addr
	for _, i := range all {
		for _, a := range i.Addrs {
			if ip, err := netip.ParseAddr(a.Addr); err == nil {
				out = append(out, ip)
			}
		}
	}
	return out
}

// interfaceOf is a domain's NIC by its MAC.
func interfaceOf(x libvirtxml.Domain, mac string) (libvirtxml.DomainInterface, bool) {
	if x.Devices != nil {
		for _, i := range x.Devices.Interfaces {
			if i.MAC != nil && strings.EqualFold(i.MAC.Address, mac) {
				return i, true
			}
		}
	}
	return libvirtxml.DomainInterface{}, false
}

package qemu

import (
	"fmt"
	"slices"
	"sort"

	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/pc"
	"github.com/labctl-dev/labctl/provider/site"
)

// Expand implements provider.Provider.
func (q *qemu) Expand(l lab.Lab, seeds map[string]lab.Seed) ([]provider.Resource, error) {
	return expand(l, seeds, q.opts)
}

// expand says what a lab is made of on QEMU.
func expand(l lab.Lab, seeds map[string]lab.Seed, o options) ([]provider.Resource, error) {
	var rs []provider.Resource
	add := func(a provider.Addr, machine string, attrs any, needs ...provider.Addr) error {
		enc, err := provider.Encode(attrs)
		if err != nil {
			return fmt.Errorf("%s: %w", a, err)
		}
		r := provider.Resource{Addr: a, Lab: l.Name, Attrs: enc, Needs: needs, Machine: machine}
		if a.Kind == kindImage { // shared with other labs
			r.Lab = ""
		}
		rs = append(rs, r)
		return nil
	}
	for _, i := range l.Images {
		if err := add(addr(kindImage, i.Name), "", imageAttrs{image.ID(i), i}); err != nil {
			return nil, err
		}
	}
	here, err := site.Place(l, o.UplinkCIDR, networkAddr)
	if err != nil {
		return nil, err
	}
	networks, err := here.Networks(o.forwards, o.HostAccess)
	if err != nil {
		return nil, err
	}
	if err := knownVMNet(l, o); err != nil {
		return nil, err
	}
	for _, n := range l.Networks {
		boots, from := netboot(l, n)
		a, err := joinVMNet(l, n, o, networkOf(networks[n.Name], boots))
		if err != nil {
			return nil, err
		}
		if err := add(addr(kindNetwork, n.Name), "", a, from...); err != nil {
			return nil, err
		}
	}
	folders, err := pools(l)
	if err != nil {
		return nil, err
	}
	inside := here.Addresses()
	for _, m := range l.Machines {
		if err := supported(l, m, o); err != nil {
			return nil, err
		}
		if err := admits(here.Lab, m); err != nil {
			return nil, err
		}
		attrs, needs := machineOf(l, m)
		for i, d := range m.Disks {
			da, from := diskOf(l, m, i)
			da.Pool = folders[d.Pool]
			if err := add(addr(kindDisk, m.Name+"/"+d.Name), m.Name, da, from...); err != nil {
				return nil, err
			}
		}
		a := addr(kindMachine, m.Name)
		if err := add(a, m.Name, attrs, needs...); err != nil {
			return nil, err
		}
		if err := add(addr(kindGuest, m.Name), m.Name, guestAttrs{inside[m.Name], seeds[m.Name].Digest}, a); err != nil {
			return nil, err
		}
	}
	sort.Slice(rs, func(i, j int) bool { return rs[i].Addr.Compare(rs[j].Addr) < 0 })
	return rs, nil
}

// machineOf is a machine in normal form, and what it needs.
func machineOf(l lab.Lab, m lab.Machine) (machineAttrs, []provider.Addr) {
	a := machineAttrs{Arch: m.Arch, Firmware: m.Firmware, CPUs: m.CPUs, Memory: m.Memory, Power: string(m.Power), Protect: m.Protect, Boot: m.Starts(), Nested: m.Nested}
	var needs []provider.Addr
	if i, ok := l.Image(m.Image); ok && m.Firmware == lab.Kernel {
		a.Image = image.ID(i)
		needs = append(needs, addr(kindImage, i.Name))
	}
	for _, n := range m.NICs {
		a.NICs = append(a.NICs, nic{n.Network, n.MAC, n.Link})
		if net, ok := l.Network(n.Network); ok && net.MTU != defaultMTU {
			if a.MTU == nil {
				a.MTU = map[string]int{}
			}
			a.MTU[n.Network] = net.MTU
		}
		needs = append(needs, addr(kindNetwork, n.Network))
	}
	for _, d := range m.Disks {
		a.Disks = append(a.Disks, d.Name)
		needs = append(needs, addr(kindDisk, m.Name+"/"+d.Name))
	}
	a.sort()
	sort.Slice(needs, func(i, j int) bool { return needs[i].Compare(needs[j]) < 0 })
	return a, needs
}

// sort brings the lists into normal form.
func (a *machineAttrs) sort() {
	sort.Slice(a.NICs, func(i, j int) bool { return a.NICs[i].Network < a.NICs[j].Network })
	if len(a.Disks) > 1 {
		slices.Sort(a.Disks[1:])
	}
}

// diskOf is a machine's disk number i in normal form, and the image it is made from.
func diskOf(l lab.Lab, m lab.Machine, i int) (diskAttrs, []provider.Addr) {
	d := diskAttrs{Protect: m.Protects(m.Disks[i])}
	if i == 0 && m.Firmware == lab.Kernel {
		d.BootSize = m.Disks[i].Size
	} else {
		d.Size = m.Disks[i].Size
	}
	if i > 0 {
		return d, nil
	}
	d.Install = m.DiskBy()
	img, ok := l.Image(m.Image)
	if !ok {
		return d, nil
	}
	d.Image = image.ID(img)
	return d, []provider.Addr{addr(kindImage, img.Name)}
}

// supported refuses what QEMU here cannot honour, by the spec's own words.
func supported(l lab.Lab, m lab.Machine, o options) error {
	at := addr(kindMachine, m.Name)
	refuse := func(field, text string) error { return pc.Refuse(at, m, provider.Unsupported, field, "%s", text) }
	switch {
	case m.Nested && o.Accel == accelHVF:
		return refuse(".nested", "macOS does not pass the processor's help on to machines in machines; the option accel: \"tcg\" emulates it")
	case len(m.Devices) > 0:
		return refuse(".devices", "QEMU that an ordinary user runs cannot take devices from the host: use the provider libvirt")
	case m.Firmware == lab.Kernel && m.Power == lab.Saved:
		return refuse(".power", unsaveable)
	}
	return pc.Supported(at, l, m)
}

package nspawn

import (
	"fmt"
	"runtime"
	"slices"
	"sort"

	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/nspawn/room"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/pc"
	"github.com/labctl-dev/labctl/provider/site"
)

// Expand implements provider.Provider.
func (s *nspawn) Expand(l lab.Lab, seeds map[string]lab.Seed) ([]provider.Resource, error) {
	return expand(l, seeds, s.opts)
}

// expand says what a lab is made of here.
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
	var refused provider.Refusals
	for _, n := range l.Networks {
		if err := networkSupported(n); !refused.Add(err) {
			return nil, refused.Or(err)
		} else if err != nil {
			continue
		}
		if err := add(addr(kindNetwork, n.Name), "", networkAttrs{room.Network{Network: networks[n.Name]}}); err != nil {
			return nil, err
		}
	}
	inside := here.Addresses()
	for _, m := range l.Machines {
		if err := supported(l, m); !refused.Add(err) {
			return nil, refused.Or(err)
		} else if err != nil {
			continue
		}
		attrs, needs := machineOf(m)
		for i, d := range m.Disks {
			da, from := diskOf(l, m, i)
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
	if err := refused.Err(); err != nil {
		return nil, err
	}
	sort.Slice(rs, func(i, j int) bool { return rs[i].Addr.Compare(rs[j].Addr) < 0 })
	return rs, nil
}

// machineOf is a machine in normal form, and what it needs.
func machineOf(m lab.Machine) (machineAttrs, []provider.Addr) {
	a := machineAttrs{CPUs: m.CPUs, Memory: m.Memory, Power: string(m.Power), Protect: m.Protect}
	for _, n := range m.NICs {
		a.NICs = append(a.NICs, nic{n.Network, n.MAC, n.Link})
	}
	for _, d := range m.Disks {
		a.Disks = append(a.Disks, d.Name)
	}
	a.sort()
	return a, machineNeeds(m.Name, a)
}

// diskOf is a machine's disk number i in normal form, and the image it is made from.
func diskOf(l lab.Lab, m lab.Machine, i int) (diskAttrs, []provider.Addr) {
	d := diskAttrs{Protect: m.Protects(m.Disks[i]), Size: m.Disks[i].Size}
	img, ok := l.Image(m.Image)
	if i > 0 || !ok {
		return d, nil
	}
	d.Image = image.ID(img)
	return d, []provider.Addr{addr(kindImage, img.Name)}
}

// networkSupported refuses what containers' networks cannot be.
func networkSupported(n lab.Network) error {
	refuse := func(field, text string) error {
		return &provider.Error{Op: "expand", Addr: addr(kindNetwork, n.Name), Code: provider.Unsupported, Text: lab.Path("networks", n.Name, field) + ": " + text, Path: lab.Path("networks", n.Name, field)}
	}
	switch {
	case n.Adopted != "":
		return refuse("adopted", "containers are on networks of their own lab only")
	case n.Netboot != "":
		return refuse("netboot", "containers start no installer, so nobody serves one: use the provider qemu")
	}
	return nil
}

// supported refuses what a container cannot be, by the spec's own words.
func supported(l lab.Lab, m lab.Machine) error {
	at := addr(kindMachine, m.Name)
	refuse := func(field, format string, args ...any) error {
		return pc.Refuse(at, m, provider.Unsupported, field, format, args...)
	}
	img, ok := l.Image(m.Image)
	switch {
	case m.Adopted != "":
		return refuse(".adopted", "there are no containers but those that labctl makes")
	case string(m.Arch) != runtime.GOARCH:
		return refuse(".arch", "a container runs on this host's own processor, %s, not on %s", runtime.GOARCH, m.Arch)
	case ok && img.Kernel && m.Firmware != lab.Kernel:
		return refuse(".firmware", "a container has no firmware: leave it out, or use the provider qemu")
	case m.Networked():
		return refuse(".install", "a container starts no installer: use the provider qemu")
	case m.Starts() != nil:
		return refuse(".boot", "a container starts from its root disk, not from a network: use the provider qemu")
	case m.Nested:
		return refuse(".nested", "a container cannot promise virtual machines of its own: use the provider qemu or libvirt")
	case len(m.Devices) > 0:
		return refuse(".devices", "a container cannot have PCI devices to itself: use the provider libvirt")
	case m.Power == lab.Suspended || m.Power == lab.Saved:
		return refuse(".power", "a container's memory cannot be kept: it is on or off")
	}
	for _, d := range m.Disks {
		if d.Pool != "" && slices.ContainsFunc(l.Pools, func(p lab.Pool) bool { return p.Name == d.Pool && p.Path != "" }) {
			return refuse(".disks."+d.Name, "pool %s has a path: disks of containers are in the lab's own folder", d.Pool)
		}
	}
	return pc.Supported(at, l, m)
}

package libvirt

import (
	"fmt"
	"net/netip"
	"slices"
	"sort"

	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// Expand implements provider.Provider.
func (v *virt) Expand(l lab.Lab, seeds map[string]lab.Seed) ([]provider.Resource, error) {
	v.want(l)
	v.plot(l)
	return expand(l, seeds, v.opts)
}

// expand says what a lab is made of on libvirt.
func expand(l lab.Lab, seeds map[string]lab.Seed, o options) ([]provider.Resource, error) {
	x := expander{l: l, o: o, used: map[string]bool{}}
	if err := x.limits(); err != nil {
		return nil, err
	}
	for _, i := range l.Images {
		x.used[imagePool] = true
		x.add(addr(kindImage, i.Name), "", imageAttrs{image.ID(i), i, poolRef(l, imagePool)}, addr(kindPool, imagePool))
	}
	uplinks, err := uplinkCIDRs(l, o)
	if err != nil {
		return nil, err
	}
	var refused provider.Refusals
	for _, n := range l.Networks {
		if err := networkSupported(n, o); !refused.Add(err) {
			return nil, refused.Or(err)
		} else if err != nil {
			continue
		}
		if n.Adopted != "" {
			x.add(addr(kindNetwork, n.Name), "", adoptedNetworkOf(n))
			continue
		}
		x.add(addr(kindNetwork, n.Name), "", networkOf(l, n, uplinks[n.Name], o))
	}
	inside := addresses(l, uplinks)
	for _, m := range l.Machines {
		if m.Adopted != "" {
			if err := x.adoptedMachine(m); err != nil {
				return nil, err
			}
			continue
		}
		err := supported(l, m, o)
		if err == nil {
			err = admits(l, m, uplinks, o)
		}
		if !refused.Add(err) {
			return nil, refused.Or(err)
		} else if err != nil {
			continue
		}
		x.machine(m)
		x.add(addr(kindGuest, m.Name), m.Name, guestAttrs{inside[m.Name], seeds[m.Name].Digest}, addr(kindMachine, m.Name))
	}
	for name := range x.used {
		x.add(addr(kindPool, name), "", poolAttrs{Path: poolPath(l, name), Power: on})
	}
	if err := refused.Err(); err != nil {
		return nil, err
	}
	if x.err != nil {
		return nil, x.err
	}
	sort.Slice(x.rs, func(i, j int) bool { return x.rs[i].Addr.Compare(x.rs[j].Addr) < 0 })
	return x.rs, nil
}

// on and off are the two states of what libvirt can start and stop; machines have more.
const (
	on  = string(lab.On)
	off = string(lab.Off)
)

type expander struct {
	l    lab.Lab
	o    options
	used map[string]bool // pools by the spec's name
	rs   []provider.Resource
	err  error // the first
}

func (x *expander) add(a provider.Addr, machine string, attrs any, needs ...provider.Addr) {
	enc, err := provider.Encode(attrs)
	if err != nil && x.err == nil {
		x.err = fmt.Errorf("%s: %w", a, err)
	}
	r := provider.Resource{Addr: a, Lab: x.l.Name, Attrs: enc, Needs: needs, Machine: machine, Adopted: enc["adopted"] != nil}
	if a.Kind == kindImage || a.Kind == kindPool { // shared with other labs
		r.Lab = ""
	}
	x.rs = append(x.rs, r)
}

// machine adds a machine and its disks.
func (x *expander) machine(m lab.Machine) {
	for i, d := range m.Disks {
		pool := poolOf(d)
		x.used[pool] = true
		a, needs := diskAttrs{Size: d.Size, Pool: poolRef(x.l, pool), Protect: m.Protects(d)}, []provider.Addr{addr(kindPool, pool)}
		if img, ok := x.l.Image(m.Image); ok && i == 0 {
			a.Image = image.ID(img)
			needs = append(needs, addr(kindImage, img.Name))
		}
		x.add(addr(kindDisk, m.Name+"/"+d.Name), m.Name, a, needs...)
	}
	a := machineAttrs{
		Name: domainName(x.l.Name, m.Name), Arch: m.Arch, Firmware: m.Firmware, CPUs: m.CPUs, Memory: m.Memory, Power: string(m.Power),
		Protect: m.Protect, Autostart: x.o.Autostart, CPU: x.o.CPU, Board: x.o.Machine,
		Precious: precious(m), Boot: m.Starts(), Nested: m.Nested, Devices: slices.Sorted(slices.Values(m.Devices)),
	}
	if x.o.Type != "auto" {
		a.Type = x.o.Type
	}
	a.MaxCPUs, a.MaxMemory = x.o.most(m.CPUs, m.Memory)
	if len(m.Devices) > 0 { // all of its memory is held for them, and a balloon takes nothing
		a.MaxMemory = m.Memory
	}
	var needs []provider.Addr
	if i, ok := x.l.Image(m.Image); ok && m.Firmware == lab.Kernel {
		a.Image = image.ID(i)
		needs = append(needs, addr(kindImage, i.Name))
	}
	for _, n := range m.NICs {
		net, ok := x.l.Network(n.Network)
		a.NICs = append(a.NICs, nic{n.Network, n.MAC, n.Link, net.Adopted})
		if ok && net.MTU != defaultMTU {
			if a.MTU == nil {
				a.MTU = map[string]int{}
			}
			a.MTU[n.Network] = net.MTU
		}
		needs = append(needs, addr(kindNetwork, n.Network))
	}
	for i, d := range m.Disks {
		if i == 0 {
			a.Root = d.Name
		} else {
			a.Disks = append(a.Disks, d.Name)
		}
		needs = append(needs, addr(kindDisk, m.Name+"/"+d.Name))
	}
	a.sort()
	sort.Slice(needs, func(i, j int) bool { return needs[i].Compare(needs[j]) < 0 })
	x.add(addr(kindMachine, m.Name), m.Name, a, needs...)
}

// limits refuses disks that together are larger than the pool they are to be in.
func (x *expander) limits() error {
	for _, p := range x.l.Pools {
		var sum lab.Bytes
		for _, m := range x.l.Machines {
			for _, d := range m.Disks {
				if poolOf(d) == p.Name {
					sum += d.Size
				}
			}
		}
		if p.Size != 0 && sum > p.Size {
			return &provider.Error{Op: "expand", Addr: addr(kindPool, p.Name), Code: provider.Invalid,
				Text: fmt.Sprintf("pools.%s.size: the disks in it come to %s, the pool has %s", p.Name, sum, p.Size)}
		}
	}
	return nil
}

// addresses are what each machine's interfaces are configured with inside, by network.
func addresses(l lab.Lab, uplinks map[string]netip.Prefix) map[string]map[string]string {
	l.Networks = slices.Clone(l.Networks)
	for i, n := range l.Networks {
		l.Networks[i].CIDR = uplinks[n.Name]
	}
	all := map[string]map[string]string{}
	for _, m := range lab.Complete(l).Machines {
		all[m.Name] = m.Addresses()
	}
	return all
}

// precious are a machine's disks that are protected though the machine is not, sorted.
func precious(m lab.Machine) []string {
	var out []string
	for _, d := range m.Disks {
		if d.Protect && !m.Protect {
			out = append(out, d.Name)
		}
	}
	slices.Sort(out)
	return out
}

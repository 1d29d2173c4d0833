package libvirt

import (
	"context"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/libvirt/conn"
	"github.com/labctl-dev/labctl/provider"
)

// bringUp starts a machine, or makes one that runs match its definition. One that is to stand still comes up before.
func (v *virt) bringUp(ctx context.Context, d *domainSeen, def definition, p provider.Progress) error {
	want := def.attrs.Power
	if want == saved && d.state == saved {
		return nil
	}
	if d.active && d.kept {
		if err := v.host.Ask(ctx, "forget the saved memory of domain "+d.dom.Name, func(c *libvirt.Libvirt) error { return forgetSaved(c, d.dom) }); err != nil {
			return err
		}
	}
	if !d.active {
		asItWas := d.state == saved
		if err := v.start(ctx, d, p); err != nil || want == on && !asItWas {
			return err
		}
		err := v.host.Ask(ctx, "look at domain "+d.dom.Name, func(c *libvirt.Libvirt) (err error) {
			if d, err = lookDomain(c, d.dom, def.mark.Lab); err == nil {
				err = d.remark(c, def.mark)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	if err := v.match(ctx, d, def, p); err != nil {
		return err
	}
	return v.halt(ctx, d, want, p)
}

// match makes a machine that runs match its definition.
func (v *virt) match(ctx context.Context, d *domainSeen, def definition, p provider.Progress) error {
	var have machineAttrs
	err := v.host.Ask(ctx, "look at machine "+def.mark.Name, func(c *libvirt.Libvirt) error {
		k, err := knownHere(c, def)
		if err == nil {
			have = k.machineOfXML(d.live, d.mark)
		}
		return err
	})
	if err != nil {
		return err
	}
	if needsReboot(have, def, d.state) {
		if err := v.stop(ctx, d, v.opts.stopAfter(), p); err != nil {
			return err
		}
		return v.start(ctx, d, p)
	}
	g := &plugger{v: v, d: d, have: have, p: p}
	return g.adapt(ctx, def)
}

// knownHere is what is needed to read a running machine in the lab's terms.
func knownHere(c *libvirt.Libvirt, def definition) (known, error) {
	w := &world{}
	if err := w.lookNetworks(c, def.mark.Lab); err != nil {
		return known{}, err
	}
	files := map[string]bool{}
	for _, f := range def.files {
		files[f] = true
	}
	return known{
		lab: def.mark.Lab, networks: w.networkNames(def.mark.Lab), adopted: w.adopted(),
		there: func(file string) bool {
			return files[file] || path.Dir(file) != path.Dir(def.seed) || !disappeared(c, file)
		},
	}, nil
}

func disappeared(c *libvirt.Libvirt, file string) bool {
	_, err := c.StorageVolLookupByPath(file)
	return gone(err)
}

// needsReboot says whether a running machine differs from its definition in what only a new start can give it.
func needsReboot(have machineAttrs, def definition, state string) bool {
	want := def.attrs
	for _, n := range have.NICs { // a NIC that is yet to be plugged in gets its MTU then
		stays := slices.ContainsFunc(want.NICs, func(w nic) bool { return w.Network == n.Network && w.MAC == n.MAC })
		if stays && have.MTU[n.Network] != want.MTU[n.Network] {
			return true
		}
	}
	loaded := want.Image
	if def.boot == (bootFrom{}) {
		loaded = have.Image // by its own loader: which, the root disk says
	}
	return have.MaxCPUs != want.MaxCPUs || have.MaxMemory != want.MaxMemory || want.CPUs < have.CPUs || want.CPUs != have.CPUs && def.kind == typeQEMU || have.Arch != want.Arch || have.Firmware != want.Firmware ||
		have.Root != want.Root || !slices.Equal(have.Boot, want.Boot) || have.Nested != want.Nested || !slices.Equal(have.Devices, want.Devices) || have.CPU != want.CPU || have.Type != want.Type || have.Board != want.Board || have.Image != loaded && !loadedFrom(have.Image, def.boot) ||
		state == crashed || state == stopping || state == asleep
}

// loadedFrom says whether a machine runs the kernel that it is to be started with.
func loadedFrom(imageAttr string, b bootFrom) bool { return imageAttr == "file:"+b.kernel }

// plugger changes a running machine without stopping it; its persistent definition is what it should be already.
type plugger struct {
	v    *virt
	d    *domainSeen
	have machineAttrs
	p    provider.Progress
}

// adapt makes a running machine what def says.
func (g *plugger) adapt(ctx context.Context, def definition) error {
	if err := g.board(ctx, def.attrs); err != nil {
		return err
	}
	if err := g.nics(ctx, def); err != nil {
		return err
	}
	return g.disks(ctx, def)
}

// board lets a machine go on, and gives it CPUs and memory within what it was built for.
func (g *plugger) board(ctx context.Context, want machineAttrs) error {
	if g.d.state == paused || g.d.state == suspended && want.Power == on {
		if err := g.do(ctx, "resume", func(c *libvirt.Libvirt) error { return c.DomainResume(g.d.dom) }); err != nil {
			return err
		}
	}
	if want.CPUs != g.have.CPUs {
		g.p(provider.Step{Phase: "adding CPUs"})
		err := g.do(ctx, "add CPUs to", func(c *libvirt.Libvirt) error {
			return c.DomainSetVcpusFlags(g.d.dom, uint32(want.CPUs), uint32(libvirt.DomainVCPULive))
		})
		if err != nil {
			return err
		}
	}
	if want.Memory == g.have.Memory {
		return nil
	}
	g.p(provider.Step{Phase: "changing memory"})
	return g.do(ctx, "change the memory of", func(c *libvirt.Libvirt) error {
		if err := c.DomainSetMemoryFlags(g.d.dom, uint64(want.Memory/lab.KiB), uint32(libvirt.DomainMemLive)); err != nil {
			return err
		}
		return g.settle(ctx, c, want.Memory)
	})
}

// balloonDeadline is how long a guest may take to give memory back, or to take more.
const balloonDeadline = 20 * time.Second

// settle waits until a guest has the memory it should have.
func (g *plugger) settle(ctx context.Context, c *libvirt.Libvirt, want lab.Bytes) error {
	for deadline := time.Now().Add(balloonDeadline); ; time.Sleep(100 * time.Millisecond) {
		_, _, kib, _, _, err := c.DomainGetInfo(g.d.dom)
		switch {
		case err != nil:
			return err
		case lab.Bytes(kib)*lab.KiB == want:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Now().After(deadline):
			return &provider.Error{Code: provider.Timeout, Text: fmt.Sprintf("the guest did not come to have %s within %s, it has %s: its balloon driver is missing or it needs the memory; power the machine off and on", want, balloonDeadline, lab.Bytes(kib)*lab.KiB)}
		}
	}
}

func (g *plugger) do(ctx context.Context, what string, f conn.Call) error {
	return g.v.host.Ask(ctx, what+" domain "+g.d.dom.Name, f)
}

// nics makes the NICs of a running machine what def says. One that only changes its network or its link stays plugged
// in.
func (g *plugger) nics(ctx context.Context, def definition) error {
	byMAC := func(ns []nic, mac string) *nic {
		if i := slices.IndexFunc(ns, func(n nic) bool { return n.MAC == mac }); i >= 0 {
			return &ns[i]
		}
		return nil
	}
	for _, n := range g.have.NICs {
		if byMAC(def.attrs.NICs, n.MAC) == nil {
			g.p(provider.Step{Phase: "unplugging " + n.Network})
			if err := g.unplug(ctx, n.MAC, g.deviceOf(n.MAC)); err != nil {
				return err
			}
		}
	}
	for _, n := range def.attrs.NICs {
		x := nicXML(def.mark.Lab, def.attrs, n)
		have := byMAC(g.have.NICs, n.MAC)
		switch {
		case have == nil:
			g.p(provider.Step{Phase: "plugging in " + n.Network})
			if err := g.attach(ctx, x.Marshal); err != nil {
				return err
			}
		case *have != n:
			if err := g.rewire(ctx, n, x); err != nil {
				return err
			}
		}
	}
	return nil
}

// rewire changes network and link of a NIC that stays in its slot.
func (g *plugger) rewire(ctx context.Context, n nic, want libvirtxml.DomainInterface) error {
	for _, i := range g.d.live.Devices.Interfaces {
		if i.MAC == nil || i.MAC.Address != n.MAC {
			continue
		}
		i.Source, i.Link = want.Source, want.Link
		text, err := i.Marshal()
		if err != nil {
			return err
		}
		return g.do(ctx, "change a NIC of", func(c *libvirt.Libvirt) error {
			return c.DomainUpdateDeviceFlags(g.d.dom, text, libvirt.DomainDeviceModifyLive)
		})
	}
	return nil
}

// deviceOf is a NIC as the running machine has it.
func (g *plugger) deviceOf(mac string) func() (string, error) {
	for _, i := range g.d.live.Devices.Interfaces {
		if i.MAC != nil && i.MAC.Address == mac {
			return i.Marshal
		}
	}
	return nil
}

// disks makes the data disks of a running machine what def says.
func (g *plugger) disks(ctx context.Context, def definition) error {
	for _, x := range g.d.live.Devices.Disks {
		file, dev := diskFile(x), ""
		if x.Target != nil {
			dev = x.Target.Dev
		}
		if dev == rootTarget || file == def.seed {
			continue
		}
		wanted := slices.ContainsFunc(def.attrs.Disks, func(d string) bool { return def.files[d] == file })
		if !wanted {
			g.p(provider.Step{Phase: "unplugging disk " + path.Base(file)})
			if err := g.unplug(ctx, dev, x.Marshal); err != nil {
				return err
			}
		}
	}
	for _, name := range def.attrs.Disks {
		if slices.Contains(g.have.Disks, name) {
			continue
		}
		g.p(provider.Step{Phase: "plugging in disk " + name})
		x := diskXML(name, def.files[name], def.at[name])
		if err := g.attach(ctx, x.Marshal); err != nil {
			return err
		}
	}
	return nil
}

func (g *plugger) attach(ctx context.Context, device func() (string, error)) error {
	text, err := device()
	if err != nil {
		return err
	}
	return g.do(ctx, "plug a device into", func(c *libvirt.Libvirt) error {
		return c.DomainAttachDeviceFlags(g.d.dom, text, uint32(libvirt.DomainDeviceModifyLive))
	})
}

// unplugDeadline is how long a guest may take to let go of a device; PCI hot-plug takes five seconds by its standard.
const unplugDeadline = 40 * time.Second

// unplug asks the guest for a device, known by its MAC or its target, and returns when the guest has let go of it.
func (g *plugger) unplug(ctx context.Context, id string, device func() (string, error)) error {
	if device == nil {
		return nil
	}
	text, err := device()
	if err != nil {
		return err
	}
	for deadline, asked := time.Now().Add(unplugDeadline), false; ; {
		left := true
		err := g.do(ctx, "unplug a device from", func(c *libvirt.Libvirt) error {
			if !asked {
				err := c.DomainDetachDeviceFlags(g.d.dom, text, uint32(libvirt.DomainDeviceModifyLive))
				// A refusal may mean that an earlier request is under way.
				if err != nil && !conn.Is(err, libvirt.ErrDeviceMissing, libvirt.ErrOperationFailed, libvirt.ErrOperationInvalid, libvirt.ErrInternalError) {
					return err
				}
				asked = true
			}
			var x libvirtxml.Domain
			now, err := c.DomainGetXMLDesc(g.d.dom, 0)
			if err == nil {
				err = x.Unmarshal(now)
			}
			left = has(x, id)
			return err
		})
		if err != nil || !left {
			return err
		}
		if time.Now().After(deadline) {
			return &provider.Error{Code: provider.Timeout, Text: fmt.Sprintf("the guest did not let go of %s within %s: it is busy, or has no driver for PCI hot-plug running; power the machine off and on", id, unplugDeadline)}
		}
		select {
		case <-ctx.Done():
			return ended(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// has says whether a machine has a NIC or disk, by MAC or target.
func has(x libvirtxml.Domain, id string) bool {
	if x.Devices == nil {
		return false
	}
	return slices.ContainsFunc(x.Devices.Interfaces, func(i libvirtxml.DomainInterface) bool { return i.MAC != nil && i.MAC.Address == id }) ||
		slices.ContainsFunc(x.Devices.Disks, func(d libvirtxml.DomainDisk) bool { return d.Target != nil && d.Target.Dev == id })
}

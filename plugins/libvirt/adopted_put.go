package libvirt

import (
	"context"
	"fmt"
	"slices"

	"github.com/digitalocean/go-libvirt"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/libvirt/conn"
	"github.com/labctl-dev/labctl/provider"
)

// adoptMachine marks a domain as the lab's, and does nothing else to it.
func (v *virt) adoptMachine(ctx context.Context, r provider.Resource) error {
	var a adoptedMachineAttrs
	if err := decode(r.Addr, r.Attrs, &a); err != nil {
		return err
	}
	return v.host.Ask(ctx, "adopt domain "+a.Adopted, func(c *libvirt.Libvirt) error {
		if d, err := lookAdopted(c, r.Lab, r.Addr.Name, a.Adopted); err != nil || d != nil {
			return err
		}
		dom, err := c.DomainLookupByName(a.Adopted)
		if conn.Is(err, libvirt.ErrNoDomain) {
			return &provider.Error{Code: provider.NotFound, Text: "the host has no domain " + a.Adopted}
		}
		if err != nil {
			return err
		}
		d, err := lookDomain(c, dom, r.Lab)
		switch {
		case err != nil:
			return err
		case d.mark.Lab != "":
			return theirs("domain "+a.Adopted, "machine", d.mark)
		}
		if kept, err := c.DomainIsPersistent(dom); err != nil || kept == 0 {
			if err == nil {
				err = &provider.Error{Code: provider.Unsupported, Text: "libvirt forgets domain " + a.Adopted + " when it stops, and a mark on it"}
			}
			return err
		}
		d.mark = mark{Lab: r.Lab, Target: v.target, Name: r.Addr.Name, note: note{Adopted: a.Adopted, Protect: a.Protect}}
		return d.saveMark(c)
	})
}

func theirs(what, kind string, m mark) error {
	return &provider.Error{Code: provider.Foreign, Text: fmt.Sprintf("%s is %s %s of lab %s", what, kind, m.Name, m.Lab)}
}

// updateAdoptedMachine makes of an adopted machine what r says of it, by libvirt's own edits of single things: the rest of
// its definition is not ours to write. The persistent definition comes first, so that what is left undone is seen.
func (v *virt) updateAdoptedMachine(ctx context.Context, r provider.Resource, p provider.Progress) error {
	var a adoptedMachineAttrs
	if err := decode(r.Addr, r.Attrs, &a); err != nil {
		return err
	}
	var u *adoptedUpdate
	err := v.host.Ask(ctx, "look for domain "+a.Adopted, func(c *libvirt.Libvirt) error {
		d, err := lookAdopted(c, r.Lab, r.Addr.Name, a.Adopted)
		if err != nil {
			return err
		}
		if d == nil {
			return &provider.Error{Code: provider.NotFound, Text: "the lab has not adopted domain " + a.Adopted}
		}
		u = &adoptedUpdate{plugger: plugger{v: v, d: d, have: d.outside(), p: p}, want: a}
		return nil
	})
	if err != nil {
		return err
	}
	if err := u.nics(ctx); err != nil {
		return err
	}
	if err := u.define(ctx); err != nil {
		return err
	}
	d := u.d
	if a.Power == off {
		return v.stop(ctx, d, v.opts.stopAfter(), p)
	}
	if d.active && u.needsStart() {
		if err := v.stop(ctx, d, v.opts.stopAfter(), p); err != nil {
			return err
		}
	}
	if !d.active {
		return v.start(ctx, d, p)
	}
	return u.board(ctx, machineAttrs{CPUs: a.CPUs, Memory: a.Memory, Power: a.Power})
}

// adoptedUpdate changes one adopted machine. have has what it is like as it runs.
type adoptedUpdate struct {
	plugger
	want adoptedMachineAttrs
}

// needsStart says whether only a new start gives the machine what it should have.
func (u *adoptedUpdate) needsStart() bool {
	now, want := u.d.managed(known{}, u.want.CPUs, u.want.Memory, func(string) bool { return false }), u.want
	return now.MaxCPUs != 0 || now.MaxMemory != 0 || want.CPUs < now.CPUs || u.d.state == crashed || u.d.state == stopping || u.d.state == asleep
}

// define writes mark, CPUs and memory into the persistent definition.
func (u *adoptedUpdate) define(ctx context.Context) error {
	config := known{}.machineOfXML(u.d.config, mark{})
	return u.do(ctx, "define the CPUs and memory of", func(c *libvirt.Libvirt) error {
		if u.d.mark.Protect != u.want.Protect {
			u.d.mark.Protect = u.want.Protect
			if err := u.d.saveMark(c); err != nil {
				return err
			}
		}
		kib := uint64(u.want.Memory / lab.KiB)
		if u.want.Memory > config.MaxMemory {
			if err := c.DomainSetMemoryFlags(u.d.dom, kib, uint32(libvirt.DomainMemConfig|libvirt.DomainMemMaximum)); err != nil {
				return err
			}
		}
		if u.want.Memory != config.Memory || u.want.Memory > config.MaxMemory {
			if err := c.DomainSetMemoryFlags(u.d.dom, kib, uint32(libvirt.DomainMemConfig)); err != nil {
				return err
			}
		}
		cpus := uint32(u.want.CPUs)
		if u.want.CPUs > config.MaxCPUs {
			if err := c.DomainSetVcpusFlags(u.d.dom, cpus, uint32(libvirt.DomainVCPUConfig|libvirt.DomainVCPUMaximum)); err != nil {
				return err
			}
		}
		if u.want.CPUs != config.CPUs || u.want.CPUs > config.MaxCPUs {
			return c.DomainSetVcpusFlags(u.d.dom, cpus, uint32(libvirt.DomainVCPUConfig))
		}
		return nil
	})
}

// nics gives the machine the NICs that it should have, and takes away those that labctl gave it and that the lab no
// longer has. All others stay as they are.
func (u *adoptedUpdate) nics(ctx context.Context) error {
	for _, mac := range slices.Clone(u.d.mark.Plugged) {
		if !slices.ContainsFunc(u.want.NICs, func(n nic) bool { return n.MAC == mac }) {
			if err := u.takeOut(ctx, mac); err != nil {
				return err
			}
		}
	}
	for _, n := range u.want.NICs {
		_, live := interfaceOf(u.d.live, n.MAC)
		_, kept := interfaceOf(u.d.config, n.MAC)
		if !live && !kept && !slices.Contains(u.d.mark.Plugged, n.MAC) { // noted first: what is half done is ours
			u.d.mark.Plugged = append(u.d.mark.Plugged, n.MAC)
			if err := u.do(ctx, "note a NIC of", u.d.saveMark); err != nil {
				return err
			}
		}
		for _, at := range u.places() {
			if err := u.nic(ctx, n, at); err != nil {
				return err
			}
		}
	}
	return nil
}

// places are the definitions of a machine: the persistent one, and the one that runs.
func (u *adoptedUpdate) places() []libvirt.DomainDeviceModifyFlags {
	if u.d.active {
		return []libvirt.DomainDeviceModifyFlags{libvirt.DomainDeviceModifyConfig, libvirt.DomainDeviceModifyLive}
	}
	return []libvirt.DomainDeviceModifyFlags{libvirt.DomainDeviceModifyConfig}
}

// nic plugs a NIC in, or changes its network and link, in one definition.
func (u *adoptedUpdate) nic(ctx context.Context, n nic, at libvirt.DomainDeviceModifyFlags) error {
	x := u.d.live
	if at == libvirt.DomainDeviceModifyConfig {
		x = u.d.config
	}
	want := nicXML(u.d.mark.Lab, machineAttrs{}, n)
	have, ok := interfaceOf(x, n.MAC)
	if !ok {
		u.p(provider.Step{Phase: "plugging in " + n.Network})
		text, err := want.Marshal()
		if err != nil {
			return err
		}
		return u.do(ctx, "plug a NIC into", func(c *libvirt.Libvirt) error {
			return c.DomainAttachDeviceFlags(u.d.dom, text, uint32(at))
		})
	}
	down := have.Link != nil && have.Link.State == "down"
	if sourceOf(have) == n.host(u.d.mark.Lab) && down == (n.Link == lab.Down) {
		return nil
	}
	have.Link = want.Link
	if sourceOf(have) != n.host(u.d.mark.Lab) {
		have.Source = want.Source
	}
	text, err := have.Marshal()
	if err != nil {
		return err
	}
	return u.do(ctx, "change a NIC of", func(c *libvirt.Libvirt) error {
		return c.DomainUpdateDeviceFlags(u.d.dom, text, at)
	})
}

// takeOut takes a NIC away that labctl has plugged in.
func (u *adoptedUpdate) takeOut(ctx context.Context, mac string) error {
	if have, ok := interfaceOf(u.d.config, mac); ok {
		text, err := have.Marshal()
		if err != nil {
			return err
		}
		if err := u.do(ctx, "take a NIC from", func(c *libvirt.Libvirt) error {
			return c.DomainDetachDeviceFlags(u.d.dom, text, uint32(libvirt.DomainDeviceModifyConfig))
		}); err != nil {
			return err
		}
	}
	if u.d.active {
		u.p(provider.Step{Phase: "unplugging " + mac})
		if err := u.unplug(ctx, mac, u.deviceOf(mac)); err != nil {
			return err
		}
	}
	u.d.mark.Plugged = slices.DeleteFunc(u.d.mark.Plugged, func(m string) bool { return m == mac })
	return u.do(ctx, "note the NICs of", u.d.saveMark)
}

// releaseMachine takes the mark from an adopted machine, and the NICs that labctl has plugged in. It runs on, or not, as
// before.
func (v *virt) releaseMachine(ctx context.Context, o provider.Observed, p provider.Progress) error {
	var a adoptedMachineAttrs
	if err := decode(o.Addr, o.Attrs, &a); err != nil {
		return err
	}
	var d *domainSeen
	err := v.host.Ask(ctx, "look for domain "+a.Adopted, func(c *libvirt.Libvirt) (err error) {
		d, err = lookAdopted(c, o.Lab, o.Addr.Name, a.Adopted)
		return err
	})
	if err != nil || d == nil {
		return err
	}
	u := &adoptedUpdate{plugger: plugger{v: v, d: d, p: p}}
	if err := u.nics(ctx); err != nil {
		return err
	}
	return u.do(ctx, "release", d.dropMark)
}

// dropMark takes the mark from a domain.
func (d *domainSeen) dropMark(c *libvirt.Libvirt) error {
	flags := []libvirt.DomainModificationImpact{libvirt.DomainAffectConfig}
	if d.active {
		flags = append(flags, libvirt.DomainAffectLive)
	}
	for _, f := range flags {
		err := c.DomainSetMetadata(d.dom, int32(libvirt.DomainMetadataElement), nil, libvirt.OptString{markKey}, libvirt.OptString{markURI}, f)
		if err != nil && !gone(err) && !conn.Is(err, libvirt.ErrOperationInvalid) { // off, or undefined, meanwhile
			return err
		}
	}
	return nil
}

package libvirt

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/labctl-dev/labctl/guest/seediso"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/libvirt/conn"
	"github.com/labctl-dev/labctl/provider"
)

// lookMachine is the domain of a lab's machine; nil if there is none. It is found under another name, too.
func lookMachine(c *libvirt.Libvirt, labName, machine string) (*domainSeen, error) {
	for _, lookup := range []func() (libvirt.Domain, error){
		func() (libvirt.Domain, error) { return c.DomainLookupByName(domainName(labName, machine)) },
		func() (libvirt.Domain, error) { return c.DomainLookupByUUID(uuid(kindMachine, labName, machine)) },
	} {
		dom, err := lookup()
		if conn.Is(err, libvirt.ErrNoDomain) {
			continue
		}
		if err != nil {
			return nil, err
		}
		d, err := lookDomain(c, dom, labName)
		if gone(err) {
			continue
		}
		if err != nil || d.mark.Lab == labName && d.mark.Name == machine {
			return d, err
		}
	}
	return nil, nil
}

func lookDomain(c *libvirt.Libvirt, dom libvirt.Domain, labName string) (*domainSeen, error) {
	state, reason, err := c.DomainGetState(dom, 0)
	if err != nil {
		return nil, err
	}
	kept, err := c.DomainHasManagedSaveImage(dom, 0)
	if err != nil {
		return nil, err
	}
	d := &domainSeen{dom: dom}
	d.settle(power(libvirt.DomainState(state), reason), kept == 1)
	return d, d.look(c, labName, full)
}

// saveMark writes a domain's mark, and nothing else of it.
func (d *domainSeen) saveMark(c *libvirt.Libvirt) error {
	flags := libvirt.DomainAffectConfig
	if d.active {
		flags |= libvirt.DomainAffectLive
	}
	set := func(flags libvirt.DomainModificationImpact) error {
		return c.DomainSetMetadata(d.dom, int32(libvirt.DomainMetadataElement), libvirt.OptString{d.mark.bare()}, libvirt.OptString{markKey}, libvirt.OptString{markURI}, flags)
	}
	err := set(flags)
	if d.active && conn.Is(err, libvirt.ErrOperationInvalid) { // somebody has undefined it while it runs
		return set(libvirt.DomainAffectLive)
	}
	return err
}

// refuseForeign is an error if a machine's name is taken by a domain that is not this machine.
func refuseForeign(c *libvirt.Libvirt, labName, machine string) error {
	name := domainName(labName, machine)
	dom, err := c.DomainLookupByName(name)
	if conn.Is(err, libvirt.ErrNoDomain) {
		return nil
	}
	if err != nil {
		return err
	}
	d, err := lookDomain(c, dom, labName)
	if err != nil || d.mark.Lab == labName && d.mark.Name == machine {
		return err
	}
	text := "domain " + name + " is there already and not made by labctl"
	if d.mark.Lab != "" {
		text = fmt.Sprintf("domain %s is there already: machine %s of lab %s", name, d.mark.Name, d.mark.Lab)
	}
	return &provider.Error{Code: provider.Foreign, Text: text}
}

// putMachine makes a machine what r says, whether it exists or not.
func (v *virt) putMachine(ctx context.Context, r provider.Resource, p provider.Progress) error {
	var a machineAttrs
	if err := decode(r.Addr, r.Attrs, &a); err != nil {
		return err
	}
	name := r.Addr.Name
	def := definition{attrs: a, mark: mark{Lab: r.Lab, Target: v.target, Name: name, note: note{
		Protect: a.Protect, Precious: a.Precious, Image: a.Image, Kernel: a.Firmware == lab.Kernel, CPU: a.CPU, Type: a.Type, Board: a.Board,
	}}}
	var d *domainSeen
	var home libvirt.StoragePool
	err := v.host.Ask(ctx, "look for machine "+name, func(c *libvirt.Libvirt) (err error) {
		if err = refuseForeign(c, r.Lab, name); err != nil {
			return err
		}
		if d, err = lookMachine(c, r.Lab, name); err != nil {
			return err
		}
		if d != nil {
			def.mark.Guest = d.mark.Guest
		}
		home, err = def.locate(c)
		return err
	})
	if err != nil {
		return err
	}
	if again, err := v.finishRestore(ctx, r.Lab, d, p); err != nil {
		return err
	} else if again {
		return v.putMachine(ctx, r, p)
	}
	if def.kind, err = v.domainType(ctx, a); err != nil {
		return err
	}
	if err := v.hardware(ctx, &def); err != nil {
		return err
	}
	if err := v.writeSeed(ctx, home, d, r.Seed, def.seed); err != nil {
		return err
	}
	if def.boot, err = v.bootFrom(ctx, def); err != nil {
		return err
	}
	if d != nil && d.live.Name != a.Name { // somebody has renamed it
		if err := v.rename(ctx, d, a.Name, p); err != nil {
			return err
		}
	}
	if d == nil {
		def.place(libvirtxml.Domain{})
	} else {
		def.place(d.live)
	}
	if d, err = v.define(ctx, def, d); err != nil {
		return err
	}
	if a.Power == off {
		if err := v.wake(ctx, d, p); err != nil {
			return err
		}
		return v.stop(ctx, d, v.opts.stopAfter(), p)
	}
	return v.bringUp(ctx, d, def, p)
}

// locate finds the volumes of a machine's disks, and the pool that its root disk is in, where its seed and log are, too.
func (d *definition) locate(c *libvirt.Libvirt) (home libvirt.StoragePool, err error) {
	d.files = map[string]string{}
	for i, disk := range d.attrs.all() {
		vol, err := findVolume(c, diskVolume(d.mark.Lab, d.mark.Name, disk))
		if err != nil {
			return home, err
		}
		d.files[disk] = vol.Key
		if i > 0 {
			continue
		}
		if home, err = c.StoragePoolLookupByName(vol.Pool); err != nil {
			return home, err
		}
		dir := path.Dir(vol.Key)
		d.seed, d.log = dir+"/"+seedVolume(d.mark.Lab, d.mark.Name), dir+"/"+logVolume(d.mark.Lab, d.mark.Name)
		d.vars = dir + "/" + varsVolume(d.mark.Lab, d.mark.Name)
	}
	return home, nil
}

// writeSeed puts a machine's seed into its volume, which is a new one each time: a machine that runs keeps the old one
// until it is started next. While it is written, the machine's mark says so.
func (v *virt) writeSeed(ctx context.Context, home libvirt.StoragePool, d *domainSeen, seed *lab.Seed, file string) error {
	if seed == nil {
		return nil
	}
	var iso bytes.Buffer
	if err := seediso.Write(&iso, *seed); err != nil {
		return fmt.Errorf("seed of machine %s: %w", seed.Machine, err)
	}
	name := path.Base(file)
	var vol libvirt.StorageVol
	err := v.host.Ask(ctx, "make volume "+name, func(c *libvirt.Libvirt) error {
		if d != nil {
			d.mark.Seeding = true
			if err := d.saveMark(c); err != nil {
				return err
			}
		}
		for _, x := range []struct {
			name string
			size int
			keep bool
		}{{name, iso.Len(), false}, {strings.TrimSuffix(name, seedSuffix) + logSuffix, 0, true}} {
			if err := renew(c, home, x.name, x.size, x.keep); err != nil {
				return err
			}
		}
		var err error
		vol, err = c.StorageVolLookupByName(home, name)
		return err
	})
	if err != nil {
		return err
	}
	return v.host.Upload(ctx, vol, &iso, 0)
}

// renew makes an empty volume, in place of one of that name, or keeps that.
func renew(c *libvirt.Libvirt, pool libvirt.StoragePool, name string, size int, keep bool) error {
	if _, err := c.StorageVolLookupByName(pool, name); err == nil {
		if keep {
			return nil
		}
		if err := removeVolume(c, libvirt.StorageVol{Pool: pool.Name, Name: name, Key: name}); err != nil {
			return err
		}
	} else if !conn.Is(err, libvirt.ErrNoStorageVol) {
		return err
	}
	// What is in a seed is secret; libvirt gives it to QEMU's user when the machine starts.
	return makeVolume(c, pool, libvirtxml.StorageVolume{
		Name: name, Capacity: &libvirtxml.StorageVolumeSize{Unit: "bytes", Value: uint64(size)},
		Target: &libvirtxml.StorageVolumeTarget{Format: &libvirtxml.StorageVolumeTargetFormat{Type: "raw"}, Permissions: &libvirtxml.StorageVolumeTargetPermissions{Mode: "0600"}},
	})
}

// define makes libvirt's persistent definition, in place of that of old, if it is not nil; a machine that runs keeps
// running as it is.
func (v *virt) define(ctx context.Context, def definition, old *domainSeen) (*domainSeen, error) {
	x := domainXML(def)
	if old != nil {
		keepPlaces(&x, old.live)
	}
	text, err := x.Marshal()
	if err != nil {
		return nil, err
	}
	var d *domainSeen
	err = v.host.Ask(ctx, "define domain "+def.attrs.Name, func(c *libvirt.Libvirt) error {
		dom, err := c.DomainDefineXMLFlags(text, 0)
		if err != nil {
			return err
		}
		if auto, err := c.DomainGetAutostart(dom); err != nil || (auto == 1) != def.attrs.Autostart {
			if err != nil {
				return err
			}
			if err := c.DomainSetAutostart(dom, map[bool]int32{true: 1}[def.attrs.Autostart]); err != nil {
				return err
			}
		}
		if d, err = lookDomain(c, dom, def.mark.Lab); err != nil || !d.active {
			return err
		}
		return d.remark(c, def.mark)
	})
	return d, err
}

// remark gives a machine that runs its mark, if it has another one.
func (d *domainSeen) remark(c *libvirt.Libvirt, m mark) error {
	live, _ := domainMark(d.live)
	if d.mark = m; live.element() != m.element() {
		return d.saveMark(c)
	}
	return nil
}

// rename gives a domain its own name again. libvirt does that only while it is off.
func (v *virt) rename(ctx context.Context, d *domainSeen, name string, p provider.Progress) error {
	if err := v.wake(ctx, d, p); err != nil {
		return err
	}
	if err := v.stop(ctx, d, v.opts.stopAfter(), p); err != nil {
		return err
	}
	return v.host.Do(ctx, "rename domain "+d.live.Name, func(c *libvirt.Libvirt) error {
		_, err := c.DomainRename(d.dom, libvirt.OptString{name}, 0)
		return err
	})
}

// deleteMachine ends a machine and removes all that it had but for its disks.
func (v *virt) deleteMachine(ctx context.Context, o provider.Observed, p provider.Progress) error {
	var a machineAttrs
	if err := decode(o.Addr, o.Attrs, &a); err != nil {
		return err
	}
	name := o.Addr.Name
	var d *domainSeen
	err := v.host.Ask(ctx, "look for machine "+name, func(c *libvirt.Libvirt) (err error) {
		d, err = lookMachine(c, o.Lab, name)
		return err
	})
	if err != nil {
		return err
	}
	if d != nil && d.mark.Adopted != "" {
		return &provider.Error{Code: provider.Foreign, Text: "domain " + d.live.Name + " is adopted, and never labctl's to delete"}
	}
	if d != nil {
		grace := v.opts.stopAfter()
		if len(a.Disks) == 0 { // its only disk is remade with it, or goes too: there is nothing that a shutdown could save
			grace = 0
		}
		if grace > 0 {
			_ = v.wake(ctx, d, p) // one whose memory cannot be loaded is deleted as it is
		}
		if err := v.stop(ctx, d, grace, p); err != nil {
			return err
		}
	}
	return v.leave(ctx, o, func() error {
		return v.host.Ask(ctx, "delete machine "+name, func(c *libvirt.Libvirt) error { return undefine(c, o.Lab, name, d) })
	})
}

// onTop says whether a machine has a disk that is not as it was made: one that an external snapshot put on top of it.
func (d *domainSeen) onTop(labName string) bool {
	return slices.ContainsFunc(d.disks(), func(x libvirtxml.DomainDisk) bool {
		file := path.Base(diskFile(x))
		m, name, ok := parseDisk(labName, file)
		return ok && file != diskVolume(labName, m, name) || strings.Contains(name, ".")
	})
}

// undefine removes all that a machine has but for its disks; d is nil if its domain has gone already.
func undefine(c *libvirt.Libvirt, labName, machine string, d *domainSeen) error {
	if dom, err := c.DomainLookupByName(domainName(labName, machine) + copierSuffix); err == nil {
		if err := endCopier(c, dom); err != nil {
			return err
		}
	}
	// What QEMU and libvirt make in a pool's folder by themselves the pool does not know of: UEFI variables that somebody
	// who undefined the machine left there, and the disks of external snapshots.
	if d == nil || d.onTop(labName) {
		if err := refreshAll(c); err != nil {
			return err
		}
	}
	for _, file := range []string{seedVolume(labName, machine), logVolume(labName, machine), varsVolume(labName, machine)} {
		vol, err := findVolume(c, file)
		if provider.CodeOf(err) == provider.NotFound {
			continue
		}
		if err == nil {
			err = removeVolume(c, vol)
		}
		if err != nil {
			return err
		}
	}
	if d == nil {
		return nil
	}
	// With it go its UEFI variables, saved state, and what libvirt remembers of snapshots and checkpoints, whose
	// content is in the disks.
	err := c.DomainUndefineFlags(d.dom, libvirt.DomainUndefineNvram|libvirt.DomainUndefineManagedSave|libvirt.DomainUndefineSnapshotsMetadata|libvirt.DomainUndefineCheckpointsMetadata)
	if gone(err) {
		return nil
	}
	return err
}

package libvirt

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path"
	"sort"
	"time"

	"github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/libvirt/conn"
	"github.com/labctl-dev/labctl/provider"
)

// nearlyDone is how far copies may be behind their disks, together and in bytes, when the machines are held still: so
// much is copied in a moment.
const nearlyDone = 16 << 20

// tidyDeadline is how long it may take to let machines go on and to clear away after a snapshot has failed.
const tidyDeadline = time.Minute

// taking is a snapshot that is being taken.
type taking struct {
	v    *virt
	lab  string
	s    snapshot
	all  []*still
	held []*domainSeen // machines that we hold still
}

// still is a machine that a snapshot is taken of.
type still struct {
	d    *domainSeen
	from []*volumeSeen // its disks
	devs []string      // where it has them
	to   []string      // paths of the volumes that keep them
	vars string        // path of its UEFI variables; "" if it has none
	kept []byte        // its UEFI variables
}

// TakeSnapshot implements provider.Snapshotter.
//
// A machine that is suspended stays so, and one that is saved keeps its saved state; its disks are as they were then.
func (v *virt) TakeSnapshot(ctx context.Context, l lab.Lab, s provider.Snapshot, p provider.Progress) error {
	defer v.begin()()
	return provider.Wrap("take snapshot "+s.Name, provider.Addr{}, v.takeSnapshot(ctx, l.Name, s, p))
}

func (v *virt) takeSnapshot(ctx context.Context, labName string, s provider.Snapshot, p provider.Progress) (err error) {
	if err := provider.CheckSnapshotName(s.Name); err != nil {
		return err
	}
	w, err := v.look(ctx, lab.Lab{Name: labName})
	if err != nil {
		return err
	}
	for _, pool := range w.pools {
		for name := range pool.volumes {
			if other, ok := parseKept(labName, name); ok && other == s.Name {
				return &provider.Error{Code: provider.Invalid, Text: "there is one of that name already, or a part of one"}
			}
		}
	}
	t := &taking{v: v, lab: labName, s: snapshot{Name: s.Name, Taken: s.Taken, Note: s.Note}}
	if err := t.gather(w); err != nil {
		return err
	}
	defer func() {
		tidy, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyDeadline)
		defer cancel()
		if rerr := t.release(tidy); err == nil {
			err = rerr
		}
		if err != nil { // what cannot be removed now is seen as half made
			_ = v.host.Ask(tidy, "clear away", func(c *libvirt.Libvirt) error { return t.clear(c) })
		}
	}()
	err = v.host.Ask(ctx, "make volumes", func(c *libvirt.Libvirt) error {
		if err := endCopiers(c, w.domains, labName); err != nil {
			return err
		}
		return t.prepare(c)
	})
	if err != nil {
		return err
	}
	if err := t.copy(ctx, p); err != nil {
		return err
	}
	if err := t.release(ctx); err != nil {
		return err
	}
	return t.write(ctx)
}

// gather finds out of what a snapshot is taken, and refuses what it could not keep.
func (t *taking) gather(w *world) error {
	for _, d := range w.domains {
		if !d.made(t.lab) {
			continue
		}
		if d.mark.Restore != "" {
			return &provider.Error{Code: provider.InUse, Text: fmt.Sprintf("machine %s has only half of snapshot %s back: restore that again first, or apply the lab", d.mark.Name, d.mark.Restore)}
		}
		x := &still{d: d, vars: varsFile(d)}
		if x.vars == "" && d.config.OS != nil && d.config.OS.Firmware == "efi" {
			return &provider.Error{Code: provider.Unsupported, Text: fmt.Sprintf("libvirt tells where the UEFI variables of machine %s are only while it runs: start it first", d.mark.Name)}
		}
		part := snapshotPart{Name: d.mark.Name, Guest: d.mark.Guest}
		for _, disk := range d.disks() {
			file := diskFile(disk)
			if path.Base(file) == seedVolume(t.lab, d.mark.Name) {
				continue
			}
			m, name, ok := parseDisk(t.lab, path.Base(file))
			vol := w.volume(path.Base(file))
			switch {
			case !ok || m != d.mark.Name || disk.Target == nil:
				return &provider.Error{Code: provider.Unsupported, Text: fmt.Sprintf("machine %s has a disk that is not the lab's: %s", d.mark.Name, file)}
			case vol == nil || !vol.whole():
				return &provider.Error{Code: provider.Unsupported, Text: fmt.Sprintf("disk %s/%s of a machine that is there is not: %s", m, name, file)}
			case disk.Mirror != nil && mirrorOf(disk) == "":
				return &provider.Error{Code: provider.InUse, Text: fmt.Sprintf("libvirt is just copying disk %s/%s", m, name)}
			}
			x.from, x.devs = append(x.from, vol), append(x.devs, disk.Target.Dev)
			part.Disks = append(part.Disks, name)
		}
		t.all, t.s.Machines = append(t.all, x), append(t.s.Machines, part)
	}
	if len(t.all) == 0 {
		return &provider.Error{Code: provider.NotFound, Text: "there is no machine of it"}
	}
	return nil
}

// disks are those that a machine has now.
func (d *domainSeen) disks() []libvirtxml.DomainDisk {
	if d.live.Devices == nil {
		return nil
	}
	var disks []libvirtxml.DomainDisk
	for _, x := range d.live.Devices.Disks {
		if x.Device == "" || x.Device == "disk" {
			disks = append(disks, x)
		}
	}
	return disks
}

// prepare makes the volumes that keep the disks.
func (t *taking) prepare(c *libvirt.Libvirt) error {
	for i, x := range t.all {
		x.to = nil
		for j, vol := range x.from {
			pool, err := c.StoragePoolLookupByTargetPath(path.Dir(vol.path))
			if err != nil {
				return err
			}
			name := diskKept(t.lab, t.s.Machines[i].Name, t.s.Machines[i].Disks[j], t.s.Name)
			if old, err := c.StorageVolLookupByName(pool, name); err == nil { // made by a try whose answer was lost
				if err := removeVolume(c, old); err != nil {
					return err
				}
			}
			to, err := twin(c, pool, name, vol)
			if err != nil {
				return err
			}
			x.to = append(x.to, to)
		}
	}
	return nil
}

// copy copies all disks. When it returns, machines that run are held still, and the copies are what their disks are.
func (t *taking) copy(ctx context.Context, p provider.Progress) error {
	var running []duplicate
	for _, x := range t.all {
		if !x.d.active {
			if err := t.v.copyStill(ctx, x.d.live, x.from, x.to, p); err != nil {
				return err
			}
			continue
		}
		for i, vol := range x.from {
			running = append(running, duplicate{dom: x.d.dom, dev: x.devs[i], from: vol, to: x.to[i]})
		}
	}
	if len(running) > 0 {
		if err := t.copyRunning(ctx, running, p); err != nil {
			return err
		}
	}
	for _, x := range t.all {
		if err := t.readVars(ctx, x); err != nil {
			return err
		}
	}
	return nil
}

// copyRunning copies the disks of machines that run while they do, and holds them still only for the rest.
func (t *taking) copyRunning(ctx context.Context, all []duplicate, p provider.Progress) error {
	v := t.v
	for _, x := range all {
		err := v.host.Do(ctx, "copy volume "+x.from.name, func(c *libvirt.Libvirt) error { return beginCopy(c, x) })
		if err != nil {
			return err
		}
	}
	// Copies that come no closer, because machines write as fast as they are copied, get there once those hold still.
	if _, err := v.await(ctx, v.host.Ask, all, nearlyDone/int64(len(all)), p); err != nil {
		return err
	}
	p(provider.Step{Phase: "holding machines still"})
	if err := t.hold(ctx); err != nil {
		return err
	}
	stuck, err := v.await(ctx, v.host.Ask, all, 0, p)
	if err == nil && stuck {
		err = &provider.Error{Code: provider.Timeout, Text: fmt.Sprintf("no progress in copying disks for %s", stuckCopy)}
	}
	if err != nil {
		return err
	}
	return v.host.Ask(ctx, "end the copies", func(c *libvirt.Libvirt) error {
		return fan(len(all), func(i int) error { return endCopy(c, all[i].dom, all[i].dev) })
	})
}

// hold suspends the machines that run.
func (t *taking) hold(ctx context.Context) error {
	for _, x := range t.all {
		if x.d.active && x.d.state == on {
			t.held = append(t.held, x.d)
		}
	}
	return t.v.host.Ask(ctx, "suspend all machines", func(c *libvirt.Libvirt) error {
		return fan(len(t.held), func(i int) error { return c.DomainSuspend(t.held[i].dom) })
	})
}

// release lets those go on that are held.
func (t *taking) release(ctx context.Context) error {
	if len(t.held) == 0 {
		return nil
	}
	err := t.v.host.Ask(ctx, "let all machines go on", func(c *libvirt.Libvirt) error {
		return fan(len(t.held), func(i int) error {
			err := c.DomainResume(t.held[i].dom)
			if gone(err) || conn.Is(err, libvirt.ErrOperationInvalid) { // it has ended, or goes on already
				return nil
			}
			return err
		})
	})
	if err == nil {
		t.held = nil
	}
	return err
}

// readVars reads a machine's UEFI variables.
func (t *taking) readVars(ctx context.Context, x *still) error {
	b, err := t.v.readVars(ctx, x.vars)
	x.kept = b
	return err
}

// write keeps the UEFI variables, and then says what the snapshot consists of, in the pool of the first disk.
func (t *taking) write(ctx context.Context) error {
	var home libvirt.StoragePool
	for i, x := range t.all {
		if len(x.to) == 0 {
			continue
		}
		var pool libvirt.StoragePool
		err := t.v.host.Ask(ctx, "look for the pool of "+x.to[0], func(c *libvirt.Libvirt) (err error) {
			pool, err = c.StoragePoolLookupByTargetPath(path.Dir(x.to[0]))
			return err
		})
		if err != nil {
			return err
		}
		if home = pool; x.kept == nil {
			continue
		}
		t.s.Machines[i].Vars = x.vars
		if err := t.v.pour(ctx, pool, varsKept(t.lab, t.s.Machines[i].Name, t.s.Name), x.kept); err != nil {
			return err
		}
	}
	if home.Name == "" {
		return &provider.Error{Code: provider.NotFound, Text: "no machine of it has a disk"}
	}
	sort.Slice(t.s.Machines, func(i, j int) bool { return t.s.Machines[i].Name < t.s.Machines[j].Name })
	text, err := json.Marshal(t.s)
	if err != nil {
		return err
	}
	return t.v.pour(ctx, home, listKept(t.lab, t.s.Name), append(text, '\n'))
}

// clear ends copies that are under way and removes what there is of a snapshot.
func (t *taking) clear(c *libvirt.Libvirt) error {
	for _, x := range t.all {
		for _, dev := range x.devs {
			if x.d.active {
				if err := endCopy(c, x.d.dom, dev); err != nil {
					return err
				}
			}
		}
	}
	return removeKept(c, t.lab, func(snapshot string) bool { return snapshot == t.s.Name })
}

// readVars reads the UEFI variables of a file; nil if there is none, because the machine never ran.
func (v *virt) readVars(ctx context.Context, file string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	var b []byte
	err := v.atFolder(ctx, path.Dir(file), func(pool libvirt.StoragePool) error {
		var vol libvirt.StorageVol
		err := v.host.Ask(ctx, "look for "+file, func(c *libvirt.Libvirt) (err error) {
			vol, err = c.StorageVolLookupByName(pool, path.Base(file))
			return err
		})
		if gone(err) {
			return nil
		}
		if err != nil {
			return err
		}
		var buf bytes.Buffer
		if err := v.host.Download(ctx, vol, &buf, 0); err != nil {
			return err
		}
		b = buf.Bytes()
		return nil
	})
	return b, err
}

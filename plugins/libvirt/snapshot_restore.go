package libvirt

import (
	"bytes"
	"context"
	"errors"
	"path"
	"slices"
	"sort"
	"strings"

	"github.com/digitalocean/go-libvirt"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/libvirt/conn"
	"github.com/labctl-dev/labctl/provider"
)

// RestoreSnapshot implements provider.Snapshotter.
//
// Each machine's mark says that it is being brought back, from before its first disk is touched until its last one is
// whole. A machine whose mark still says so after a crash is brought back by the next restore or the next apply,
// whichever comes first; it never starts with half of its disks.
func (v *virt) RestoreSnapshot(ctx context.Context, l lab.Lab, name string, p provider.Progress) error {
	defer v.begin()()
	return provider.Wrap("restore snapshot "+name, provider.Addr{}, v.restoreSnapshot(ctx, l.Name, name, p))
}

func (v *virt) restoreSnapshot(ctx context.Context, labName, name string, p provider.Progress) error {
	s, err := v.findSnapshot(ctx, labName, name)
	if err != nil {
		return err
	}
	w, err := v.look(ctx, lab.Lab{Name: labName})
	if err != nil {
		return err
	}
	if err := v.refuseRestore(ctx, labName, s, w); err != nil {
		return err
	}
	mine := map[string]*domainSeen{}
	for _, d := range w.domains {
		if d.made(labName) {
			mine[d.mark.Name] = d
		}
	}
	err = v.host.Ask(ctx, "note that the machines are being restored", func(c *libvirt.Libvirt) error {
		if err := endCopiers(c, w.domains, labName); err != nil {
			return err
		}
		for _, m := range s.Machines {
			d := mine[m.Name]
			if d.mark.Restore == name {
				continue
			}
			d.mark.Restore = name
			if err := d.saveMark(c); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, d := range mine {
		grace := v.opts.stopAfter()
		if d.mark.Restore != "" { // nothing that it could still write would stay
			grace = 0
		}
		if err := v.stop(ctx, d, grace, p); err != nil {
			return err
		}
	}
	for _, m := range s.Machines {
		if err := v.restoreMachine(ctx, labName, name, m, p); err != nil {
			return err
		}
	}
	s.sayOthers(labName, w, p)
	return nil
}

// sayOthers names the lab's disks that the snapshot does not hold.
func (s snapshot) sayOthers(labName string, w *world, p provider.Progress) {
	held := map[string][]string{}
	for _, m := range s.Machines {
		held[m.Name] = m.Disks
	}
	var others []provider.Step
	for _, pool := range w.pools {
		for name := range pool.volumes {
			machine, disk, ok := parseDisk(labName, name)
			if !ok || slices.Contains(held[machine], disk) {
				continue
			}
			if held[machine] == nil {
				disk = ""
			}
			others = append(others, provider.SinceSnapshot(machine, disk))
		}
	}
	sort.Slice(others, func(i, j int) bool { return others[i].Note < others[j].Note })
	for _, o := range slices.Compact(others) {
		p(o)
	}
}

// refuseRestore is an error if a snapshot cannot be brought back in full: it names all that it needs and is not there.
func (v *virt) refuseRestore(ctx context.Context, labName string, s snapshot, w *world) error {
	domains := map[string]*domainSeen{}
	for _, d := range w.domains {
		if d.made(labName) {
			domains[d.mark.Name] = d
		}
	}
	var wrong []string
	err := v.host.Ask(ctx, "look at the snapshot's volumes", func(c *libvirt.Libvirt) error {
		wrong = nil
		for _, m := range s.Machines {
			d := domains[m.Name]
			if d == nil {
				wrong = append(wrong, "machine "+m.Name+" is not there")
				continue
			}
			for _, disk := range m.Disks {
				kept, err := v.keptDisk(c, labName, m.Name, disk, s.Name)
				if err != nil {
					return err
				}
				now := w.volume(diskVolume(labName, m.Name, disk))
				switch {
				case d.mark.Restore != "": // its disks come and go
				case now == nil:
					wrong = append(wrong, "disk "+m.Name+"/"+disk+" is not there")
				case now.backing != kept.backing:
					wrong = append(wrong, "disk "+m.Name+"/"+disk+" is of another image now")
				}
			}
		}
		return nil
	})
	if err == nil && len(wrong) > 0 {
		sort.Strings(wrong)
		err = &provider.Error{Code: provider.Invalid, Text: strings.Join(wrong, "; ")}
	}
	return err
}

// keptDisk is the volume that keeps a disk, and its image is there.
func (v *virt) keptDisk(c *libvirt.Libvirt, labName, machine, disk, name string) (*volumeSeen, error) {
	vol, err := findVolume(c, diskKept(labName, machine, disk, name))
	if err != nil {
		return nil, err
	}
	kept, err := lookFully(c, vol)
	switch {
	case err != nil:
		return nil, err
	case kept == nil || !kept.whole():
		return nil, &provider.Error{Code: provider.Invalid, Text: "what it has of disk " + machine + "/" + disk + " is damaged"}
	case kept.backing == "":
		return kept, nil
	}
	base, err := c.StorageVolLookupByPath(kept.backing)
	if gone(err) {
		return nil, &provider.Error{Code: provider.Invalid, Text: "the image of disk " + machine + "/" + disk + " is gone: " + kept.backing}
	}
	if err != nil {
		return nil, err
	}
	if b, err := lookFully(c, base); err != nil || b == nil {
		return nil, &provider.Error{Code: provider.Invalid, Text: "the image of disk " + machine + "/" + disk + " is gone: " + kept.backing}
	}
	return kept, nil
}

// errHalfRestored is the error of doing something to a disk whose machine has half of a snapshot back.
var errHalfRestored = errors.New("its machine has half of a snapshot back")

// finishRestore brings a machine back whose restore was cut short. false: there is none.
func (v *virt) finishRestore(ctx context.Context, labName string, d *domainSeen, p provider.Progress) (bool, error) {
	if d == nil || d.mark.Restore == "" {
		return false, nil
	}
	name, machine := d.mark.Restore, d.mark.Name
	fail := func(err error) (bool, error) {
		return false, provider.Wrap("bring back snapshot "+name, addr(kindMachine, machine), err)
	}
	s, err := v.findSnapshot(ctx, labName, name)
	if err != nil {
		return fail(err)
	}
	i := slices.IndexFunc(s.Machines, func(m snapshotPart) bool { return m.Name == machine })
	if i < 0 {
		return fail(&provider.Error{Code: provider.Corrupt, Text: "the snapshot does not have the machine"})
	}
	if err := v.stop(ctx, d, 0, p); err != nil {
		return fail(err)
	}
	if err := v.restoreMachine(ctx, labName, name, s.Machines[i], p); err != nil {
		return fail(err)
	}
	return true, nil
}

// restoreMachine makes the disks and variables of a machine that is off what they were, and then says so in its mark.
// It may be done again at any time: what is kept stays as it is.
func (v *virt) restoreMachine(ctx context.Context, labName, name string, m snapshotPart, p provider.Progress) error {
	p(provider.Step{Phase: "restoring " + m.Name})
	var d *domainSeen
	var from []*volumeSeen
	var to []string
	err := v.host.Ask(ctx, "make the disks of machine "+m.Name+" anew", func(c *libvirt.Libvirt) (err error) {
		from, to = nil, nil
		if d, err = lookMachine(c, labName, m.Name); err != nil {
			return err
		}
		if d == nil {
			return &provider.Error{Code: provider.NotFound, Text: "machine " + m.Name + " has gone"}
		}
		if d.active {
			return &provider.Error{Code: provider.InUse, Text: "somebody has started machine " + m.Name + " meanwhile"}
		}
		if err := forgetSaved(c, d.dom); err != nil {
			return err
		}
		for _, disk := range m.Disks {
			kept, err := v.keptDisk(c, labName, m.Name, disk, name)
			if err != nil {
				return err
			}
			made, err := remake(c, diskVolume(labName, m.Name, disk), kept)
			if err != nil {
				return err
			}
			from, to = append(from, kept), append(to, made)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := v.copyStill(ctx, d.live, from, to, p); err != nil {
		return err
	}
	if err := v.restoreVars(ctx, labName, name, m, varsFile(d)); err != nil {
		return err
	}
	return v.host.Ask(ctx, "note that machine "+m.Name+" is restored", func(c *libvirt.Libvirt) error {
		if d, err = lookMachine(c, labName, m.Name); err != nil || d == nil {
			return err
		}
		d.mark.Restore, d.mark.Guest = "", m.Guest
		return d.saveMark(c)
	})
}

// forgetSaved removes a machine's saved memory, which would not go with other disks.
func forgetSaved(c *libvirt.Libvirt, dom libvirt.Domain) error {
	has, err := c.DomainHasManagedSaveImage(dom, 0)
	if err != nil || has == 0 {
		return err
	}
	return c.DomainManagedSaveRemove(dom, 0)
}

// remake makes an empty volume of a disk, in place of all of that name, beside the one that keeps what comes into it.
func remake(c *libvirt.Libvirt, name string, kept *volumeSeen) (file string, err error) {
	pools, err := folders(c)
	if err != nil {
		return "", err
	}
	for _, pool := range pools {
		vol, err := c.StorageVolLookupByName(pool, name)
		if gone(err) || conn.Is(err, libvirt.ErrOperationInvalid) {
			continue
		}
		if err == nil {
			err = removeVolume(c, vol)
		}
		if err != nil {
			return "", err
		}
	}
	pool, err := c.StoragePoolLookupByTargetPath(path.Dir(kept.path))
	if err != nil {
		return "", err
	}
	return twin(c, pool, name, kept)
}

// restoreVars makes UEFI variables what they were. Where none are kept, because the machine had never run, the
// firmware begins anew.
// file is where libvirt says they are; where it does not, they are where they were.
func (v *virt) restoreVars(ctx context.Context, labName, name string, m snapshotPart, file string) error {
	if file == "" {
		file = m.Vars
	}
	if file == "" {
		return nil
	}
	var kept bytes.Buffer
	if m.Vars != "" {
		var vol libvirt.StorageVol
		err := v.host.Ask(ctx, "look for the UEFI variables of machine "+m.Name, func(c *libvirt.Libvirt) (err error) {
			vol, err = findVolume(c, varsKept(labName, m.Name, name))
			return err
		})
		if err != nil {
			return err
		}
		if err := v.host.Download(ctx, vol, &kept, 0); err != nil {
			return err
		}
	}
	return v.atFolder(ctx, path.Dir(file), func(pool libvirt.StoragePool) error {
		if m.Vars != "" {
			return v.pour(ctx, pool, path.Base(file), kept.Bytes())
		}
		return v.host.Ask(ctx, "remove "+file, func(c *libvirt.Libvirt) error {
			vol, err := c.StorageVolLookupByName(pool, path.Base(file))
			if gone(err) {
				return nil
			}
			if err != nil {
				return err
			}
			return removeVolume(c, vol)
		})
	})
}

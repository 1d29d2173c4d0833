package libvirt

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/libvirt/conn"
	"github.com/labctl-dev/labctl/provider"
)

// putDisk makes a disk what r says, whether it exists or not, as far as that loses no data.
func (v *virt) putDisk(ctx context.Context, r provider.Resource, p provider.Progress) error {
	var a diskAttrs
	if err := decode(r.Addr, r.Attrs, &a); err != nil {
		return err
	}
	machine, disk, err := r.Addr.Disk()
	if err != nil {
		return err
	}
	name := diskVolume(r.Lab, machine, disk)
	err = v.inPool(ctx, a.Pool, func(pool *poolAt) error {
		var seen *volumeSeen
		err := v.host.Ask(ctx, "look for volume "+name, func(c *libvirt.Libvirt) (err error) {
			seen, err = findDisk(c, pool.pool, name)
			return err
		})
		switch {
		case err != nil:
			return err
		case seen != nil:
			return v.changeDisk(ctx, r, a, seen, p)
		}
		return v.createDisk(ctx, r, a, pool, p)
	})
	if !errors.Is(err, errHalfRestored) {
		return err
	}
	var d *domainSeen
	err = v.host.Ask(ctx, "look for machine "+machine, func(c *libvirt.Libvirt) (err error) {
		d, err = lookMachine(c, r.Lab, machine)
		return err
	})
	if err != nil {
		return err
	}
	if _, err := v.finishRestore(ctx, r.Lab, d, p); err != nil {
		return err
	}
	return v.putDisk(ctx, r, p)
}

// findDisk is the volume of a disk; nil if there is none. One that is not whole, because its creation was cut short or
// its file taken away, is removed.
func findDisk(c *libvirt.Libvirt, pool libvirt.StoragePool, name string) (*volumeSeen, error) {
	vol, err := c.StorageVolLookupByName(pool, name)
	if conn.Is(err, libvirt.ErrNoStorageVol) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s, err := lookVolume(c, vol)
	if err != nil || s != nil && s.whole() {
		return s, err
	}
	if s == nil { // libvirt knows of a file that is gone
		return nil, c.StoragePoolRefresh(pool, 0)
	}
	return nil, removeVolume(c, vol)
}

// createDisk makes a new volume. An image that another lab has just taken away is brought again, a few times.
func (v *virt) createDisk(ctx context.Context, r provider.Resource, a diskAttrs, pool *poolAt, p provider.Progress) error {
	for tries := 1; ; tries++ {
		err := v.makeDisk(ctx, r, a, pool)
		if a.Image == "" || tries == 5 || provider.CodeOf(err) != provider.NotFound {
			return err
		}
		if err := v.bringAgain(ctx, r.Lab, a.Image, p); err != nil {
			return err
		}
	}
}

// makeDisk makes a new volume. A machine that still runs from one of that name, whose file is gone, is ended, and what
// was true inside no longer holds. That the image is not there is code NotFound.
func (v *virt) makeDisk(ctx context.Context, r provider.Resource, a diskAttrs, pool *poolAt) error {
	machine, disk, err := r.Addr.Disk()
	if err != nil {
		return err
	}
	name := diskVolume(r.Lab, machine, disk)
	x := libvirtxml.StorageVolume{
		Name: name, Capacity: &libvirtxml.StorageVolumeSize{Unit: "bytes", Value: uint64(a.Size)},
		Target: &libvirtxml.StorageVolumeTarget{Format: &libvirtxml.StorageVolumeTargetFormat{Type: "qcow2"}, Permissions: &libvirtxml.StorageVolumeTargetPermissions{Mode: "0600"}},
	}
	return v.host.Ask(ctx, "create volume "+name, func(c *libvirt.Libvirt) error {
		if err := abandon(c, r.Lab, machine, pool.path+"/"+name); err != nil {
			return err
		}
		if a.Image != "" {
			base, err := baseOf(c, a)
			if err != nil {
				return err
			}
			x.BackingStore = &libvirtxml.StorageVolumeBackingStore{Path: base.path, Format: &libvirtxml.StorageVolumeTargetFormat{Type: "qcow2"}}
		}
		err := makeVolume(c, pool.pool, x)
		if conn.Is(err, libvirt.ErrStorageVolExist) { // by an earlier try whose answer was lost
			err = nil
		}
		if a.Image == "" {
			return err
		}
		if _, berr := baseOf(c, a); provider.CodeOf(berr) == provider.NotFound { // taken away meanwhile
			if vol, verr := c.StorageVolLookupByName(pool.pool, name); verr == nil {
				return errors.Join(berr, removeVolume(c, vol))
			}
			return berr
		}
		return err
	})
}

// baseOf is the volume of a disk's image.
func baseOf(c *libvirt.Libvirt, a diskAttrs) (*volumeSeen, error) {
	if _, err := findVolume(c, imageMark(a.Image)); err != nil {
		return nil, &provider.Error{Code: provider.NotFound, Text: "image " + a.Image + " is not on the host"}
	}
	vol, err := findVolume(c, imageVolume(a.Image))
	if err != nil {
		return nil, err
	}
	base, err := lookVolume(c, vol)
	switch {
	case err != nil:
		return nil, err
	case base == nil:
		return nil, &provider.Error{Code: provider.NotFound, Text: "the file of image " + a.Image + " is gone from the host"}
	case a.Size < base.capacity:
		return nil, &provider.Error{Code: provider.Invalid, Text: fmt.Sprintf("%s is smaller than its image, which has %s", a.Size, base.capacity)}
	}
	return base, nil
}

// abandon ends a machine that runs from a file which is no longer there.
func abandon(c *libvirt.Libvirt, labName, machine, file string) error {
	d, err := lookMachine(c, labName, machine)
	if err != nil || d == nil {
		return err
	}
	if d.mark.Restore != "" {
		return errHalfRestored
	}
	uses := func(x libvirtxml.Domain) bool {
		for _, disk := range x.Devices.Disks {
			if diskFile(disk) == file {
				return true
			}
		}
		return false
	}
	if d.active && uses(d.live) {
		if err := c.DomainDestroy(d.dom); err != nil && !conn.Is(err, libvirt.ErrOperationInvalid, libvirt.ErrNoDomain) {
			return err
		}
		d.active = false
	}
	if d.state == saved && uses(d.config) {
		if err := forgetSaved(c, d.dom); err != nil {
			return err
		}
	}
	if d.mark.Guest == nil || !uses(d.config) {
		return nil
	}
	d.mark.Guest = nil
	return d.saveMark(c)
}

// changeDisk makes a disk that exists what a says.
func (v *virt) changeDisk(ctx context.Context, r provider.Resource, a diskAttrs, seen *volumeSeen, p provider.Progress) error {
	machine, _, err := r.Addr.Disk()
	if err != nil {
		return err
	}
	if (a.Image == "") != (seen.backing == "") || a.Image != "" && !strings.HasSuffix(seen.backing, "/"+imageVolume(a.Image)) {
		return &provider.Error{Code: provider.Invalid, Text: "the disk is made from another image; only a reinstall changes that"}
	}
	switch {
	case seen.capacity > a.Size:
		return &provider.Error{Code: provider.Invalid, Text: fmt.Sprintf("a disk cannot shrink from %s to %s", seen.capacity, a.Size)}
	case seen.capacity == a.Size:
		return nil
	}
	if err := v.wakeMachine(ctx, r.Lab, machine, p); err != nil { // its guest has to see it
		return err
	}
	p(provider.Step{Phase: "growing"})
	return v.host.Ask(ctx, "grow volume "+seen.name, func(c *libvirt.Libvirt) error { return grow(c, r.Lab, machine, seen, a.Size) })
}

// grow makes a disk larger, through the machine if one runs from it, which is told.
func grow(c *libvirt.Libvirt, labName, machine string, seen *volumeSeen, size lab.Bytes) error {
	d, err := lookMachine(c, labName, machine)
	if err != nil {
		return err
	}
	if d != nil && d.mark.Restore != "" {
		return errHalfRestored
	}
	if d != nil && d.active {
		for _, disk := range d.live.Devices.Disks {
			if diskFile(disk) == seen.path && disk.Target != nil {
				return c.DomainBlockResize(d.dom, disk.Target.Dev, uint64(size), libvirt.DomainBlockResizeBytes)
			}
		}
	}
	vol, err := c.StorageVolLookupByPath(seen.path)
	if err != nil {
		return err
	}
	return c.StorageVolResize(vol, uint64(size), 0)
}

// deleteDisk deletes a volume, and the machine's hold on it if it runs.
func (v *virt) deleteDisk(ctx context.Context, o provider.Observed, p provider.Progress) error {
	machine, disk, err := o.Addr.Disk()
	if err != nil {
		return err
	}
	if o.Attrs["protect"] == true {
		if err := v.keep(ctx, o, p); err != nil {
			return err
		}
	}
	name := diskVolume(o.Lab, machine, disk)
	return v.host.Ask(ctx, "delete volume "+name, func(c *libvirt.Libvirt) error {
		vols, err := diskVolumes(c, name)
		if err != nil {
			return err
		}
		for _, vol := range vols {
			if err := abandon(c, o.Lab, machine, vol.Key); err != nil && !errors.Is(err, errHalfRestored) {
				return err
			}
			if err := removeVolume(c, vol); err != nil {
				return err
			}
		}
		return nil
	})
}

// diskVolumes are the volume of a disk and those that external snapshots have put on top of it, see parseDisk.
func diskVolumes(c *libvirt.Libvirt, name string) ([]libvirt.StorageVol, error) {
	pools, err := folders(c)
	if err != nil {
		return nil, err
	}
	var found []libvirt.StorageVol
	stem := strings.TrimSuffix(name, diskSuffix)
	for _, p := range pools {
		all, _, err := c.StoragePoolListAllVolumes(p, 1, 0)
		if gone(err) || conn.Is(err, libvirt.ErrOperationInvalid) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, vol := range all {
			if vol.Name == name || vol.Name == stem || strings.HasPrefix(vol.Name, stem+".") {
				found = append(found, vol)
			}
		}
	}
	return found, nil
}

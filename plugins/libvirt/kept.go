package libvirt

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/libvirt/conn"
	"github.com/labctl-dev/labctl/provider"
)

// keptVolumeName is where a protected disk's content stays when it is deleted: a volume that is no lab's, for no lab's
// volumes begin with "labctl-kept@".
//
//	labctl-kept@<lab>--<machine>--<disk>--20060102T150405.000Z.qcow2
func keptVolumeName(disk string, when time.Time) string {
	return "labctl-kept" + at + strings.TrimSuffix(disk, diskSuffix) + between + when.UTC().Format("20060102T150405.000Z") + diskSuffix
}

// keep copies a protected disk that is about to be deleted into a volume beside it, which needs no image: nobody knows
// what else is gone when it is looked for. It fails rather than to lose anything.
func (v *virt) keep(ctx context.Context, o provider.Observed, p provider.Progress) error {
	machine, name, err := o.Addr.Disk()
	if err != nil {
		return err
	}
	var vols []libvirt.StorageVol
	err = v.host.Ask(ctx, "look for disk "+o.Addr.Name, func(c *libvirt.Libvirt) error {
		if vols, err = diskVolumes(c, diskVolume(o.Lab, machine, name)); err != nil {
			return err
		}
		for _, vol := range vols { // what runs from it writes to it
			if err := abandon(c, o.Lab, machine, vol.Key); err != nil && !errors.Is(err, errHalfRestored) {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, vol := range vols {
		p(provider.Step{Phase: "keeping its data"})
		if err := v.keepVolume(ctx, vol, p); err != nil {
			return err
		}
	}
	return nil
}

func (v *virt) keepVolume(ctx context.Context, vol libvirt.StorageVol, p provider.Progress) error {
	name := keptVolumeName(vol.Name, time.Now())
	said := ""
	err := v.host.Do(ctx, "keep volume "+vol.Name, func(c *libvirt.Libvirt) error {
		s, err := lookVolume(c, vol)
		if err != nil || s == nil || !s.whole() {
			return err
		}
		pool, err := c.StoragePoolLookupByName(vol.Pool)
		if err != nil {
			return err
		}
		x := libvirtxml.StorageVolume{
			Name: name, Capacity: &libvirtxml.StorageVolumeSize{Unit: "bytes", Value: uint64(s.capacity)},
			Target: &libvirtxml.StorageVolumeTarget{Format: &libvirtxml.StorageVolumeTargetFormat{Type: "qcow2"}, Permissions: &libvirtxml.StorageVolumeTargetPermissions{Mode: "0600"}},
		}
		text, err := x.Marshal()
		if err != nil {
			return err
		}
		made, err := c.StorageVolCreateXMLFrom(pool, text, vol, 0)
		if conn.Is(err, libvirt.ErrOperationInvalid) {
			return &provider.Error{Code: provider.Busy, Text: "volume " + vol.Name + ": " + err.Error()}
		}
		if err != nil {
			return err
		}
		_, _, used, err := c.StorageVolGetInfo(made)
		said = fmt.Sprintf("it was protected, so its data is kept: %s, volume %s of pool %s (%s)", made.Key, name, pool.Name, lab.Bytes(used).Rough())
		return err
	})
	if err == nil && said != "" {
		p(provider.Step{Phase: "keeping its data", Note: said})
	}
	return err
}

package libvirt

import (
	"context"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/libvirt/conn"
	"github.com/labctl-dev/labctl/provider"
)

// Copies of disks are made by QEMU, the way it moves a disk while a machine runs: what the disk has of its own is copied
// into another volume on the same image, what is written meanwhile too, and when the copy is let go of it is the disk
// at that moment. libvirt's own way of copying a volume loses the image and fails for a disk in use.
//
// A disk that no machine has open is copied by a domain that never runs a single instruction, here called a copier.

// duplicate is a volume that is to become a copy of another.
type duplicate struct {
	dom  libvirt.Domain
	dev  string // where dom has the volume that is copied
	from *volumeSeen
	to   string // path
}

// copierSuffix follows a domain's name in the name of its copier. Machines' names have no such sign.
const copierSuffix = "@labctl-copier"

// twin makes an empty volume of the size and on the image of another.
func twin(c *libvirt.Libvirt, pool libvirt.StoragePool, name string, of *volumeSeen) (path string, err error) {
	x := libvirtxml.StorageVolume{
		Name: name, Capacity: &libvirtxml.StorageVolumeSize{Unit: "bytes", Value: uint64(of.capacity)},
		Target: &libvirtxml.StorageVolumeTarget{Format: &libvirtxml.StorageVolumeTargetFormat{Type: "qcow2"}, Permissions: &libvirtxml.StorageVolumeTargetPermissions{Mode: "0600"}},
	}
	if of.backing != "" {
		x.BackingStore = &libvirtxml.StorageVolumeBackingStore{Path: of.backing, Format: &libvirtxml.StorageVolumeTargetFormat{Type: "qcow2"}}
	}
	if err := makeVolume(c, pool, x); err != nil {
		return "", err
	}
	vol, err := c.StorageVolLookupByName(pool, name)
	return vol.Key, err
}

// copier starts a domain that has volumes open to be copied, on the board of a machine, and returns where it has each.
// libvirt ends it when the connection over which it was started does; so the caller keeps to that one.
func copier(c *libvirt.Libvirt, like libvirtxml.Domain, volumes []*volumeSeen) (dom libvirt.Domain, devs []string, err error) {
	x := libvirtxml.Domain{
		Type: like.Type, Name: like.Name + copierSuffix, Memory: &libvirtxml.DomainMemory{Value: 16, Unit: "MiB"},
		OS: &libvirtxml.DomainOS{Type: &libvirtxml.DomainOSType{Type: "hvm"}},
		Devices: &libvirtxml.DomainDeviceList{
			Controllers: []libvirtxml.DomainController{{Type: "usb", Model: "none"}}, MemBalloon: &libvirtxml.DomainMemBalloon{Model: "none"},
		},
	}
	if like.OS != nil && like.OS.Type != nil {
		x.OS.Type.Arch, x.OS.Type.Machine = like.OS.Type.Arch, like.OS.Type.Machine
	}
	if like.Devices != nil {
		x.Devices.Emulator = like.Devices.Emulator
	}
	for i, vol := range volumes {
		disk := diskXML("", vol.path, place(i))
		disk.ReadOnly, disk.Driver.Discard = &libvirtxml.DomainDiskReadOnly{}, ""
		x.Devices.Disks, devs = append(x.Devices.Disks, disk), append(devs, place(i))
	}
	text, err := x.Marshal()
	if err != nil {
		return dom, nil, err
	}
	if old, err := c.DomainLookupByName(x.Name); err == nil { // left by a connection that was lost
		if err := endCopier(c, old); err != nil {
			return dom, nil, err
		}
	}
	dom, err = c.DomainCreateXML(text, libvirt.DomainStartPaused|libvirt.DomainStartAutodestroy)
	return dom, devs, err
}

// place is the name of a virtio disk by its number, as Linux counts: vda, ..., vdz, vdaa.
func place(n int) string {
	s := ""
	for ; n >= 0; n = n/26 - 1 {
		s = string(rune('a'+n%26)) + s
	}
	return "vd" + s
}

// endCopiers ends the copiers of a lab's machines that a copy which was cut short has left behind, and then all jobs
// that its machines have left from one.
func endCopiers(c *libvirt.Libvirt, domains []*domainSeen, labName string) error {
	for _, d := range domains {
		name, is := strings.CutSuffix(d.live.Name, copierSuffix)
		if is && strings.HasPrefix(name, labName+"-") && d.mark.Lab == "" && onlyOf(d.live, labName) {
			if err := endCopier(c, d.dom); err != nil {
				return err
			}
		}
		if !d.made(labName) || !d.active || d.live.Devices == nil {
			continue
		}
		for _, disk := range d.live.Devices.Disks {
			if to := mirrorOf(disk); strings.Contains(path.Base(to), at) && disk.Target != nil {
				if err := endCopy(c, d.dom, disk.Target.Dev); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// onlyOf says whether all disks of a domain are a lab's.
func onlyOf(x libvirtxml.Domain, labName string) bool {
	if x.Devices == nil {
		return true
	}
	for _, disk := range x.Devices.Disks {
		if !strings.HasPrefix(path.Base(diskFile(disk)), prefix(labName)) {
			return false
		}
	}
	return true
}

// mirrorOf is the file that a disk is just being copied to.
func mirrorOf(d libvirtxml.DomainDisk) string {
	if d.Mirror == nil || d.Mirror.Source == nil || d.Mirror.Source.File == nil {
		return ""
	}
	return d.Mirror.Source.File.File
}

func endCopier(c *libvirt.Libvirt, dom libvirt.Domain) error {
	err := c.DomainDestroy(dom)
	if gone(err) || conn.Is(err, libvirt.ErrOperationInvalid) {
		return nil
	}
	return err
}

// beginCopy has a disk's process begin to copy it.
func beginCopy(c *libvirt.Libvirt, x duplicate) error {
	disk := libvirtxml.DomainDisk{
		Driver: &libvirtxml.DomainDiskDriver{Type: "qcow2"},
		Source: &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: x.to}},
	}
	text, err := disk.Marshal()
	if err != nil {
		return err
	}
	return c.DomainBlockCopy(x.dom, x.dev, text, nil, libvirt.DomainBlockCopyShallow|libvirt.DomainBlockCopyReuseExt|libvirt.DomainBlockCopyTransientJob)
}

// endCopy lets go of a copy; if it had come as far as to be the same as the disk, it stays what the disk is now.
// Returns when the process has let go. No copy under way is success.
func endCopy(c *libvirt.Libvirt, dom libvirt.Domain, dev string) error {
	err := c.DomainBlockJobAbort(dom, dev, 0)
	if err == nil || gone(err) {
		return nil
	}
	found, _, _, _, _, ierr := c.DomainGetBlockJobInfo(dom, dev, 0)
	if ierr == nil && found == 0 || gone(ierr) || conn.Is(ierr, libvirt.ErrOperationInvalid) {
		return nil // it has ended, with its machine or by itself
	}
	return err
}

// behind is how far a copy is behind its disk, in bytes, and how much there is in all. The same as its disk is 0.
func behind(c *libvirt.Libvirt, x duplicate) (left, total int64, err error) {
	found, _, _, cur, end, err := c.DomainGetBlockJobInfo(x.dom, x.dev, 0)
	if err != nil {
		return 0, 0, err
	}
	if found == 0 {
		return 0, 0, failedCopy(c, x)
	}
	return int64(end) - int64(cur), int64(end), nil // libvirt says that they are equal only if nothing is left
}

// failedCopy is the error of a copy that has ended by itself. QEMU tells nobody why: most often there is no space left.
func failedCopy(c *libvirt.Libvirt, x duplicate) error {
	text := fmt.Sprintf("the copy of volume %s has ended before it was complete", x.from.name)
	vol, err := c.StorageVolLookupByPath(x.to)
	if err != nil {
		return &provider.Error{Code: provider.NotFound, Text: text + ": its file is gone"}
	}
	pool, err := c.StoragePoolLookupByVolume(vol)
	if err != nil {
		return err
	}
	if err := c.StoragePoolRefresh(pool, 0); err != nil {
		return err
	}
	const little = lab.MiB // less than what QEMU takes at a time
	if _, _, _, free, err := c.StoragePoolGetInfo(pool); err == nil && lab.Bytes(free) <= little {
		return &provider.Error{Code: provider.Full, Text: text + ": storage pool " + pool.Name + " is full"}
	}
	return &provider.Error{Code: provider.Internal, Text: text}
}

// How often copies are looked at, and for how long none of them need get any further.
const (
	pollCopy  = 100 * time.Millisecond
	stuckCopy = 2 * time.Minute
)

// await waits until no copy is more than some bytes behind its disk. stuck says that they get no closer: what is left
// is written anew as fast as it is copied.
func (v *virt) await(ctx context.Context, ask asker, all []duplicate, near int64, p provider.Progress) (stuck bool, err error) {
	least, moved := int64(-1), time.Now()
	for {
		var left, total int64
		close := true
		err := ask(ctx, "look at the copies", func(c *libvirt.Libvirt) error {
			left, total, close = 0, 0, true
			for _, x := range all {
				l, t, err := behind(c, x)
				if err != nil {
					return err
				}
				left, total, close = left+l, total+t, close && l <= near
			}
			return nil
		})
		if err != nil || close {
			return false, err
		}
		if least < 0 || left < least {
			least, moved = left, time.Now()
		}
		if time.Since(moved) > stuckCopy {
			return true, nil
		}
		p(provider.Step{Phase: "copying disks", Done: total - left, Total: total})
		select {
		case <-ctx.Done():
			return false, ended(ctx)
		case <-time.After(pollCopy):
		}
	}
}

// asker asks the host, over any connection or over one.
type asker func(ctx context.Context, what string, f conn.Call) error

// copyStill copies volumes that nobody has open into others, which exist and are empty.
func (v *virt) copyStill(ctx context.Context, like libvirtxml.Domain, from []*volumeSeen, to []string, p provider.Progress) error {
	if len(from) == 0 {
		return nil
	}
	select {
	case v.starts <- struct{}{}:
	case <-ctx.Done():
		return ended(ctx)
	}
	defer func() { <-v.starts }()
	// A copier lives no longer than the connection that made it, so all is said over one.
	return v.host.Do(ctx, "copy "+from[0].name, func(c *libvirt.Libvirt) error {
		dom, devs, err := copier(c, like, from)
		if err != nil {
			return err
		}
		one := func(_ context.Context, _ string, f conn.Call) error { return f(c) }
		err = v.copyBy(ctx, c, one, dom, devs, from, to, p)
		if derr := endCopier(c, dom); err == nil {
			err = derr
		}
		return err
	})
}

func (v *virt) copyBy(ctx context.Context, c *libvirt.Libvirt, one asker, dom libvirt.Domain, devs []string, from []*volumeSeen, to []string, p provider.Progress) error {
	var all []duplicate
	for i, vol := range from {
		x := duplicate{dom: dom, dev: devs[i], from: vol, to: to[i]}
		if err := beginCopy(c, x); err != nil {
			return err
		}
		all = append(all, x)
	}
	p(provider.Step{Phase: "copying disks"})
	stuck, err := v.await(ctx, one, all, 0, p)
	if err != nil {
		return err
	}
	if stuck {
		return &provider.Error{Code: provider.Timeout, Text: fmt.Sprintf("no progress in copying %s for %s", from[0].name, stuckCopy)}
	}
	for _, x := range all {
		if err := endCopy(c, dom, x.dev); err != nil {
			return err
		}
	}
	return nil
}

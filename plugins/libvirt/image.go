package libvirt

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/libvirt/conn"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/failure"
)

// store keeps the images of all labs of this user.
func (v *virt) store() image.Store { return image.Store{Dir: filepath.Join(v.home, "images")} }

// createImage brings an image to the host: once, whoever uses it.
func (v *virt) createImage(ctx context.Context, r provider.Resource, p provider.Progress) error {
	var a imageAttrs
	if err := decode(r.Addr, r.Attrs, &a); err != nil {
		return err
	}
	return v.ensureImage(ctx, a, p)
}

func (v *virt) ensureImage(ctx context.Context, a imageAttrs, p provider.Progress) error {
	there, err := v.imageThere(ctx, a.Pool, a.ID)
	if err != nil || there {
		return err
	}
	local, err := v.store().Ensure(ctx, a.Source, func(phase string, done, total int64) {
		p(provider.Step{Phase: phase, Done: done, Total: total})
	})
	if err != nil {
		return failure.Image(err)
	}
	return v.inPool(ctx, a.Pool, func(pool *poolAt) error { return v.bring(ctx, pool, local, p) })
}

// imageThere says whether all of an image is on the host.
func (v *virt) imageThere(ctx context.Context, ref, id string) (bool, error) {
	there := false
	err := v.inPool(ctx, ref, func(p *poolAt) error {
		return v.host.Ask(ctx, "look for image "+id, func(c *libvirt.Libvirt) error {
			for _, name := range []string{imageVolume(id), imageMark(id)} {
				if _, err := c.StorageVolLookupByName(p.pool, name); err != nil {
					if conn.Is(err, libvirt.ErrNoStorageVol) {
						return nil
					}
					return err
				}
			}
			there = true
			return nil
		})
	})
	return there, err
}

// bring uploads the parts of an image, and when all have arrived makes its mark. A volume that is there without the
// mark was left by an upload that was cut short, or is of one under way: libvirt does not let go of those.
func (v *virt) bring(ctx context.Context, pool *poolAt, local image.Local, p provider.Progress) error {
	parts := []part{}
	if local.Kernel != "" && local.Initrd != "" {
		parts = append(parts, part{name: imageFile(local.ID, "vmlinuz"), file: local.Kernel}, part{name: imageFile(local.ID, "initrd"), file: local.Initrd},
			part{name: imageFile(local.ID, "cmdline"), text: []byte(local.Cmdline + "\n")})
	}
	parts = append(parts, part{name: imageVolume(local.ID), file: local.Disk, format: "qcow2"})
	for _, x := range parts {
		if err := v.fill(ctx, pool, x, local.ID, p); err != nil {
			return err
		}
		if there, err := v.imageThere(ctx, pool.path, local.ID); err != nil || there { // somebody else was faster
			return err
		}
	}
	err := v.host.Ask(ctx, "verify image "+local.Name, func(c *libvirt.Libvirt) error {
		for _, x := range parts {
			if _, err := c.StorageVolLookupByName(pool.pool, x.name); conn.Is(err, libvirt.ErrNoStorageVol) {
				return &provider.Error{Code: provider.Busy, Text: "somebody else has just removed " + x.name}
			}
		}
		return verifyImage(c, pool.pool, local)
	})
	if err != nil {
		return err
	}
	return v.host.Ask(ctx, "mark image "+local.Name+" as complete", func(c *libvirt.Libvirt) error {
		err := makeVolume(c, pool.pool, libvirtxml.StorageVolume{Name: imageMark(local.ID), Capacity: &libvirtxml.StorageVolumeSize{}})
		if conn.Is(err, libvirt.ErrStorageVolExist) {
			return nil
		}
		return err
	})
}

// part is one volume of an image: a file of this host, or a text.
type part struct {
	name, file string
	text       []byte
	format     string // "" is raw
}

// open returns what a part consists of, and how many bytes that is.
func (x part) open() (io.ReadCloser, int64, error) {
	if x.file == "" {
		return io.NopCloser(bytes.NewReader(x.text)), int64(len(x.text)), nil
	}
	f, err := os.Open(x.file)
	if err != nil {
		return nil, 0, failure.File(err)
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, failure.File(err)
	}
	return f, st.Size(), nil
}

// othersDeadline is how long somebody else's upload of an image is waited for after it last grew.
const othersDeadline = 2 * time.Minute

// fill makes a volume of a part, in place of one that is not whole. id is the image's.
func (v *virt) fill(ctx context.Context, pool *poolAt, x part, id string, p provider.Progress) error {
	if done, err := v.clearOut(ctx, pool, x.name, id, p); err != nil || done {
		return err
	}
	r, size, err := x.open()
	if err != nil {
		return err
	}
	defer r.Close()
	def := libvirtxml.StorageVolume{Name: x.name, Capacity: &libvirtxml.StorageVolumeSize{Unit: "bytes", Value: uint64(size)}}
	if x.format != "" { // an empty one for now, which the upload writes over: so libvirt knows from the start what it is
		def.Capacity.Value = 512
		def.Target = &libvirtxml.StorageVolumeTarget{Format: &libvirtxml.StorageVolumeTargetFormat{Type: x.format}, Permissions: &libvirtxml.StorageVolumeTargetPermissions{Mode: "0644"}}
	}
	var vol libvirt.StorageVol
	err = v.host.Ask(ctx, "create volume "+x.name, func(c *libvirt.Libvirt) error {
		err := makeVolume(c, pool.pool, def)
		if conn.Is(err, libvirt.ErrStorageVolExist) {
			return &provider.Error{Code: provider.Busy, Text: "somebody else has just begun to upload " + x.name}
		}
		if err != nil {
			return err
		}
		vol, err = c.StorageVolLookupByName(pool.pool, x.name)
		return err
	})
	if err != nil {
		return err
	}
	return v.host.Upload(ctx, vol, &counted{ctx: ctx, r: r, total: size, p: p}, 0)
}

// clearOut removes a volume that is in the way. done says that the image has become whole meanwhile.
func (v *virt) clearOut(ctx context.Context, pool *poolAt, name, id string, p provider.Progress) (done bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var last uint64
	grew := time.Now()
	for seen := 0; ; seen++ {
		var size uint64
		busy, absent := false, false
		err := v.host.Ask(ctx, "clear volume "+name, func(c *libvirt.Libvirt) error {
			vol, err := c.StorageVolLookupByName(pool.pool, name)
			if conn.Is(err, libvirt.ErrNoStorageVol) {
				absent = true
				return nil
			}
			if err != nil {
				return err
			}
			if _, _, size, err = c.StorageVolGetInfo(vol); gone(err) {
				absent = true
				return nil
			} else if err != nil {
				return err
			}
			if seen == 0 { // between two parts of somebody else's upload is a moment in which nothing is under way
				return nil
			}
			err = removeVolume(c, vol)
			busy = provider.CodeOf(err) == provider.Busy
			absent = err == nil
			if busy {
				return nil
			}
			return err
		})
		if err != nil || absent {
			return false, err
		}
		if done, err = v.imageThere(ctx, pool.path, id); err != nil || done {
			return done, err
		}
		if size != last {
			last, grew = size, time.Now()
		}
		if time.Since(grew) > othersDeadline {
			return false, &provider.Error{Code: provider.InUse, Text: fmt.Sprintf("somebody else's upload of %s has not grown for %s", name, othersDeadline)}
		}
		if busy {
			p(provider.Step{Phase: "waiting for another upload", Done: int64(size)})
		}
		select {
		case <-ctx.Done():
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// verifyImage compares what has arrived with what was sent.
func verifyImage(c *libvirt.Libvirt, pool libvirt.StoragePool, local image.Local) error {
	vol, err := c.StorageVolLookupByName(pool, imageVolume(local.ID))
	if err != nil {
		return err
	}
	s, err := lookVolume(c, vol)
	if err != nil {
		return err
	}
	st, err := os.Stat(local.Disk)
	if err != nil {
		return failure.File(err)
	}
	if s == nil || s.format != "qcow2" || s.capacity != local.Size || s.physical < lab.Bytes(st.Size()) {
		return &provider.Error{Code: provider.Corrupt, Text: fmt.Sprintf("volume %s is not what was uploaded: %+v", vol.Name, s)}
	}
	return nil
}

// makeVolume creates a volume.
func makeVolume(c *libvirt.Libvirt, pool libvirt.StoragePool, x libvirtxml.StorageVolume) error {
	text, err := x.Marshal()
	if err != nil {
		return err
	}
	_, err = c.StorageVolCreateXML(pool, text, 0)
	return err
}

// counted tells how much has been read, and ends with its context.
type counted struct {
	ctx         context.Context // of the reading: Read has none
	r           io.Reader
	done, total int64
	told        time.Time
	p           provider.Progress
}

func (r *counted) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.r.Read(b)
	r.done += int64(n)
	if now := time.Now(); now.Sub(r.told) > 100*time.Millisecond || r.done == r.total {
		r.told = now
		r.p(provider.Step{Phase: "uploading", Done: r.done, Total: r.total})
	}
	return n, err
}

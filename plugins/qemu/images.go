package qemu

import (
	"context"
	"path/filepath"

	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/failure"
)

// store keeps the images of all labs of this user.
func (q *qemu) store() image.Store { return image.Store{Dir: filepath.Join(q.home, "images")} }

func (q *qemu) createImage(ctx context.Context, r provider.Resource, p provider.Progress) error {
	var a imageAttrs
	if err := decode(r.Addr, r.Attrs, &a); err != nil {
		return err
	}
	_, err := q.store().Ensure(ctx, a.Source, func(phase string, done, total int64) {
		p(provider.Step{Phase: phase, Done: done, Total: total})
	})
	return failure.Image(err)
}

// localImage is the image with an identity. A damaged one elsewhere in the store does not matter.
func (q *qemu) localImage(id string) (image.Local, error) {
	list, err := q.store().List()
	for _, l := range list {
		if l.ID == id {
			return l, nil
		}
	}
	if err != nil {
		return image.Local{}, failure.Image(err)
	}
	return image.Local{}, &provider.Error{Code: provider.NotFound, Text: "image " + id + " is not in the store"}
}

// loadKernel fills in what a machine that starts by its image's kernel is started with.
func (q *qemu) loadKernel(d *definition) error {
	if d.Attrs.Firmware != lab.Kernel {
		return nil
	}
	l, err := q.localImage(d.Attrs.Image)
	if err != nil {
		return err
	}
	if l.Kernel == "" {
		return &provider.Error{Code: provider.Unsupported, Text: "image " + l.Name + " offers no kernel"}
	}
	d.Kernel, d.Initrd, d.Cmdline = l.Kernel, l.Initrd, l.Cmdline
	return nil
}

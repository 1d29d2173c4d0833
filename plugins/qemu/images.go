package qemu

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
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
	return imageError(err)
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
		return image.Local{}, imageError(err)
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

// imageError gives the image store's errors the provider's codes; nil stays nil.
func imageError(err error) error {
	var e *image.Error
	if !errors.As(err, &e) {
		return fileError(err)
	}
	codes := map[image.Code]provider.Code{
		image.Invalid: provider.Invalid, image.Unreachable: provider.Unavailable, image.Stalled: provider.Unavailable, image.Truncated: provider.Unavailable,
		image.Refused: provider.NotFound, image.Digest: provider.Corrupt, image.Corrupt: provider.Corrupt, image.Full: provider.Full,
		image.Denied: provider.Denied, image.NotFound: provider.NotFound, image.Ambiguous: provider.Invalid, image.Canceled: provider.Canceled,
		image.MissingTool: provider.Missing,
	}
	code, ok := codes[e.Code]
	if !ok {
		code = provider.Internal
	}
	text := e.Text
	if code == provider.Missing && len(e.Tools) > 0 {
		text = e.Tools[0].Name
	}
	return &provider.Error{Code: code, Text: text}
}

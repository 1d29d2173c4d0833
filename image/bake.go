package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/labctl-dev/labctl/lab"
)

// Bake is what an image gets besides what its base has.
type Bake struct {
	Packages []string     `json:"packages"` // sorted
	Sources  []lab.Source `json:"sources,omitempty"`
}

// Baked is the image that base becomes with b in it. The same base and Bake are the same image; nothing needs to be
// there for that to be known.
func Baked(base lab.Image, b Bake) lab.Image {
	text, _ := json.Marshal(b) // plain strings: cannot fail
	h := sha256.Sum256(text)
	base.Baked = hex.EncodeToString(h[:6])
	base.Name += "+" + base.Baked
	base.MinDisk = 0 // its disk is larger than the base's by what it holds
	return base
}

// Bake makes Baked(base, b), whose base is built from packages and which needs no other sources than that, anew: the
// base's recipe with more packages.
func (s Store) Bake(ctx context.Context, base lab.Image, b Bake, progress func(phase string, done, total int64)) (Local, error) {
	if base.Build == nil || len(b.Sources) > 0 {
		return Local{}, fail(Invalid, base.Name, nil, "image %s cannot be built with more packages: it is downloaded, or they are from other archives", base.Name)
	}
	more := base
	recipe := *base.Build
	recipe.Packages = slices.Concat(recipe.Packages, b.Packages)
	more.Build = &recipe
	return s.locked(ctx, Baked(base, b), true, progress, func(work string) (record, error) { return build(ctx, more, work, progress) })
}

// Adopt takes a disk for Baked(base, b), which somebody has started from base, filled and stopped. The file is left alone.
// What the base offers its machines by, a kernel, the new image offers, too.
func (s Store) Adopt(ctx context.Context, base lab.Image, b Bake, disk string, progress func(phase string, done, total int64)) (Local, error) {
	from, ok, err := s.Find(base)
	if err == nil && !ok {
		err = fail(NotFound, base.Name, nil, "image %s is not in %s", base.Name, s.Dir)
	}
	if err != nil {
		return Local{}, err
	}
	i := Baked(base, b)
	return s.locked(ctx, i, true, progress, func(work string) (record, error) {
		r := record{Arch: base.Arch, Cmdline: from.Cmdline}
		for _, file := range []struct {
			path string
			name *string
		}{{from.Kernel, &r.Kernel}, {from.Initrd, &r.Initrd}} {
			if file.path == "" {
				continue
			}
			*file.name = filepath.Base(file.path)
			if err := copyFile(file.path, filepath.Join(work, *file.name)); err != nil {
				return r, fail(Failed, i.Name, err, "cannot keep image %s", i.Name)
			}
		}
		progress("compressing", 0, 0)
		t := tools{image: i.Name}
		out := filepath.Join(work, diskFile)
		if err := t.run(ctx, nil, "qemu-img", "convert", "-q", "-c", "-W", "-O", "qcow2", "-o", "compression_type=zstd", disk, out); err != nil {
			return r, fail(Failed, i.Name, err, "cannot keep image %s", i.Name)
		}
		info, err := detect(out)
		if err != nil {
			return r, fail(Failed, i.Name, err, "cannot keep image %s", i.Name)
		}
		r.Size = lab.Bytes(info.Size)
		return r, nil
	})
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

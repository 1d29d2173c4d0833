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

	"github.com/klauspost/compress/zstd"

	"github.com/labctl-dev/labctl/install"
	"github.com/labctl-dev/labctl/install/serve"
)

// packFolder is where an image's pack is, in the image's own folder: it goes with it.
const (
	packFolder = "install"
	packDisk   = "disk.zst"
	packRecord = "image.json"
)

// Pack makes of an image in the store what machines install themselves from: a folder with disk.zst and image.json (package
// install/serve says what they are). One that is there already is verified; a damaged one is made anew. It may be called by
// several processes at once.
func (s Store) Pack(ctx context.Context, l Local, progress Progress) (dir string, err error) {
	dir = filepath.Join(filepath.Dir(l.Disk), packFolder)
	unlock, err := s.lock(ctx, short(l.ID), func() { progress("waiting for another process", 0, 0) })
	if err != nil {
		return "", fail(Denied, l.Name, err, "cannot make image %s ready to be installed", l.Name)
	}
	defer unlock()
	if packed(ctx, dir, progress) {
		return dir, nil
	}
	if err := ctx.Err(); err != nil {
		return "", fail(Failed, l.Name, err, "cannot make image %s ready to be installed", l.Name)
	}
	work := s.work(short(l.ID)) + "-" + packFolder
	defer os.RemoveAll(work)
	if err := errors.Join(os.RemoveAll(work), os.Mkdir(work, 0o755)); err != nil {
		return "", fail(Denied, l.Name, err, "cannot make image %s ready to be installed", l.Name)
	}
	if err := pack(ctx, l, work, progress); err != nil {
		return "", fail(Failed, l.Name, err, "cannot make image %s ready to be installed", l.Name)
	}
	if err := replace(work, dir); err != nil {
		return "", fail(Denied, l.Name, err, "cannot keep image %s", l.Name)
	}
	return dir, nil
}

// packed says whether a pack is there and whole.
func packed(ctx context.Context, dir string, progress Progress) bool {
	var r serve.Image
	b, err := os.ReadFile(filepath.Join(dir, packRecord))
	if err != nil || json.Unmarshal(b, &r) != nil {
		return false
	}
	got, n, err := sum(ctx, filepath.Join(dir, packDisk), func(n int64) { progress("verifying", n, r.Length) })
	return err == nil && n == r.Length && got == "sha256:"+r.SHA256
}

func pack(ctx context.Context, l Local, work string, progress Progress) error {
	progress("unpacking", 0, 0)
	raw := filepath.Join(work, "disk.raw")
	t := tools{image: l.Name}
	if err := need(l.Name, []Tool{{"qemu-img", "qemu-utils"}}); err != nil {
		return err
	}
	if err := t.run(ctx, nil, "qemu-img", "convert", "-q", "-f", l.Format, "-O", "raw", l.Disk, raw); err != nil {
		return err
	}
	r, err := squeeze(ctx, raw, filepath.Join(work, packDisk), progress)
	if err != nil {
		return err
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return errors.Join(os.Remove(raw), os.WriteFile(filepath.Join(work, packRecord), append(b, '\n'), 0o444))
}

// squeeze compresses a disk.
func squeeze(ctx context.Context, raw, to string, progress Progress) (r serve.Image, err error) {
	in, err := os.Open(raw)
	if err != nil {
		return r, err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return r, err
	}
	out, err := os.Create(to)
	if err != nil {
		return r, err
	}
	defer out.Close()
	h := sha256.New()
	z, err := zstd.NewWriter(io.MultiWriter(out, h), zstd.WithEncoderLevel(zstd.SpeedDefault))
	if err != nil {
		return r, err
	}
	defer z.Close()
	buf := make([]byte, 4<<20)
	for done := int64(0); ; {
		n, err := in.Read(buf)
		if err == io.EOF {
			break
		}
		if err == nil {
			_, err = z.Write(buf[:n])
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return r, err
		}
		done += int64(n)
		progress("compressing", done, info.Size())
	}
	if err := errors.Join(z.Close(), out.Sync(), out.Chmod(0o444)); err != nil {
		return r, err
	}
	n, err := out.Seek(0, io.SeekEnd)
	return serve.Image{SHA256: hex.EncodeToString(h.Sum(nil)), Length: n, Size: info.Size(), Format: install.Zstd}, err
}

package image

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/labctl-dev/labctl/image/fetch"
	"github.com/labctl-dev/labctl/image/format"
	"github.com/labctl-dev/labctl/lab"
)

// stall is how long a download may stand still.
const stall = 30 * time.Second

// pull downloads an image and makes a qcow2 disk of it in work.
func (s Store) pull(ctx context.Context, i lab.Image, folder, work string, progress Progress) (record, error) {
	digest, err := fetch.ParseDigest(i.Digest)
	if err != nil {
		return record{}, fail(Invalid, i.Name, nil, "image %s: %v", i.Name, err)
	}
	part := s.part(folder)
	err = fetch.Get(ctx, fetch.Request{URL: i.URL, Digest: digest, Part: part, Stall: s.stall(),
		Progress: func(done, total int64) { progress("downloading", done, total) }})
	if err != nil {
		e := fail(Failed, i.Name, err, "cannot download image %s from", i.Name)
		e.Text = strings.Replace(e.Text, " from: ", " from ", 1)
		if e.Code == Unreachable || e.Code == Refused || e.Code == Stalled {
			e.Text += offer(i)
		}
		return record{}, e
	}
	// From here on the part is complete and checked; it stays until the image is made, so that a full disk or a missing
	// tool does not cost the download.
	c := converter{tools{image: i.Name}, progress}
	size, err := c.convert(ctx, part, work)
	if err != nil {
		if code := CodeOf(err); code == Invalid {
			os.Remove(part)
		}
		return record{}, fail(Failed, i.Name, err, "cannot use image %s: what %s serves", i.Name, i.URL)
	}
	return record{Size: size}, nil
}

func (s Store) stall() time.Duration {
	if s.Stall > 0 {
		return s.Stall
	}
	return stall
}

// CodeOf is the code of the *Error in err's chain; "" if there is none.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// offer is what to do where a distribution's download host cannot be reached.
func offer(i lab.Image) string {
	arch := ""
	if i.Arch == lab.ARM64 {
		arch = "-arm64"
	}
	if strings.HasPrefix(i.Name, "debian-12") {
		name := "debian-12-minimal" + arch
		return fmt.Sprintf("; build one from packages instead: image: %q (labctl image build %s)", name, name)
	}
	for _, d := range []struct{ prefix, distribution, release string }{
		{"debian-13", "debian", "trixie"}, {"ubuntu-24.04", "ubuntu", "noble"}, {"ubuntu-22.04", "ubuntu", "jammy"},
	} {
		if strings.HasPrefix(i.Name, d.prefix) {
			return fmt.Sprintf("; build one from packages instead: images: %q: {build: {distribution: %q, release: %q}, kernel: true}",
				d.prefix+"-minimal"+arch, d.distribution, d.release)
		}
	}
	return `; or build one from packages: image: "debian-12-minimal` + arch + `"`
}

// converter makes disk.qcow2 of a downloaded file.
type converter struct {
	tools    tools
	progress Progress
}

func (c converter) convert(ctx context.Context, file, work string) (lab.Bytes, error) {
	info, err := detect(file)
	if err != nil {
		return 0, err
	}
	if info.Kind == format.Gzip || info.Kind == format.Xz || info.Kind == format.Zstd {
		plain := filepath.Join(work, "plain")
		if err := c.unpack(ctx, info.Kind, file, plain); err != nil {
			return 0, err
		}
		defer os.Remove(plain)
		file = plain
		if info, err = detect(file); err != nil {
			return 0, err
		}
	}
	disk := filepath.Join(work, diskFile)
	switch info.Kind {
	case format.Qcow2:
		return info.Size, os.Rename(file, disk)
	case format.Raw:
		if err := need(c.tools.image, []Tool{{"qemu-img", "qemu-utils"}}); err != nil {
			return 0, err
		}
		c.progress("converting", 0, 0)
		err := c.tools.run(ctx, nil, "qemu-img", "convert", "-q", "-c", "-W", "-f", "raw", "-O", "qcow2",
			"-o", "compression_type=zstd", file, disk)
		if err != nil {
			return 0, err
		}
		info, err = detect(disk) // qemu-img rounds up to whole sectors
		return info.Size, err
	}
	return 0, fail(Invalid, c.tools.image, nil, "is compressed twice")
}

func detect(file string) (format.Info, error) {
	f, err := os.Open(file)
	if err != nil {
		return format.Info{}, err
	}
	defer f.Close()
	s, err := f.Stat()
	if err != nil {
		return format.Info{}, err
	}
	info, err := format.Detect(f, s.Size())
	if err != nil {
		return info, fail(Invalid, "", nil, "%v", err)
	}
	return info, nil
}

// unpack decompresses; runs of zeros become holes, since a raw disk is mostly empty.
func (c converter) unpack(ctx context.Context, kind format.Kind, from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	w := &sparse{f: out, tell: func(n int64) { c.progress("unpacking", n, 0) }}
	switch kind {
	case format.Gzip:
		var z *gzip.Reader
		if z, err = gzip.NewReader(in); err == nil {
			_, err = io.Copy(w, contextReader{ctx, z})
			if err != nil && !errors.Is(err, ctx.Err()) && !isFull(err) {
				err = fail(Invalid, c.tools.image, nil, "is damaged gzip data: %v", err)
			}
		}
	case format.Xz:
		err = c.tools.filter(ctx, in, w, Tool{"xz", "xz-utils"}, "-dc")
	default:
		err = c.tools.filter(ctx, in, w, Tool{"zstd", "zstd"}, "-dc")
	}
	return errors.Join(err, w.finish())
}

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// sparse writes a file in blocks and skips those that are zero.
type sparse struct {
	f    *os.File
	at   int64
	buf  []byte
	tell func(int64)
}

const block = 64 << 10

func (s *sparse) Write(p []byte) (int, error) {
	s.buf = append(s.buf, p...)
	for len(s.buf) >= block {
		if err := s.put(s.buf[:block]); err != nil {
			return 0, err
		}
		s.buf = s.buf[block:]
	}
	s.tell(s.at)
	return len(p), nil
}

func (s *sparse) put(b []byte) error {
	for _, c := range b {
		if c != 0 {
			_, err := s.f.WriteAt(b, s.at)
			s.at += int64(len(b))
			return err
		}
	}
	s.at += int64(len(b))
	return nil
}

func (s *sparse) finish() error {
	return errors.Join(s.put(s.buf), s.f.Truncate(s.at), s.f.Close())
}

package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/labctl-dev/labctl/image/gpt"
)

// medium is a disk that is written.
type medium interface {
	io.WriterAt
	// Zero makes n bytes zero.
	Zero(at, n int64) error
	Sync() error
	Sectors() uint64
}

// writing is an image on its way to a disk.
type writing struct {
	to   medium
	size int64
	head []byte // the first headBytes, which are kept back
	at   int64
	fits func(head []byte) error // is asked before anything is written
	done func()
}

// image writes an image but for its head, which it returns. Until somebody writes that, the disk does not boot and has
// no partitions, whatever was there before. seed is the size of what is to follow it, in bytes: that both fit is seen first.
func (in *Installer) image(ctx context.Context, to medium, im Image, seed int64) ([]byte, error) {
	if uint64(im.Size) > to.Sectors()*sector {
		return nil, fmt.Errorf("the disk has %d MiB; the image needs %d MiB", to.Sectors()*sector>>20, im.Size>>20)
	}
	if im.Size < headBytes {
		return nil, fmt.Errorf("the image has %d bytes; that is no disk with partitions", im.Size)
	}
	if err := unmake(to); err != nil {
		return nil, err
	}
	src := open(ctx, in.http, im.Source, in.Wait, func(err error) { in.report.retried("image", err) })
	defer src.Close()
	var plain io.Reader = src
	if im.Format == Zstd {
		z, err := zstd.NewReader(src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, err
		}
		defer z.Close()
		plain = z
	}
	w := writing{to: to, size: im.Size, fits: func(head []byte) error { _, err := arrange(head, to.Sectors(), seed); return err }, done: func() { in.report.done(ctx, src.at, src.src.Length) }}
	err := w.all(plain)
	// Whatever is wrong with what came, that it is not what was ordered is why: so the rest is read, too.
	if _, e := io.Copy(io.Discard, src); e != nil && ctx.Err() == nil {
		return nil, e
	}
	if err != nil {
		return nil, fmt.Errorf("writing the image: %w", err)
	}
	return w.head, to.Sync()
}

// unmake takes a disk's partition table away, at both ends, so that it does not boot half written.
func unmake(to medium) error {
	if to.Sectors() < (headBytes/sector)+gpt.Tail {
		return fmt.Errorf("the disk has %d sectors; that is too small for anything", to.Sectors())
	}
	for _, r := range [][2]int64{{0, headBytes}, {int64(to.Sectors()-gpt.Tail) * sector, gpt.Tail * sector}} {
		if err := to.Zero(r[0], r[1]); err != nil {
			return err
		}
	}
	return to.Sync()
}

// all writes what r holds: exactly size bytes. Zeros are not written but made.
func (w *writing) all(r io.Reader) error {
	buf := make([]byte, headBytes)
	for {
		n, err := io.ReadFull(r, buf)
		if n > 0 {
			if w.at+int64(n) > w.size {
				return fmt.Errorf("it is larger than the %d bytes that the order says", w.size)
			}
			if err := w.put(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			if w.at != w.size {
				return fmt.Errorf("it ends after %d bytes; the order says %d", w.at, w.size)
			}
			return nil
		default:
			return err
		}
	}
}

func (w *writing) put(b []byte) (err error) {
	switch {
	case w.at == 0:
		w.head = bytes.Clone(b)
		err = w.fits(w.head)
	case zeros(b):
		err = w.to.Zero(w.at, int64(len(b)))
	default:
		_, err = w.to.WriteAt(b, w.at)
	}
	w.at += int64(len(b))
	w.done()
	return err
}

func zeros(b []byte) bool { return len(bytes.TrimLeft(b, "\x00")) == 0 }

package qemu

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/failure"
	"github.com/labctl-dev/labctl/provider/files"
)

// label lies beside a disk, for what a qcow2 file does not say.
type label struct {
	// ID is new for every new disk, so that marks of what was true on an old one can be told apart.
	ID      string `json:"id"`
	Image   string `json:"image,omitempty"`
	Boot    bool   `json:"boot,omitempty"` // attached as NVMe: diskAttrs.BootSize
	Protect bool   `json:"protect,omitempty"`
	// Install is diskAttrs.Install, and Made when such a disk was made: what was reported before is about another one.
	Install string    `json:"install,omitempty"`
	Made    time.Time `json:"made,omitzero"`
}

func (ds dirs) label(machine, disk string) string {
	return filepath.Join(ds.disks(machine), disk+".json")
}

func (ds dirs) loadLabel(machine, disk string) (label, error) {
	var l label
	b, err := os.ReadFile(ds.label(machine, disk))
	if err == nil {
		err = json.Unmarshal(b, &l)
	}
	return l, err
}

func (ds dirs) saveLabel(machine, disk string, l label) error {
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	return files.Write(ds.label(machine, disk), append(b, '\n'), 0o644)
}

func (q *qemu) createDisk(ctx context.Context, r provider.Resource, p provider.Progress) error {
	var a diskAttrs
	if err := decode(r.Addr, r.Attrs, &a); err != nil {
		return err
	}
	machine, disk, err := r.Addr.Disk()
	if err != nil {
		return err
	}
	ds := q.dirs(r.Lab)
	if err := ds.make(); err != nil {
		return err
	}
	path := ds.disk(machine, disk)
	if exists(path) {
		return q.changeDisk(ctx, r, p)
	}
	if err := q.detach(ctx, machine, disk, ds, p); err != nil {
		return err
	}
	file, err := ds.settle(a.Pool, machine, disk)
	if err != nil {
		return err
	}
	args := []string{"create", "-q", "-f", "qcow2"}
	if a.Image != "" {
		base, err := q.localImage(a.Image)
		if err != nil {
			return err
		}
		if a.bytes() < base.Size {
			return &provider.Error{Code: provider.Invalid, Text: fmt.Sprintf("%s is smaller than its image, which has %s", a.bytes(), base.Size)}
		}
		if a.Install == "" {
			args = append(args, "-b", base.Disk, "-F", base.Format)
		}
	}
	l := label{ID: rand.Text(), Image: a.Image, Boot: a.BootSize != 0, Protect: a.Protect, Install: a.Install}
	if l.Install != "" {
		l.Made = time.Now()
	}
	if err := ds.saveLabel(machine, disk, l); err != nil {
		return err
	}
	// The disk appears under its name when it is whole.
	tmp := file + ".new"
	defer os.Remove(tmp)
	if _, err := q.img(ctx, append(args, tmp, strconv.FormatUint(uint64(a.bytes()), 10))...); err != nil {
		return err
	}
	return failure.File(os.Rename(tmp, file))
}

// detach ends a machine that still runs from a disk whose file is gone, so that it is started with the new one.
func (q *qemu) detach(ctx context.Context, machine, disk string, ds dirs, p provider.Progress) error {
	c, err := q.monitor(ctx, ds, machine, ds.qmp(machine))
	if err != nil {
		return err
	}
	if c == nil {
		s, err := ds.loadSaved(machine)
		if err == nil && s != nil && slices.Contains(s.Attrs.Disks, disk) {
			err = ds.dropSaved(machine) // memory of a disk that is no more
		}
		return err
	}
	actx, cancel := context.WithTimeout(ctx, answerDeadline)
	defer cancel()
	l, err := ask(actx, c)
	c.Close()
	if err != nil {
		return silent(machine, err)
	}
	for _, d := range l.attrs.Disks {
		if d == disk {
			return q.stop(ctx, machine, ds, 0, p)
		}
	}
	return nil
}

// changeDisk makes a disk that exists what r says, as far as that loses no data.
func (q *qemu) changeDisk(ctx context.Context, r provider.Resource, p provider.Progress) error {
	var a diskAttrs
	if err := decode(r.Addr, r.Attrs, &a); err != nil {
		return err
	}
	machine, disk, err := r.Addr.Disk()
	if err != nil {
		return err
	}
	ds := q.dirs(r.Lab)
	if err := q.finishRestore(ctx, machine, ds, p); err != nil {
		return err
	}
	l, err := ds.loadLabel(machine, disk)
	if err != nil {
		l = label{ID: rand.Text(), Image: a.Image, Install: a.Install}
	}
	if l.Image != a.Image || l.Install != a.Install {
		return &provider.Error{Code: provider.Invalid, Text: "the disk is made from another image; only a reinstall changes that"}
	}
	if pool, _ := ds.poolOf(machine, disk); pool != a.Pool {
		return &provider.Error{Code: provider.Invalid, Text: "the disk is in another place; only a reinstall changes that"}
	}
	head, err := readHeader(ds.disk(machine, disk))
	if err != nil {
		return err
	}
	if head.size > a.bytes() {
		return &provider.Error{Code: provider.Invalid, Text: fmt.Sprintf("a disk cannot shrink from %s to %s", head.size, a.bytes())}
	}
	if head.size < a.bytes() {
		p(provider.Step{Phase: "growing"})
		if err := q.grow(ctx, a, machine, disk, ds, p); err != nil {
			return err
		}
	}
	l.Boot, l.Protect = a.BootSize != 0, a.Protect
	return ds.saveLabel(machine, disk, l)
}

// grow makes a disk larger: while its machine runs, or, if it is the NVMe disk that the machine boots from, in a
// pause between two runs.
func (q *qemu) grow(ctx context.Context, a diskAttrs, machine, disk string, ds dirs, p provider.Progress) error {
	if err := q.wake(ctx, machine, ds, p); err != nil { // its guest has to see it
		return err
	}
	c, err := q.monitor(ctx, ds, machine, ds.qmp(machine))
	if err != nil {
		return err
	}
	if c != nil {
		defer c.Close()
		rctx, cancel := context.WithTimeout(ctx, answerDeadline)
		defer cancel()
		l, err := ask(rctx, c)
		if err != nil {
			return silent(machine, err)
		}
		attached := false
		for _, d := range l.attrs.Disks {
			attached = attached || d == disk
		}
		switch {
		case !attached:
		case l.attrs.Disks[0] == disk && l.attrs.Firmware == lab.Kernel:
			c.Close()
			return q.growBetween(ctx, a, machine, disk, ds, p)
		default:
			return refusal(machine, c.Execute(rctx, "block_resize", map[string]any{"node-name": node(disk), "size": a.bytes()}, nil))
		}
	}
	return q.growFile(ctx, a, ds.disk(machine, disk))
}

func (q *qemu) growBetween(ctx context.Context, a diskAttrs, machine, disk string, ds dirs, p provider.Progress) error {
	if err := q.stop(ctx, machine, ds, q.opts.stopAfter(), p); err != nil {
		return err
	}
	if err := q.growFile(ctx, a, ds.disk(machine, disk)); err != nil {
		return err
	}
	d, err := ds.load(machine)
	if err != nil || d == nil {
		return err
	}
	return q.boot(ctx, *d, ds, p)
}

func (q *qemu) growFile(ctx context.Context, a diskAttrs, path string) error {
	_, err := q.img(ctx, "resize", "-q", "-f", "qcow2", path, strconv.FormatUint(uint64(a.bytes()), 10))
	return err
}

func (q *qemu) img(ctx context.Context, args ...string) (string, error) {
	bin, err := q.binary("qemu-img")
	if err != nil {
		return "", err
	}
	return run(ctx, bin, args...)
}

func (q *qemu) deleteDisk(ctx context.Context, o provider.Observed, p provider.Progress) error {
	machine, disk, err := o.Addr.Disk()
	if err != nil {
		return err
	}
	ds := q.dirs(o.Lab)
	if o.Attrs["protect"] == true {
		if err := q.keep(ds, machine, disk, p); err != nil {
			return err
		}
	}
	if err := ds.unpool(machine, disk); err != nil {
		return err
	}
	for _, path := range []string{ds.disk(machine, disk), ds.disk(machine, disk) + ".new", ds.label(machine, disk)} {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return failure.File(err)
		}
	}
	os.Remove(ds.disks(machine)) // if it is empty now
	return nil
}

// header is what a qcow2 file says of itself in its first bytes
// (https://www.qemu.org/docs/master/interop/qcow2.html).
type header struct {
	size    lab.Bytes
	backing string // path of the base, "" if there is none
}

func readHeader(path string) (header, error) {
	f, err := os.Open(path)
	if err != nil {
		return header{}, failure.File(err)
	}
	defer f.Close()
	corrupt := func(why string) (header, error) {
		return header{}, &provider.Error{Code: provider.Corrupt, Text: path + " is no qcow2 file: " + why}
	}
	b := make([]byte, 32)
	if _, err := io.ReadFull(f, b); err != nil {
		return corrupt("it is too short")
	}
	if string(b[:4]) != "QFI\xfb" {
		return corrupt("wrong magic number")
	}
	h := header{size: lab.Bytes(binary.BigEndian.Uint64(b[24:]))}
	at, n := binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint32(b[16:])
	if at == 0 {
		return h, nil
	}
	if n > 1023 || at > 1<<32 {
		return corrupt("the base's name is too long")
	}
	name := make([]byte, n)
	if _, err := f.ReadAt(name, int64(at)); err != nil {
		return corrupt("it is too short")
	}
	h.backing = string(name)
	return h, nil
}

package nspawn

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/failure"
)

// label says what a disk is. The size of one that a machine starts from stands here only: a folder has no limit.
type label struct {
	// ID is new for every new disk, so that marks of what was true on an old one can be told apart.
	ID string `json:"id"`
	diskAttrs
}

func (ds dirs) loadLabel(machine, disk string) (label, error) {
	var l label
	b, err := os.ReadFile(ds.label(machine, disk))
	if err == nil {
		err = json.Unmarshal(b, &l)
	}
	return l, err
}

// putDisk makes a disk, or makes the one that there is what r says, as far as that loses no data.
func (s *nspawn) putDisk(ctx context.Context, r provider.Resource, p provider.Progress) error {
	var a diskAttrs
	if err := decode(r.Addr, r.Attrs, &a); err != nil {
		return err
	}
	machine, disk, err := r.Addr.Disk()
	if err != nil {
		return err
	}
	ds := s.dirs(r.Lab)
	if err := ds.make(); err != nil {
		return err
	}
	l, err := ds.loadLabel(machine, disk)
	switch {
	case os.IsNotExist(err):
		l = label{ID: rand.Text(), diskAttrs: a}
		if err := s.newDisk(ctx, ds, machine, disk, p); err != nil {
			return err
		}
		if a.Image != "" {
			if err := os.MkdirAll(ds.root(machine, disk), 0o755); err != nil {
				return failure.File(err)
			}
		}
	case err != nil:
		return failure.File(err)
	case l.Image != a.Image:
		return &provider.Error{Code: provider.Invalid, Text: "the disk is made from another image; only a reinstall changes that"}
	case l.Size > a.Size:
		return &provider.Error{Code: provider.Invalid, Text: fmt.Sprintf("a disk cannot shrink from %s to %s", l.Size, a.Size)}
	}
	if a.Image == "" {
		if err := grow(ctx, ds.file(machine, disk), a.Size); err != nil {
			return err
		}
	}
	l.diskAttrs = a
	return ds.put(ds.disks(machine), disk+".json", l)
}

// newDisk clears the place of a new disk, of what was half deleted and of a machine that still runs from it.
func (s *nspawn) newDisk(ctx context.Context, ds dirs, machine, disk string, p provider.Progress) error {
	if run, ok := s.running(ds, machine); ok && slices.Contains(run.marks.Disks, disk) {
		if err := s.stop(ctx, ds, machine, 0, p); err != nil {
			return err
		}
	}
	for _, path := range []string{ds.root(machine, disk), ds.file(machine, disk)} {
		if err := os.RemoveAll(path); err != nil {
			return failure.File(err)
		}
	}
	return failure.File(os.MkdirAll(ds.disks(machine), 0o755))
}

// grow makes a disk's file as large as it should be, and the block device that it may be just now.
func grow(ctx context.Context, file string, size lab.Bytes) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return failure.File(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || st.Size() >= int64(size) {
		return failure.File(err)
	}
	if err := f.Truncate(int64(size)); err != nil {
		return failure.File(err)
	}
	if st.Size() == 0 {
		return nil
	}
	out, err := exec.CommandContext(ctx, "losetup", "--associated", file, "--noheadings", "--output", "NAME").Output()
	if err != nil {
		return failure.File(fmt.Errorf("losetup: %w", err))
	}
	for _, dev := range strings.Fields(string(out)) {
		if out, err := exec.CommandContext(ctx, "losetup", "--set-capacity", dev).CombinedOutput(); err != nil {
			return failure.File(fmt.Errorf("losetup --set-capacity %s: %w: %s", dev, err, out))
		}
	}
	return nil
}

func (s *nspawn) deleteDisk(o provider.Observed, p provider.Progress) error {
	machine, disk, err := o.Addr.Disk()
	if err != nil {
		return err
	}
	ds := s.dirs(o.Lab)
	for _, path := range []string{ds.file(machine, disk), ds.root(machine, disk)} {
		if o.Attrs["protect"] == true {
			if err := s.keep(ds, machine, disk, path, p); err != nil {
				return err
			}
		}
	}
	if err := os.Remove(ds.label(machine, disk)); err != nil && !os.IsNotExist(err) {
		return failure.File(err)
	}
	for _, path := range []string{ds.file(machine, disk), ds.root(machine, disk)} {
		if err := os.RemoveAll(path); err != nil {
			return failure.File(err)
		}
	}
	os.Remove(ds.disks(machine)) // if it is empty now
	return nil
}

// keep moves a protected disk aside that is about to be deleted, out of the lab's folder.
func (s *nspawn) keep(ds dirs, machine, disk, from string, p provider.Progress) error {
	if !exists(from) {
		return nil
	}
	to := provider.Options{Home: s.home, Target: s.target}.KeptPath(ds.lab, machine, disk, time.Now(), filepath.Ext(from))
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return failure.File(err)
	}
	size := used(from)
	if err := os.Rename(from, to); err != nil {
		return failure.File(err)
	}
	p(provider.Step{Phase: "keeping its data", Note: fmt.Sprintf("it was protected, so its data is kept: %s (%s)", to, size.Rough())})
	return nil
}

// used is what a file, or all files in a folder, take.
func used(path string) lab.Bytes {
	var n lab.Bytes
	_ = filepath.WalkDir(path, func(_ string, d os.DirEntry, err error) error {
		if err != nil {
			return nil // gone meanwhile
		}
		if st, err := d.Info(); err == nil {
			n += allocated(st)
		}
		return nil
	})
	return n
}

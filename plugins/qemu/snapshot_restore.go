package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/failure"
	"github.com/labctl-dev/labctl/provider/files"
)

// RestoreSnapshot implements provider.Snapshotter.
func (q *qemu) RestoreSnapshot(ctx context.Context, l lab.Lab, name string, p provider.Progress) error {
	defer q.begin()()
	err := ctx.Err()
	if err == nil {
		err = q.restoreSnapshot(ctx, q.dirs(l.Name), name, p)
	}
	return provider.Wrap("restore snapshot "+name, provider.Addr{}, err)
}

func (q *qemu) restoreSnapshot(ctx context.Context, ds dirs, name string, p provider.Progress) error {
	r, err := ds.loadSnapshot(name)
	if err != nil {
		return err
	}
	if r == nil {
		return provider.NoSnapshot(name)
	}
	if err := ds.fits(*r); err != nil {
		return err
	}
	others := ds.others(*r)
	paths, _ := filepath.Glob(filepath.Join(ds.machines(), "*", "machine.json"))
	h := &grip{q: q, ds: ds}
	var machines []string
	for _, path := range paths {
		machines = append(machines, filepath.Base(filepath.Dir(path)))
	}
	if err := h.each(machines, func(m string) error {
		grace := q.opts.stopAfter()
		if slices.Contains(r.Machines, m) && len(others[m]) == 0 {
			grace = 0 // nothing that it could write now would stay
		}
		return q.stop(ctx, m, ds, grace, p)
	}); err != nil {
		return err
	}
	// What was known of the insides goes first and comes back last, and saved memory, which is of other disks, goes: an
	// interruption must leave nothing that is not true.
	for _, m := range r.Machines {
		if err := ds.dropSaved(m); err != nil {
			return err
		}
		if err := os.Remove(ds.mark(m)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return failure.File(err)
		}
		if err := files.Write(ds.restoring(m), []byte(name+"\n"), 0o644); err != nil {
			return err
		}
	}
	p(provider.Step{Phase: "restoring disks"})
	if err := h.each(r.Machines, func(m string) error { return q.restoreMachine(ctx, ds, m, *r) }); err != nil {
		return err
	}
	for _, m := range machines {
		if !slices.Contains(r.Machines, m) {
			p(provider.SinceSnapshot(m, ""))
			continue
		}
		for _, d := range others[m] {
			p(provider.SinceSnapshot(m, d))
		}
	}
	return nil
}

// fits refuses what cannot be restored whole.
func (ds dirs) fits(r snapshotRecord) error {
	lost, err := ds.lost(r)
	if err != nil {
		return err
	}
	var why []string
	for _, x := range lost {
		why = append(why, x+" is not in it, or no longer")
	}
	for _, m := range r.Machines {
		if !exists(filepath.Join(ds.machine(m), "machine.json")) {
			why = append(why, "machine "+m+" does not exist")
		}
	}
	if len(why) == 0 {
		return nil
	}
	return &provider.Error{Code: provider.Invalid, Text: strings.Join(why, "; ")}
}

// others are the disks by machine that the snapshot does not hold.
func (ds dirs) others(r snapshotRecord) map[string][]string {
	others := map[string][]string{}
	paths, _ := filepath.Glob(filepath.Join(ds.data, "disks", "*", "*.qcow2"))
	for _, path := range paths {
		machine, disk := ds.named(path)
		if !slices.Contains(r.Disks, snapshotOf{machine, disk}) {
			others[machine] = append(others[machine], disk)
		}
	}
	return others
}

// restoreMachine brings disks and UEFI variables back, of a machine that is off.
func (q *qemu) restoreMachine(ctx context.Context, ds dirs, m string, r snapshotRecord) error {
	for _, d := range r.disks(m) {
		if _, err := q.img(ctx, "snapshot", "-a", r.Tag, ds.disk(m, d)); err != nil {
			return err
		}
	}
	if slices.Contains(r.UEFI, m) {
		if err := copyFile(ds.snapshotVars(r.Name, m), ds.vars(m)); err != nil {
			return err
		}
	} else if err := os.Remove(ds.vars(m)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return failure.File(err)
	}
	if slices.Contains(r.Insides, m) {
		if err := copyFile(ds.snapshotMark(r.Name, m), ds.mark(m)); err != nil {
			return err
		}
	}
	return failure.File(os.Remove(ds.restoring(m)))
}

// restoring is a file that is there while some of a machine's disks may be back and others not; it names the snapshot.
func (ds dirs) restoring(machine string) string {
	return filepath.Join(ds.machine(machine), "restoring")
}

// halfRestored is the snapshot that a machine has half of; "" is the usual case.
func (ds dirs) halfRestored(machine string) string {
	b, err := os.ReadFile(ds.restoring(machine))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// finishRestore brings the rest of a machine back whose restoring was cut short. Everybody comes here who is about to use
// or to change its disks, so that no machine starts with half of them.
func (q *qemu) finishRestore(ctx context.Context, machine string, ds dirs, p provider.Progress) error {
	q.mending.Lock() // a machine's disks may be changed at the same time
	defer q.mending.Unlock()
	name := ds.halfRestored(machine)
	if name == "" {
		return nil
	}
	r, err := ds.loadSnapshot(name)
	if err != nil {
		return err
	}
	if r == nil {
		return &provider.Error{Code: provider.Corrupt, Text: fmt.Sprintf("machine %s has half of snapshot %s back, which is there no more; reinstall it, or remove %s to start it with what it has", machine, name, ds.restoring(machine))}
	}
	p(provider.Step{Phase: "restoring disks"})
	return q.restoreMachine(ctx, ds, machine, *r)
}

// whole is an error if a machine has half of a snapshot back; only that one if name is not "".
func (ds dirs) whole(machines []string, name string) error {
	for _, m := range machines {
		if half := ds.halfRestored(m); half != "" && (name == "" || name == half) {
			return &provider.Error{Code: provider.InUse, Text: fmt.Sprintf("machine %s has half of snapshot %s back: restore that again, or start the machine, which brings the rest back", m, half)}
		}
	}
	return nil
}

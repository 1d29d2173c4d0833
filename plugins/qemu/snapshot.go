package qemu

import (
	"context"
	"encoding/json"
	"errors"
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

// A snapshot of a lab is an internal snapshot in each of its qcow2 files, under a tag of its own, and a folder in the
// lab's with what is no disk: what the snapshot is of, UEFI variables, and what was known of the insides. The tag is in
// no other file, so that a disk which was made anew is seen not to have it. A disk that is deleted takes its part along.

// snapshotRecord is snapshot.json, which is written first and removed last.
type snapshotRecord struct {
	provider.Snapshot
	Tag   string       `json:"tag"` // in the disks
	Disks []snapshotOf `json:"disks"`
	// UEFI and Insides are the machines that had variables, and of whose insides something was known.
	UEFI    []string `json:"uefi,omitempty"`
	Insides []string `json:"insides,omitempty"`
}

// snapshotOf is a disk in a snapshot.
type snapshotOf struct {
	Machine string `json:"machine"`
	Disk    string `json:"disk"`
}

func (d snapshotOf) String() string { return d.Machine + "/" + d.Disk }

func (ds dirs) snapshots() string           { return filepath.Join(ds.data, "snapshots") }
func (ds dirs) snapshot(name string) string { return filepath.Join(ds.snapshots(), name) }
func (ds dirs) snapshotRecord(name string) string {
	return filepath.Join(ds.snapshot(name), "snapshot.json")
}
func (ds dirs) snapshotVars(name, machine string) string {
	return filepath.Join(ds.snapshot(name), machine+".vars.fd")
}
func (ds dirs) snapshotMark(name, machine string) string {
	return filepath.Join(ds.snapshot(name), machine+".guest.json")
}

// loadSnapshot reads a record; nil if there is none.
func (ds dirs) loadSnapshot(name string) (*snapshotRecord, error) {
	if provider.CheckSnapshotName(name) != nil {
		return nil, nil
	}
	b, err := os.ReadFile(ds.snapshotRecord(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, failure.File(err)
	}
	var r snapshotRecord
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, &provider.Error{Code: provider.Corrupt, Text: ds.snapshotRecord(name) + ": " + err.Error()}
	}
	return &r, nil
}

func (ds dirs) saveSnapshot(r snapshotRecord) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return files.Write(ds.snapshotRecord(r.Name), append(b, '\n'), 0o644)
}

// lost lists what a snapshot should hold and does not.
func (ds dirs) lost(r snapshotRecord) ([]string, error) {
	var lost []string
	for _, d := range r.Disks {
		tags, err := snapshotTags(ds.disk(d.Machine, d.Disk))
		if err != nil && provider.CodeOf(err) != provider.NotFound {
			return nil, err
		}
		if !slices.Contains(tags, r.Tag) {
			lost = append(lost, "disk "+d.String())
		}
	}
	for _, m := range r.UEFI {
		if !exists(ds.snapshotVars(r.Name, m)) {
			lost = append(lost, "UEFI variables of "+m)
		}
	}
	for _, m := range r.Insides {
		if !exists(ds.snapshotMark(r.Name, m)) {
			lost = append(lost, "what was known of the inside of "+m)
		}
	}
	return lost, nil
}

// Snapshots implements provider.Snapshotter.
func (q *qemu) Snapshots(ctx context.Context, l lab.Lab) ([]provider.Snapshot, error) {
	all, err := q.listSnapshots(ctx, q.dirs(l.Name))
	return all, provider.Wrap("list snapshots", provider.Addr{}, err)
}

func (q *qemu) listSnapshots(ctx context.Context, ds dirs) ([]provider.Snapshot, error) {
	paths, _ := filepath.Glob(filepath.Join(ds.snapshots(), "*", "snapshot.json"))
	all := []provider.Snapshot{}
	for _, path := range paths {
		if err := ctx.Err(); err != nil {
			return nil, failure.File(err)
		}
		r, err := ds.loadSnapshot(filepath.Base(filepath.Dir(path)))
		if err != nil {
			return nil, err
		}
		if r == nil {
			continue // removed meanwhile
		}
		lost, err := ds.lost(*r)
		if err != nil {
			return nil, err
		}
		r.Complete = len(lost) == 0
		all = append(all, r.Snapshot)
	}
	if err := ctx.Err(); err != nil {
		return nil, failure.File(err)
	}
	slices.SortFunc(all, func(a, b provider.Snapshot) int {
		if c := a.Taken.Compare(b.Taken); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return all, nil
}

// RemoveSnapshot implements provider.Snapshotter.
func (q *qemu) RemoveSnapshot(ctx context.Context, l lab.Lab, name string, p provider.Progress) error {
	defer q.begin()()
	err := ctx.Err()
	if err == nil {
		err = q.removeSnapshot(ctx, q.dirs(l.Name), name, p)
	}
	return provider.Wrap("remove snapshot "+name, provider.Addr{}, err)
}

func (q *qemu) removeSnapshot(ctx context.Context, ds dirs, name string, p provider.Progress) error {
	r, err := ds.loadSnapshot(name)
	if err != nil || r == nil {
		return err
	}
	if err := ds.whole(r.Machines, name); err != nil {
		return err
	}
	h, err := q.grasp(ctx, ds, r.Machines)
	if err != nil {
		return err
	}
	defer h.close()
	p(provider.Step{Phase: "removing it from disks"})
	if err := h.each(r.Machines, func(m string) error { return h.forget(ctx, m, *r) }); err != nil {
		return err
	}
	// The record goes last, so that an interrupted removal can be repeated.
	entries, err := os.ReadDir(ds.snapshot(name))
	if err != nil {
		return failure.File(err)
	}
	for _, e := range entries {
		if e.Name() == filepath.Base(ds.snapshotRecord(name)) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(ds.snapshot(name), e.Name())); err != nil {
			return failure.File(err)
		}
	}
	if err := os.RemoveAll(ds.snapshot(name)); err != nil {
		return failure.File(err)
	}
	os.Remove(ds.snapshots()) // if it is empty now
	return nil
}

// disks are those of one machine.
func (r snapshotRecord) disks(machine string) []string {
	var all []string
	for _, d := range r.Disks {
		if d.Machine == machine {
			all = append(all, d.Disk)
		}
	}
	return all
}

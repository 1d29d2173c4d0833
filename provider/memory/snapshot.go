package memory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// kept is a snapshot as it lies in its file. Disks that are deleted are taken out of it, as they would be if the snapshot
// were inside them; so it is whole while it has what it is Of.
type kept struct {
	provider.Snapshot
	Of     []string                     `json:"of"`     // the addresses of all disks of the lab when it was taken
	Disks  map[string]provider.Observed `json:"disks"`  // by address
	Guests map[string]provider.Observed `json:"guests"` // by address: what was known of the insides
}

func (k kept) lost() []string {
	return slices.DeleteFunc(slices.Clone(k.Of), func(a string) bool { _, ok := k.Disks[a]; return ok })
}

func (w *world) snapshots() string           { return filepath.Join(w.folder, "snapshots") }
func (w *world) snapshot(name string) string { return filepath.Join(w.snapshots(), name+".json") }

// loadSnapshots reads all, oldest first.
func (w *world) loadSnapshots() ([]kept, error) {
	paths, err := filepath.Glob(filepath.Join(w.snapshots(), "*.json"))
	if err != nil {
		return nil, err
	}
	var all []kept
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		var k kept
		if err := json.Unmarshal(b, &k); err != nil {
			return nil, &provider.Error{Code: provider.Corrupt, Text: fmt.Sprintf("%s: %v", path, err)}
		}
		k.Complete = len(k.lost()) == 0
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b kept) int {
		if c := a.Taken.Compare(b.Taken); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return all, nil
}

func (w *world) findSnapshot(name string) (kept, bool, error) {
	all, err := w.loadSnapshots()
	i := slices.IndexFunc(all, func(k kept) bool { return k.Name == name })
	if err != nil || i < 0 {
		return kept{}, false, err
	}
	return all[i], true, nil
}

func (w *world) saveSnapshot(k kept) error {
	b, err := json.Marshal(k)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(w.snapshots(), 0o700); err != nil {
		return err
	}
	next := w.snapshot(k.Name) + ".new"
	if err := os.WriteFile(next, append(b, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(next, w.snapshot(k.Name))
}

// dropFromSnapshots takes a disk that is deleted out of them.
func (w *world) dropFromSnapshots(disk string) error {
	all, err := w.loadSnapshots()
	if err != nil {
		return err
	}
	for _, k := range all {
		if _, ok := k.Disks[disk]; !ok {
			continue
		}
		delete(k.Disks, disk)
		if err := w.saveSnapshot(k); err != nil {
			return err
		}
	}
	return nil
}

// Snapshots implements provider.Snapshotter.
func (p *memory) Snapshots(ctx context.Context, l lab.Lab) ([]provider.Snapshot, error) {
	if err := ctx.Err(); err != nil {
		return nil, provider.Wrap("list snapshots", provider.Addr{}, err)
	}
	all, err := p.world(l.Name).loadSnapshots()
	if err != nil {
		return nil, provider.Wrap("list snapshots", provider.Addr{}, err)
	}
	out := []provider.Snapshot{}
	for _, k := range all {
		out = append(out, k.Snapshot)
	}
	return out, nil
}

// TakeSnapshot implements provider.Snapshotter. What it will be of is written first, and then what it holds, so that a
// crash in between leaves one that is half made.
func (p *memory) TakeSnapshot(ctx context.Context, l lab.Lab, s provider.Snapshot, progress provider.Progress) error {
	op := "take snapshot " + s.Name
	if err := provider.CheckSnapshotName(s.Name); err != nil {
		return provider.Wrap(op, provider.Addr{}, err)
	}
	w := p.world(l.Name)
	return p.onSnapshots(ctx, op, l, func(objects map[string]provider.Observed) error {
		_, taken, err := w.findSnapshot(s.Name)
		if err != nil {
			return err
		}
		if taken {
			return provider.SnapshotExists(s.Name)
		}
		k := kept{Snapshot: s, Disks: map[string]provider.Observed{}, Guests: map[string]provider.Observed{}}
		k.Machines = nil
		for _, a := range slices.Sorted(maps.Keys(objects)) {
			switch o := objects[a]; o.Addr.Kind {
			case disk:
				k.Of = append(k.Of, a)
			case machine:
				k.Machines = append(k.Machines, o.Machine)
			}
		}
		if len(k.Machines) == 0 {
			return &provider.Error{Code: provider.NotFound, Text: "no machine of the lab exists"}
		}
		if err := w.saveSnapshot(k); err != nil {
			return err
		}
		progress(provider.Step{Phase: "keeping disks"})
		after, err := p.faults.at(ctx, "keep "+s.Name)
		if err != nil {
			return errors.Join(err, os.Remove(w.snapshot(s.Name)))
		}
		defer after()
		for a, o := range objects {
			switch o.Addr.Kind {
			case disk:
				k.Disks[a] = o
			case guest:
				k.Guests[a] = o
			}
		}
		return w.saveSnapshot(k)
	})
}

// RestoreSnapshot implements provider.Snapshotter.
func (p *memory) RestoreSnapshot(ctx context.Context, l lab.Lab, name string, progress provider.Progress) error {
	w := p.world(l.Name)
	return p.onSnapshots(ctx, "restore snapshot "+name, l, func(objects map[string]provider.Observed) error {
		k, ok, err := w.findSnapshot(name)
		if err != nil {
			return err
		}
		if !ok {
			return provider.NoSnapshot(name)
		}
		if err := k.fits(objects); err != nil {
			return err
		}
		progress(provider.Step{Phase: "restoring disks"})
		told := map[provider.Step]bool{}
		for _, a := range slices.Sorted(maps.Keys(objects)) {
			switch o := objects[a]; o.Addr.Kind {
			case machine:
				o.Attrs = maps.Clone(o.Attrs)
				o.Attrs["power"], o.Outputs = string(lab.Off), nil
				objects[a] = o
			case disk:
				was, ok := k.Disks[a]
				if !ok {
					name, of, _ := strings.Cut(o.Addr.Name, "/")
					if !slices.Contains(k.Machines, name) {
						of = ""
					}
					if s := provider.SinceSnapshot(name, of); !told[s] {
						progress(s)
						told[s] = true
					}
					continue
				}
				was.Attrs["protect"] = o.Attrs["protect"] // not what is on the disk
				if was.Attrs["protect"] == nil {
					delete(was.Attrs, "protect")
				}
				objects[a] = was
			case guest:
				if slices.Contains(k.Machines, o.Machine) {
					delete(objects, a)
				}
			}
		}
		maps.Copy(objects, k.Guests)
		return nil
	})
}

// fits refuses what cannot be restored whole.
func (k kept) fits(objects map[string]provider.Observed) error {
	why := []string{}
	for _, a := range k.lost() {
		why = append(why, a+" is no longer in it")
	}
	for _, m := range k.Machines {
		if _, ok := objects[addr(machine, m).String()]; !ok {
			why = append(why, "machine "+m+" does not exist")
		}
	}
	for a, o := range k.Disks {
		if now, ok := objects[a]; ok && now.Attrs["image"] != o.Attrs["image"] {
			why = append(why, a+" is of another image")
		}
	}
	if len(why) == 0 {
		return nil
	}
	slices.Sort(why)
	return &provider.Error{Code: provider.Invalid, Text: strings.Join(why, "; ")}
}

// RemoveSnapshot implements provider.Snapshotter.
func (p *memory) RemoveSnapshot(ctx context.Context, l lab.Lab, name string, progress provider.Progress) error {
	w := p.world(l.Name)
	if _, err := os.Stat(w.snapshot(name)); provider.CheckSnapshotName(name) != nil || errors.Is(err, fs.ErrNotExist) {
		return provider.Wrap("remove snapshot "+name, provider.Addr{}, ctx.Err())
	}
	return p.onSnapshots(ctx, "remove snapshot "+name, l, func(map[string]provider.Observed) error {
		if err := os.Remove(w.snapshot(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}

// onSnapshots is change for what concerns the whole lab.
func (p *memory) onSnapshots(ctx context.Context, op string, l lab.Lab, edit func(map[string]provider.Observed) error) error {
	after, err := p.faults.at(ctx, op)
	if err != nil {
		return provider.Wrap(op, provider.Addr{}, err)
	}
	defer after()
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return provider.Wrap(op, provider.Addr{}, ctx.Err())
	}
	w := p.world(l.Name)
	if _, err := os.Stat(w.folder); errors.Is(err, fs.ErrNotExist) {
		return &provider.Error{Op: op, Code: provider.NotFound, Text: "no machine of the lab exists"}
	}
	return provider.Wrap(op, provider.Addr{}, w.change(ctx, provider.Addr{}, edit))
}

package qemu

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/qemu/qmp"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/failure"
	"github.com/labctl-dev/labctl/provider/files"
)

// keepDeadline is how long QEMU may take for a snapshot of all of a machine's disks, or to drop one; it writes tables as
// large as the disks are full, not what is on them.
const keepDeadline = 2 * time.Minute

// TakeSnapshot implements provider.Snapshotter.
func (q *qemu) TakeSnapshot(ctx context.Context, l lab.Lab, s provider.Snapshot, p provider.Progress) error {
	defer q.begin()()
	err := ctx.Err()
	if err == nil {
		err = provider.CheckSnapshotName(s.Name)
	}
	if err == nil {
		err = q.takeSnapshot(ctx, q.dirs(l.Name), s, p)
	}
	return provider.Wrap("take snapshot "+s.Name, provider.Addr{}, err)
}

func (q *qemu) takeSnapshot(ctx context.Context, ds dirs, s provider.Snapshot, p provider.Progress) error {
	if exists(ds.snapshotRecord(s.Name)) {
		return provider.SnapshotExists(s.Name)
	}
	r, err := ds.newSnapshot(s)
	if err != nil {
		return err
	}
	if err := ds.whole(r.Machines, ""); err != nil {
		return err
	}
	h, err := q.grasp(ctx, ds, r.Machines)
	if err != nil {
		return err
	}
	defer h.close()
	if err := os.RemoveAll(ds.snapshot(s.Name)); err != nil { // remains of a removal
		return failure.File(err)
	}
	if err := os.MkdirAll(ds.snapshot(s.Name), 0o700); err != nil {
		return failure.File(err)
	}
	if err := ds.saveSnapshot(r); err != nil {
		return err
	}
	err = h.still(ctx, p, func() error {
		p(provider.Step{Phase: "keeping disks"})
		return h.each(r.Machines, func(m string) error { return h.keep(ctx, m, r) })
	})
	if err == nil {
		return nil
	}
	h.close()
	cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepDeadline)
	defer cancel()
	if rest := q.removeSnapshot(cleanup, ds, s.Name, provider.Silent); rest != nil {
		return fmt.Errorf("%w; and what was kept of it until then cannot be removed: %v", err, rest)
	}
	return err
}

// newSnapshot is the record of what there is to keep.
func (ds dirs) newSnapshot(s provider.Snapshot) (snapshotRecord, error) {
	s.Machines, s.Complete, s.Size = nil, false, 0
	r := snapshotRecord{Snapshot: s, Tag: "labctl:" + s.Name + ":" + rand.Text()[:8]}
	paths, _ := filepath.Glob(filepath.Join(ds.machines(), "*", "machine.json"))
	for _, path := range paths {
		m := filepath.Base(filepath.Dir(path))
		r.Machines = append(r.Machines, m)
		if exists(ds.vars(m)) {
			r.UEFI = append(r.UEFI, m)
		}
		if exists(ds.mark(m)) {
			r.Insides = append(r.Insides, m)
		}
	}
	if len(r.Machines) == 0 {
		return r, &provider.Error{Code: provider.NotFound, Text: "no machine of the lab exists"}
	}
	paths, _ = filepath.Glob(filepath.Join(ds.data, "disks", "*", "*.qcow2"))
	for _, path := range paths {
		machine, disk := ds.named(path)
		if !slices.Contains(r.Machines, machine) { // half made
			continue
		}
		if !exists(path) {
			return r, &provider.Error{Code: provider.NotFound, Text: fmt.Sprintf("disk %s/%s leads to a pool that is not there", machine, disk)}
		}
		r.Disks = append(r.Disks, snapshotOf{machine, disk})
	}
	slices.Sort(r.Machines)
	return r, nil
}

// A grip is all machines of a snapshot at once, each with its monitor where it runs.
type grip struct {
	q        *qemu
	ds       dirs
	monitors map[string]*qmp.Client
	nodes    map[string][]string // block nodes by machine
	running  map[string]bool     // those that go on when they are let go
}

// grasp connects to all machines that run. One that runs and does not answer is an error.
func (q *qemu) grasp(ctx context.Context, ds dirs, machines []string) (*grip, error) {
	h := &grip{q: q, ds: ds, monitors: map[string]*qmp.Client{}, nodes: map[string][]string{}, running: map[string]bool{}}
	var mu sync.Mutex
	err := h.each(machines, func(m string) error {
		c, err := q.monitor(ctx, ds, m, ds.qmp(m))
		if err != nil {
			return err
		}
		if c == nil {
			if pid := q.process(m, ds); pid != 0 {
				return &provider.Error{Code: provider.Unavailable, Text: fmt.Sprintf("machine %s: QEMU, process %d, has lost its sockets; apply starts it over", m, pid)}
			}
			return nil
		}
		actx, cancel := context.WithTimeout(ctx, answerDeadline)
		defer cancel()
		l, err := ask(actx, c)
		mu.Lock()
		defer mu.Unlock()
		h.monitors[m], h.nodes[m], h.running[m] = c, l.nodes, l.attrs.Power == string(lab.On)
		if err != nil {
			return silent(m, err)
		}
		return nil
	})
	if err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

func (h *grip) close() {
	for _, c := range h.monitors {
		c.Close()
	}
}

// each calls f for all machines, some at once, and returns the first error.
func (h *grip) each(machines []string, f func(string) error) error {
	errs := make([]error, len(machines))
	turn := make(chan struct{}, 16)
	var wg sync.WaitGroup
	for i, m := range machines {
		wg.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			errs[i] = f(m)
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// still stops all machines, calls f, and lets those go on that ran, whatever happened. If this process dies meanwhile they
// stay as they are, which is drift of their power: the next apply lets them go on.
func (h *grip) still(ctx context.Context, p provider.Progress, f func() error) error {
	var running []string
	for m := range h.monitors {
		if h.running[m] {
			running = append(running, m)
		}
	}
	p(provider.Step{Phase: "holding machines"})
	err := h.each(running, func(m string) error {
		sctx, cancel := context.WithTimeout(ctx, answerDeadline)
		defer cancel()
		return refusal(m, h.monitors[m].Execute(sctx, "stop", nil, nil))
	})
	if err == nil {
		err = f()
	}
	goes := h.each(running, func(m string) error {
		cctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepDeadline) // an answer to what was asked before comes first
		defer cancel()
		if err := h.goOn(cctx, m); err != nil {
			return &provider.Error{Code: provider.Unavailable, Text: fmt.Sprintf("machine %s does not go on: %v; apply sees to it", m, err)}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return goes
}

// goOn lets a machine go on, over a new connection if an interrupted question has spoilt the old one.
func (h *grip) goOn(ctx context.Context, m string) error {
	err := h.monitors[m].Execute(ctx, "cont", nil, nil)
	if err == nil {
		return nil
	}
	h.monitors[m].Close()
	c, again := h.q.monitor(ctx, h.ds, m, h.ds.qmp(m))
	if again != nil {
		return errors.Join(err, again)
	}
	if c == nil {
		return err
	}
	h.monitors[m] = c
	return c.Execute(ctx, "cont", nil, nil)
}

// keep keeps all that a snapshot is to hold of one machine, which stands still.
func (h *grip) keep(ctx context.Context, m string, r snapshotRecord) error {
	for _, f := range []struct {
		of       []string
		from, to string
	}{{r.UEFI, h.ds.vars(m), h.ds.snapshotVars(r.Name, m)}, {r.Insides, h.ds.mark(m), h.ds.snapshotMark(r.Name, m)}} {
		if !slices.Contains(f.of, m) {
			continue
		}
		if err := copyFile(f.from, f.to); err != nil {
			return err
		}
	}
	var actions []any
	for _, d := range r.disks(m) {
		if h.attached(m, d) {
			actions = append(actions, map[string]any{"type": "blockdev-snapshot-internal-sync", "data": map[string]string{"device": node(d), "name": r.Tag}})
			continue
		}
		if _, err := h.q.img(ctx, "snapshot", "-c", r.Tag, h.ds.disk(m, d)); err != nil {
			return err
		}
	}
	if len(actions) == 0 {
		return nil
	}
	kctx, cancel := context.WithTimeout(ctx, keepDeadline)
	defer cancel()
	return refusal(m, h.monitors[m].Execute(kctx, "transaction", map[string]any{"actions": actions}, nil))
}

// forget takes a snapshot out of one machine's disks, as far as it is in them.
func (h *grip) forget(ctx context.Context, m string, r snapshotRecord) error {
	for _, d := range r.disks(m) {
		tags, err := snapshotTags(h.ds.disk(m, d))
		if provider.CodeOf(err) == provider.NotFound || err == nil && !slices.Contains(tags, r.Tag) {
			continue
		}
		if err != nil {
			return err
		}
		if !h.attached(m, d) {
			if _, err := h.q.img(ctx, "snapshot", "-d", r.Tag, h.ds.disk(m, d)); err != nil {
				return err
			}
			continue
		}
		kctx, cancel := context.WithTimeout(ctx, keepDeadline)
		err = h.monitors[m].Execute(kctx, "blockdev-snapshot-delete-internal-sync", map[string]string{"device": node(d), "name": r.Tag}, nil)
		cancel()
		if err != nil {
			return refusal(m, err)
		}
	}
	return nil
}

// attached says whether the machine's process has the disk's file open.
func (h *grip) attached(m, disk string) bool { return slices.Contains(h.nodes[m], node(disk)) }

// copyFile copies a small file, so that it is there whole or not at all.
func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return failure.File(err)
	}
	return files.Write(to, b, 0o600)
}

package qemu

import (
	"context"
	"os"
	"path/filepath"
	"slices"

	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/failure"
)

// Create implements provider.Provider.
func (q *qemu) Create(ctx context.Context, r provider.Resource, p provider.Progress) error {
	defer q.begin()()
	return provider.Wrap("create", r.Addr, q.create(ctx, r, p))
}

func (q *qemu) create(ctx context.Context, r provider.Resource, p provider.Progress) error {
	if err := ctx.Err(); err != nil {
		return failure.File(err)
	}
	switch r.Addr.Kind {
	case kindImage:
		return q.createImage(ctx, r, p)
	case kindNetwork:
		return q.putNetwork(ctx, r, p)
	case kindDisk:
		return q.createDisk(ctx, r, p)
	case kindMachine:
		return q.putMachine(ctx, r, p)
	case kindGuest:
		return q.putGuest(r)
	}
	return unknown(r.Addr)
}

// Update implements provider.Provider.
func (q *qemu) Update(ctx context.Context, o provider.Observed, r provider.Resource, p provider.Progress) error {
	defer q.begin()()
	return provider.Wrap("update", r.Addr, q.update(ctx, o, r, p))
}

// update makes of what exists what r says, which is what create does, too, as long as it exists.
func (q *qemu) update(ctx context.Context, o provider.Observed, r provider.Resource, p provider.Progress) error {
	switch r.Addr.Kind {
	case kindDisk:
		return q.changeDisk(ctx, r, p)
	case kindMachine:
		d, err := q.dirs(r.Lab).load(r.Addr.Name)
		if err != nil {
			return err
		}
		if d == nil {
			return &provider.Error{Code: provider.NotFound, Text: "the machine does not exist"}
		}
		if o.Attrs["power"] == hung {
			if err := q.unhang(ctx, r.Addr.Name, q.dirs(r.Lab), p); err != nil {
				return err
			}
		}
	}
	return q.create(ctx, r, p)
}

// Delete implements provider.Provider.
func (q *qemu) Delete(ctx context.Context, o provider.Observed, p provider.Progress) error {
	defer q.begin()()
	err := ctx.Err()
	if err != nil {
		return provider.Wrap("delete", o.Addr, failure.File(err))
	}
	switch o.Addr.Kind {
	case kindImage: // shared with other labs; images are removed from the store by hand
	case kindNetwork:
		err = q.deleteNetwork(ctx, o)
	case kindDisk:
		err = q.deleteDisk(ctx, o, p)
	case kindMachine:
		err = q.deleteMachine(ctx, o, p)
	case kindGuest:
		err = q.deleteGuest(o)
	default:
		err = unknown(o.Addr)
	}
	if err == nil {
		err = q.sweep(ctx, o.Lab)
	}
	return provider.Wrap("delete", o.Addr, err)
}

func unknown(a provider.Addr) error {
	return &provider.Error{Addr: a, Code: provider.Internal, Text: "QEMU has no kind " + a.Kind}
}

// begin counts what is under way; the function it returns ends it.
func (q *qemu) begin() (end func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.active++
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.active--
	}
}

// sweep removes a lab's folders when nothing is left in them, and nothing else is just being made or deleted.
func (q *qemu) sweep(ctx context.Context, lab string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if lab == "" || q.active != 1 {
		return nil
	}
	ds := q.dirs(lab)
	if !empty(ds) {
		return nil
	}
	if idle, err := stopNetworks(ctx, ds); err != nil || !idle {
		return err
	}
	if err := ds.sweepPools(); err != nil {
		return err
	}
	for _, dir := range []string{ds.run, ds.data} {
		if err := os.RemoveAll(dir); err != nil {
			return failure.File(err)
		}
	}
	os.Remove(filepath.Dir(ds.data)) // targets/, if this was the last
	return nil
}

// empty says whether a lab has neither machines nor disks, half made ones aside.
func empty(ds dirs) bool {
	machines, _ := filepath.Glob(filepath.Join(ds.machines(), "*", "machine.json"))
	disks, _ := filepath.Glob(filepath.Join(ds.data, "disks", "*", "*.qcow2"))
	return len(machines) == 0 && !slices.ContainsFunc(disks, exists)
}

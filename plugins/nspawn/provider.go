package nspawn

import (
	"context"
	"os"
	"path/filepath"

	"github.com/labctl-dev/labctl/plugins/nspawn/tree"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/failure"
)

// Create implements provider.Provider.
func (s *nspawn) Create(ctx context.Context, r provider.Resource, p provider.Progress) error {
	defer s.begin()()
	return provider.Wrap("create", r.Addr, s.create(ctx, r, p))
}

func (s *nspawn) create(ctx context.Context, r provider.Resource, p provider.Progress) error {
	if err := ctx.Err(); err != nil {
		return failure.File(err)
	}
	switch r.Addr.Kind {
	case kindImage:
		return s.createImage(ctx, r, p)
	case kindNetwork:
		return s.putNetwork(ctx, r)
	case kindDisk:
		return s.putDisk(ctx, r, p)
	case kindMachine:
		return s.putMachine(ctx, r, p)
	case kindGuest:
		return s.putGuest(r)
	}
	return unknown(r.Addr)
}

// Update implements provider.Provider: it makes of what exists what r says, which is what Create does, too.
func (s *nspawn) Update(ctx context.Context, o provider.Observed, r provider.Resource, p provider.Progress) error {
	defer s.begin()()
	if r.Addr.Kind == kindMachine {
		d, err := s.dirs(r.Lab).load(r.Addr.Name)
		if err != nil {
			return provider.Wrap("update", r.Addr, err)
		}
		if d == nil {
			return provider.Wrap("update", r.Addr, &provider.Error{Code: provider.NotFound, Text: "the machine does not exist"})
		}
	}
	return provider.Wrap("update", r.Addr, s.create(ctx, r, p))
}

// Delete implements provider.Provider.
func (s *nspawn) Delete(ctx context.Context, o provider.Observed, p provider.Progress) error {
	defer s.begin()()
	err := ctx.Err()
	if err != nil {
		return provider.Wrap("delete", o.Addr, failure.File(err))
	}
	switch o.Addr.Kind {
	case kindImage: // shared with other labs; images are removed from the store by hand
	case kindNetwork:
		err = s.deleteNetwork(ctx, o)
	case kindDisk:
		err = s.deleteDisk(o, p)
	case kindMachine:
		err = s.deleteMachine(ctx, o, p)
	case kindGuest:
		err = s.deleteGuest(o)
	default:
		err = unknown(o.Addr)
	}
	if err == nil {
		err = s.sweep(ctx, o.Lab)
	}
	return provider.Wrap("delete", o.Addr, err)
}

func unknown(a provider.Addr) error {
	return &provider.Error{Addr: a, Code: provider.Internal, Text: "systemd-nspawn has no kind " + a.Kind}
}

// begin counts what is under way; the function it returns ends it.
func (s *nspawn) begin() (end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.active--
	}
}

// sweep removes a lab's folder when nothing is left in it, and nothing else is just being made or deleted.
func (s *nspawn) sweep(ctx context.Context, lab string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if lab == "" || s.active != 1 {
		return nil
	}
	ds := s.dirs(lab)
	machines, _ := filepath.Glob(filepath.Join(ds.machines(), "*", "machine.json"))
	disks, _ := filepath.Glob(filepath.Join(ds.data, "disks", "*", "*.json"))
	if len(machines) > 0 || len(disks) > 0 {
		return nil
	}
	if idle, err := s.stopRoom(ctx, ds); err != nil || !idle {
		return err
	}
	if err := os.RemoveAll(ds.data); err != nil {
		return failure.File(err)
	}
	os.Remove(filepath.Dir(ds.data)) // targets/, if this was the last
	return nil
}

func (s *nspawn) createImage(ctx context.Context, r provider.Resource, p provider.Progress) error {
	var a imageAttrs
	if err := decode(r.Addr, r.Attrs, &a); err != nil {
		return err
	}
	local, err := s.store().Ensure(ctx, a.Source, func(phase string, done, total int64) {
		p(provider.Step{Phase: phase, Done: done, Total: total})
	})
	if err != nil {
		return failure.Image(err)
	}
	return failure.File(tree.Make(ctx, local, func(phase string) { p(provider.Step{Phase: phase}) }))
}

// tree is the folder of the image with an identity.
func (s *nspawn) tree(id string) (string, error) {
	list, err := s.store().List() // a damaged one elsewhere in the store does not matter
	for _, l := range list {
		if l.ID == id && tree.Exists(l) {
			return tree.Path(l), nil
		}
	}
	if err != nil {
		return "", failure.Image(err)
	}
	return "", &provider.Error{Code: provider.NotFound, Text: "image " + id + " is not in the store"}
}

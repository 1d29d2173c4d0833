package nspawn

import (
	"context"
	"os"
	"path/filepath"
	"slices"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/failure"
	"github.com/labctl-dev/labctl/provider/files"
)

// putMachine makes a machine what r says, whether it exists or not.
func (s *nspawn) putMachine(ctx context.Context, r provider.Resource, p provider.Progress) error {
	var a machineAttrs
	if err := decode(r.Addr, r.Attrs, &a); err != nil {
		return err
	}
	ds := s.dirs(r.Lab)
	if err := ds.make(); err != nil {
		return err
	}
	d := definition{Lab: r.Lab, Machine: r.Addr.Name, Attrs: a}
	if err := os.MkdirAll(ds.machine(d.Machine), 0o700); err != nil {
		return failure.File(err)
	}
	if r.Seed != nil {
		if err := s.sow(ds, *r.Seed, d.Machine); err != nil {
			return err
		}
	}
	if err := ds.save(d); err != nil {
		return err
	}
	if a.Power == string(lab.Off) {
		return s.stop(ctx, ds, d.Machine, s.opts.stopAfter(), p)
	}
	return s.bringUp(ctx, ds, d, p)
}

// sow writes cloud-init's documents.
func (s *nspawn) sow(ds dirs, seed lab.Seed, machine string) error {
	if err := os.MkdirAll(ds.seed(machine), 0o700); err != nil {
		return failure.File(err)
	}
	for name, content := range map[string][]byte{"user-data": seed.UserData, "meta-data": seed.MetaData, "network-config": seed.NetworkConfig} {
		if err := files.Write(filepath.Join(ds.seed(machine), name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// bringUp starts a machine, or makes the one that runs match its definition.
func (s *nspawn) bringUp(ctx context.Context, ds dirs, d definition, p provider.Progress) error {
	r, ok := s.running(ds, d.Machine)
	if ok {
		l, err := ds.loadLabel(d.Machine, d.Attrs.root())
		if err != nil {
			return failure.File(err)
		}
		if l.ID == r.marks.Root && slices.Equal(r.marks.Disks, d.Attrs.Disks) {
			if err := limit(ds, d); err != nil {
				return err
			}
			return s.plug(ctx, ds, d, r.pid)
		}
		if err := s.stop(ctx, ds, d.Machine, s.opts.stopAfter(), p); err != nil {
			return err
		}
	}
	return s.start(ctx, ds, d, p)
}

// deleteMachine ends a machine and removes what it had but for its disks.
func (s *nspawn) deleteMachine(ctx context.Context, o provider.Observed, p provider.Progress) error {
	var a machineAttrs
	if err := decode(o.Addr, o.Attrs, &a); err != nil {
		return err
	}
	ds, name := s.dirs(o.Lab), o.Addr.Name
	grace := s.opts.stopAfter()
	if len(a.Disks) < 2 && !a.Protect { // its only disk is remade with it, or goes too: there is nothing that a shutdown could save
		grace = 0
	}
	if err := s.stop(ctx, ds, name, grace, p); err != nil {
		return err
	}
	// The definition goes first: a machine without one is not observed, and its folder is completed or removed later.
	if err := os.RemoveAll(filepath.Join(ds.machine(name), "machine.json")); err != nil {
		return failure.File(err)
	}
	return failure.File(os.RemoveAll(ds.machine(name)))
}

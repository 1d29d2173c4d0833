package nspawn

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/failure"
)

// mark is guest.json: what was once true inside a machine, on the disk that the machine had then.
type mark struct {
	guestAttrs
	Disk string `json:"disk"` // label.ID of the root disk
}

func (ds dirs) mark(machine string) string { return filepath.Join(ds.machine(machine), "guest.json") }

func (s *nspawn) putGuest(r provider.Resource) error {
	var a guestAttrs
	if err := decode(r.Addr, r.Attrs, &a); err != nil {
		return err
	}
	ds := s.dirs(r.Lab)
	d, err := ds.load(r.Addr.Name)
	if err != nil {
		return err
	}
	if d == nil {
		return &provider.Error{Code: provider.NotFound, Text: "machine " + r.Addr.Name + " does not exist"}
	}
	l, err := ds.loadLabel(r.Addr.Name, d.Attrs.root())
	if err != nil {
		return failure.File(err)
	}
	return ds.put(ds.machine(r.Addr.Name), "guest.json", mark{a, l.ID})
}

func (s *nspawn) deleteGuest(o provider.Observed) error {
	if err := os.Remove(s.dirs(o.Lab).mark(o.Addr.Name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return failure.File(err)
	}
	return nil
}

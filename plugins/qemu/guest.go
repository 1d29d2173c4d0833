package qemu

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"

	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/failure"
	"github.com/labctl-dev/labctl/provider/files"
)

// mark is guest.json: what was once true inside a machine, on the disk that the machine had then.
type mark struct {
	guestAttrs
	Disk string `json:"disk"` // label.ID of the root disk
}

func (ds dirs) mark(machine string) string { return filepath.Join(ds.machine(machine), "guest.json") }

func (q *qemu) putGuest(r provider.Resource) error {
	var a guestAttrs
	if err := decode(r.Addr, r.Attrs, &a); err != nil {
		return err
	}
	ds := q.dirs(r.Lab)
	d, err := ds.load(r.Addr.Name)
	if err != nil {
		return err
	}
	if d == nil {
		return &provider.Error{Code: provider.NotFound, Text: "machine " + r.Addr.Name + " does not exist"}
	}
	l, err := ds.loadLabel(r.Addr.Name, d.root())
	if err != nil {
		return failure.File(err)
	}
	b, err := json.Marshal(mark{a, l.ID})
	if err != nil {
		return err
	}
	return files.Write(ds.mark(r.Addr.Name), append(b, '\n'), 0o644)
}

func (q *qemu) deleteGuest(o provider.Observed) error {
	if err := os.Remove(q.dirs(o.Lab).mark(o.Addr.Name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return failure.File(err)
	}
	return nil
}

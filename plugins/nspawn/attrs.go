package nspawn

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/nspawn/room"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/failure"
	"github.com/labctl-dev/labctl/provider/files"
)

// networkAttrs are a network's attributes in normal form: all that the room must be told.
type networkAttrs struct{ room.Network }

// machineAttrs are a machine's attributes in normal form: lists sorted, except that the root disk comes first.
type machineAttrs struct {
	CPUs    int       `json:"cpus"`
	Memory  lab.Bytes `json:"memory"`
	NICs    []nic     `json:"nics,omitempty"`
	Disks   []string  `json:"disks,omitempty"`
	Power   string    `json:"power"`
	Protect bool      `json:"protect,omitempty"`
}

type nic struct {
	Network string   `json:"network"`
	MAC     string   `json:"mac"`
	Link    lab.Link `json:"link"`
}

// sort brings the lists into normal form.
func (a *machineAttrs) sort() {
	sort.Slice(a.NICs, func(i, j int) bool { return a.NICs[i].Network < a.NICs[j].Network })
	if len(a.Disks) > 1 {
		slices.Sort(a.Disks[1:])
	}
}

// root is the name of the disk the machine starts from.
func (a machineAttrs) root() string {
	if len(a.Disks) == 0 {
		return ""
	}
	return a.Disks[0]
}

// diskAttrs are a disk's attributes in normal form.
type diskAttrs struct {
	Image   string    `json:"image,omitempty"` // identity of the base; empty for a blank disk
	Size    lab.Bytes `json:"size"`
	Protect bool      `json:"protect,omitempty"`
}

// guestAttrs are a guest's attributes.
type guestAttrs struct {
	Addresses map[string]string `json:"addresses,omitempty"` // by network
	Digest    string            `json:"digest"`
}

// imageAttrs are an image's attributes: Source is what a store needs to get it.
type imageAttrs struct {
	ID     string    `json:"id"`
	Source lab.Image `json:"source"`
}

// definition is machine.json: what a machine is when it is started next.
type definition struct {
	Lab     string       `json:"lab"`
	Machine string       `json:"machine"`
	Attrs   machineAttrs `json:"attrs"`
}

// load reads a machine's definition; nil if there is none.
func (ds dirs) load(machine string) (*definition, error) {
	b, err := os.ReadFile(filepath.Join(ds.machine(machine), "machine.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, failure.File(err)
	}
	var d definition
	if err := json.Unmarshal(b, &d); err != nil {
		return nil, &provider.Error{Code: provider.Corrupt, Text: fmt.Sprintf("definition of machine %s: %v", machine, err)}
	}
	return &d, nil
}

// save writes a machine's definition; from then on the machine is observed.
func (ds dirs) save(d definition) error { return ds.put(ds.machine(d.Machine), "machine.json", d) }

// put writes v as JSON, at once.
func (ds dirs) put(dir, name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return files.Write(filepath.Join(dir, name), append(b, '\n'), 0o644)
}

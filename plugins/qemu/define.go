package qemu

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/failure"
	"github.com/labctl-dev/labctl/provider/files"
)

// machineAttrs are a machine's attributes in normal form: lists sorted, except that the root disk comes first.
type machineAttrs struct {
	Arch     lab.Arch       `json:"arch"`
	Firmware lab.Firmware   `json:"firmware"`
	Image    string         `json:"image,omitempty"` // identity of the image whose kernel is loaded; firmware "kernel" only
	CPUs     int            `json:"cpus"`
	Memory   lab.Bytes      `json:"memory"`
	NICs     []nic          `json:"nics,omitempty"`
	MTU      map[string]int `json:"mtu,omitempty"` // by network, where it is not 1500: the NIC is built for it
	Disks    []string       `json:"disks,omitempty"`
	Boot     []string       `json:"boot,omitempty"` // lab.Machine.Starts
	Nested   bool           `json:"nested,omitempty"`
	Power    string         `json:"power"` // lab.Power, or what QEMU calls a state that is neither
	Protect  bool           `json:"protect,omitempty"`
}

type nic struct {
	Network string   `json:"network"`
	MAC     string   `json:"mac"`
	Link    lab.Link `json:"link"`
}

// definition is machine.json: what a machine is when it is started next. For a live process it is not the truth.
type definition struct {
	Lab     string       `json:"lab"`
	Target  string       `json:"target"`
	Machine string       `json:"machine"`
	Attrs   machineAttrs `json:"attrs"`
	Kernel  string       `json:"kernel,omitempty"` // paths into the image store, for firmware "kernel"
	Initrd  string       `json:"initrd,omitempty"`
	Cmdline string       `json:"cmdline,omitempty"`
	// Layout is how a machine was built whose memory is saved (see save.go); nil: as the command line does it.
	Layout *layout `json:"layout,omitempty"`
	// Installs says that the machine writes its root disk itself, the seed included, which is no disk of its own then.
	Installs bool `json:"installs,omitempty"`
	// HTTP says that the machine's UEFI finds nobody by TFTP; see byHTTP. It is asked at each start.
	HTTP bool `json:"-"`
}

// uuid is the mark by which a process is known as this machine's, and the guest's system UUID (RFC 9562, version 8).
func uuid(labName, target, machine string) string {
	h := sha256.Sum256([]byte("uuid\x00" + labName + "\x00" + target + "\x00" + machine))
	h[6], h[8] = h[6]&0x0f|0x80, h[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[0:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

func (d definition) uuid() string { return uuid(d.Lab, d.Target, d.Machine) }

// root is the name of the disk the machine boots from.
func (d definition) root() string {
	if len(d.Attrs.Disks) == 0 {
		return ""
	}
	return d.Attrs.Disks[0]
}

// held says whether the machine must not run before it has been told something over QMP.
func (d definition) held() bool {
	return slices.ContainsFunc(d.Attrs.NICs, func(n nic) bool { return n.Link == lab.Down })
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
func (ds dirs) save(d definition) error {
	b, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return fmt.Errorf("definition of machine %s: %w", d.Machine, err)
	}
	return files.Write(filepath.Join(ds.machine(d.Machine), "machine.json"), append(b, '\n'), 0o644)
}

// diskAttrs are a disk's attributes in normal form. Exactly one of Size and BootSize is set.
type diskAttrs struct {
	Image string `json:"image,omitempty"` // identity of the base; empty for a blank disk
	// Install is "network" for a disk that is blank when it is made, for the machine to write Image on it.
	Install string    `json:"install,omitempty"`
	Size    lab.Bytes `json:"size,omitempty"`
	// BootSize is the size of a disk that is attached as NVMe (the root under firmware "kernel"): QEMU does not let
	// that grow while it runs.
	BootSize lab.Bytes `json:"boot_size,omitempty"`
	Protect  bool      `json:"protect,omitempty"`
	Pool     string    `json:"pool,omitempty"` // folder of the pool that the file is in; "" is the lab's own
}

func (a diskAttrs) bytes() lab.Bytes { return max(a.Size, a.BootSize) }

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

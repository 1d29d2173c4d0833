package install

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A found is a disk of the machine.
type found struct {
	name    string // the kernel's
	serial  string // "" if it tells none
	sectors uint64 // of 512 bytes
	block   int    // size of its own sectors, in bytes
	fixed   bool   // neither removable nor read-only
}

func (f found) String() string {
	s := fmt.Sprintf("%s (%d MiB", f.name, f.sectors*sector>>20)
	if f.serial != "" {
		s += ", serial " + f.serial
	}
	return s + ")"
}

// unreal are what the kernel calls its block devices that are no disks of the machine.
var unreal = []string{"loop", "ram", "zram", "sr", "fd", "md", "dm-", "nbd", "mtdblock"}

// disks are the machine's, by name. sys is where sysfs is mounted.
func disks(sys string) ([]found, error) {
	dirs, err := os.ReadDir(filepath.Join(sys, "block"))
	if err != nil {
		return nil, fmt.Errorf("looking for disks: %w", err)
	}
	var all []found
	for _, d := range dirs {
		if slices.ContainsFunc(unreal, func(p string) bool { return strings.HasPrefix(d.Name(), p) }) {
			continue
		}
		dir := filepath.Join(sys, "block", d.Name())
		f := found{name: d.Name(), serial: serial(dir), block: int(number(dir, "queue/logical_block_size"))}
		f.sectors = number(dir, "size")
		f.fixed = number(dir, "ro") == 0 && number(dir, "removable") == 0
		if f.sectors > 0 {
			all = append(all, f)
		}
	}
	return all, nil
}

func number(dir, name string) uint64 {
	n, _ := strconv.ParseUint(text(dir, name), 10, 64)
	return n
}

// text is what an attribute says; "" if it is not there.
func text(dir, name string) string {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// serial is a disk's serial number: virtio's own, NVMe's, or SCSI's page 0x80.
func serial(dir string) string {
	for _, name := range []string{"serial", "device/serial"} {
		if s := text(dir, name); s != "" {
			return s
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "device/vpd_pg80")); err == nil && len(b) > 4 {
		return strings.TrimSpace(string(b[4:]))
	}
	return ""
}

// errNone is that there is no disk yet: its driver may take a moment.
var errNone = errors.New("the machine has no disk")

// choose is the disk that is meant.
func choose(all []found, want Disk) (found, error) {
	var names []string
	var meant []found
	for _, f := range all {
		if !f.fixed {
			continue
		}
		names = append(names, f.String())
		if want.Serial == "" || f.serial == want.Serial {
			meant = append(meant, f)
		}
	}
	switch {
	case len(names) == 0:
		return found{}, errNone
	case len(meant) == 0:
		return found{}, fmt.Errorf("no disk has serial %q; there is %s", want.Serial, strings.Join(names, ", "))
	case len(meant) > 1 && want.Serial == "":
		return found{}, fmt.Errorf("the machine has several disks, and the order does not say which: %s", strings.Join(names, ", "))
	case len(meant) > 1:
		return found{}, fmt.Errorf("several disks have serial %q: %s", want.Serial, strings.Join(names, ", "))
	case meant[0].block != sector:
		return found{}, fmt.Errorf("disk %s has sectors of %d bytes; images are made for %d", meant[0], meant[0].block, sector)
	}
	return meant[0], nil
}

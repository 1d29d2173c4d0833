package nspawn

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"

	"github.com/labctl-dev/labctl/plugins/nspawn/room"
	"github.com/labctl-dev/labctl/provider/failure"
)

// dirs is the folder of one lab on one target.
type dirs struct {
	lab  string
	data string
}

func (s *nspawn) dirs(lab string) dirs {
	return dirs{lab: lab, data: filepath.Join(s.home, "labs", lab, "targets", s.target)}
}

// make makes the folders.
func (d dirs) make() error {
	for _, p := range []string{d.machines(), d.room()} {
		if err := os.MkdirAll(p, 0o755); err != nil {
			return failure.File(err)
		}
	}
	return nil
}

func (d dirs) room() string                { return filepath.Join(d.data, "room") }
func (d dirs) client() room.Client         { return room.Client{Dir: d.room()} }
func (d dirs) machines() string            { return filepath.Join(d.data, "machines") }
func (d dirs) machine(name string) string  { return filepath.Join(d.data, "machines", name) }
func (d dirs) seed(name string) string     { return filepath.Join(d.machine(name), "seed") }
func (d dirs) disks(machine string) string { return filepath.Join(d.data, "disks", machine) }

// label is the file beside a disk that says what it is; the disk exists when it does.
func (d dirs) label(machine, disk string) string {
	return filepath.Join(d.disks(machine), disk+".json")
}

// root is the folder of a disk that a machine starts from: what the machine has written. file is another disk.
func (d dirs) root(machine, disk string) string { return filepath.Join(d.disks(machine), disk+".root") }
func (d dirs) file(machine, disk string) string { return filepath.Join(d.disks(machine), disk+".raw") }

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// key is a short stand-in for a name.
func key(name string) string {
	h := sha256.Sum256([]byte(name))
	return hex.EncodeToString(h[:])[:10]
}

package qemu

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/failure"
)

// maxSocket is the longest path of a unix socket in bytes: 103 on macOS, 107 on Linux (sun_path in sys/un.h).
const maxSocket = 103

// dirs are the two folders of one lab on one target.
type dirs struct {
	lab, target string
	data        string // D: disks, definitions, logs
	run         string // R: sockets; short, because a socket's path is limited
}

// key is a short stand-in for a name where the length of paths is limited.
func key(name string) string {
	h := sha256.Sum256([]byte(name))
	return hex.EncodeToString(h[:])[:10]
}

// dirs finds a lab's folders without making them. Where the sockets are is remembered in D/run, so that a shell with
// another XDG_RUNTIME_DIR (cron, sudo) finds the same machines.
func (q *qemu) dirs(lab string) dirs { return dirsAt(q.home, lab, q.target) }

// dirsAt is dirs for any target.
func dirsAt(home, lab, target string) dirs {
	d := dirs{lab: lab, target: target, data: filepath.Join(home, "labs", lab, "targets", target)}
	if run, err := os.Readlink(filepath.Join(d.data, "run")); err == nil {
		if st, err := os.Stat(run); err == nil && st.IsDir() {
			d.run = run
			return d
		}
	}
	base := os.Getenv("XDG_RUNTIME_DIR")
	if base == "" {
		base = filepath.Join("/tmp", "labctl-"+strconv.Itoa(os.Getuid())) // not TMPDIR, which may be long
	}
	d.run = filepath.Join(base, key(d.data))
	return d
}

// make makes the folders.
func (d dirs) make() error {
	if n := len(d.socket("net", "x", "y")); n > maxSocket {
		return &provider.Error{Code: provider.Invalid, Text: fmt.Sprintf("the folder for sockets, %s, is too long by %d bytes: set XDG_RUNTIME_DIR to a shorter one", d.run, n-maxSocket)}
	}
	for _, p := range []string{d.data, d.machines()} {
		if err := os.MkdirAll(p, 0o755); err != nil {
			return failure.File(err)
		}
	}
	for _, p := range []string{filepath.Dir(d.run), d.run, filepath.Join(d.run, "qmp"), filepath.Join(d.run, "look"), filepath.Join(d.run, "serial"), filepath.Join(d.run, "net")} {
		if err := os.MkdirAll(p, 0o700); err != nil {
			return failure.File(err)
		}
	}
	if err := private(d.run); err != nil {
		return err
	}
	link := filepath.Join(d.data, "run")
	if old, err := os.Readlink(link); err == nil && old == d.run {
		return nil
	}
	os.Remove(link)
	if err := os.Symlink(d.run, link); err != nil && !errors.Is(err, fs.ErrExist) {
		return failure.File(err)
	}
	return nil
}

// private refuses a folder that somebody else could have put there or can look into.
func private(dir string) error {
	st, err := os.Lstat(dir)
	if err != nil {
		return failure.File(err)
	}
	if !st.IsDir() || st.Mode().Perm()&0o077 != 0 || owner(st) != os.Getuid() {
		return &provider.Error{Code: provider.Foreign, Text: dir + " is not a private folder of this user"}
	}
	return nil
}

func (d dirs) machines() string            { return filepath.Join(d.data, "machines") }
func (d dirs) machine(name string) string  { return filepath.Join(d.data, "machines", name) }
func (d dirs) disks(machine string) string { return filepath.Join(d.data, "disks", machine) }
func (d dirs) disk(machine, n string) string {
	return filepath.Join(d.data, "disks", machine, n+".qcow2")
}

// named is the machine and the disk that a path as of disk is of.
func (d dirs) named(path string) (machine, disk string) {
	return filepath.Base(filepath.Dir(path)), strings.TrimSuffix(filepath.Base(path), ".qcow2")
}

func (d dirs) socket(kind string, names ...string) string {
	p := filepath.Join(d.run, kind)
	for _, n := range names {
		p = filepath.Join(p, key(n))
	}
	return p
}

func (d dirs) qmp(machine string) string           { return d.socket("qmp", machine) }
func (d dirs) look(machine string) string          { return d.socket("look", machine) } // a second monitor, for Observe
func (d dirs) serial(machine string) string        { return d.socket("serial", machine) }
func (d dirs) port(network, machine string) string { return d.socket("net", network, machine) }

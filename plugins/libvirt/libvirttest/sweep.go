package libvirttest

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// prefix of the folders of hosts. Paths of unix sockets are short: they are not below a test's own folder.
const prefix = "/tmp/lvt-"

// folder makes a host's folder with a lock that says that its test is alive. It has its name only with the lock.
func folder() (string, *os.File, error) {
	fresh, err := os.MkdirTemp("/tmp", "new-lvt-")
	if err != nil {
		return "", nil, err
	}
	lock, err := take(fresh)
	if err != nil {
		return "", nil, err
	}
	dir := prefix + strings.TrimPrefix(fresh, "/tmp/new-lvt-")
	if err := os.Rename(fresh, dir); err != nil {
		lock.Close()
		return "", nil, err
	}
	return dir, lock, nil
}

// take locks a host's folder for as long as this process lives.
func take(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// sweep removes the folders of tests that were killed. Their processes are gone already: see keeper.sh.
func sweep() {
	dirs, _ := filepath.Glob(prefix + "*")
	for _, dir := range dirs {
		if lock, err := take(dir); err == nil {
			os.RemoveAll(dir)
			lock.Close()
		}
	}
}

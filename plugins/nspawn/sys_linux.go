package nspawn

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/labctl-dev/labctl/plugins/nspawn/room"
)

// apart are the attributes of a process that outlives this one, in a network namespace of its own and, with mounts, with
// mounts of its own.
func apart(mounts bool) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setsid: true, Cloneflags: syscall.CLONE_NEWNET}
	if mounts {
		a.Cloneflags |= syscall.CLONE_NEWNS
	}
	return a
}

// inside calls f in the network namespace of a process; sockets that f makes stay there.
func inside(pid int, f func() error) error {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return err
	}
	defer ns.Close()
	return room.Inside(ns, f)
}

// watches says whether this user can have as many more inotify instances; the kernel counts those of all its processes.
func watches(n int) bool {
	for range n {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
		if err != nil {
			return false
		}
		defer unix.Close(fd)
	}
	return true
}

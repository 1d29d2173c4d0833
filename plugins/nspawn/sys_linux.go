package nspawn

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/labctl-dev/labctl/plugins/nspawn/room"
)

// apart are the attributes of a process that outlives this one, in a network namespace of its own and, for a machine,
// with mounts and processes of its own: the kernel ends all of these with it, however it ends. systemd-nspawn alone does
// not end the machine's init when it is killed.
func apart(machine bool) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setsid: true, Cloneflags: syscall.CLONE_NEWNET}
	if machine {
		a.Cloneflags |= syscall.CLONE_NEWNS | syscall.CLONE_NEWPID
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

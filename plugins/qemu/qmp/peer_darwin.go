package qmp

import (
	"net"

	"golang.org/x/sys/unix"
)

// peer is the id of the process that listens at the other end (LOCAL_PEERPID, sys/un.h).
func peer(c *net.UnixConn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var pid int
	var inner error
	if err := raw.Control(func(fd uintptr) {
		pid, inner = unix.GetsockoptInt(int(fd), unix.SOL_LOCAL, unix.LOCAL_PEERPID)
	}); err != nil {
		return 0, err
	}
	return pid, inner
}

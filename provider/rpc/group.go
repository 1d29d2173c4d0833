//go:build unix

package rpc

import (
	"os"
	"syscall"
)

// killGroup kills the leader of a process group and the group.
func killGroup(leader *os.Process) {
	_ = syscall.Kill(-leader.Pid, syscall.SIGKILL)
	_ = leader.Kill()
}

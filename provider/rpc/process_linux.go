package rpc

import "syscall"

// tied is a process group of its own and, when we die however we do, death.
func tied() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

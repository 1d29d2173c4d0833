//go:build unix && !linux

package rpc

import "syscall"

// tied is a process group of its own. When we die, the plugin sees its stdin end; see watchParent.
func tied() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

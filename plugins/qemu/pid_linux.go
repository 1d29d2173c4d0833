package qemu

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// alive says whether a process runs; one that has ended but was not yet waited for does not.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) == syscall.ESRCH {
		return false
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return !os.IsNotExist(err)
	}
	rest := b[bytes.LastIndexByte(b, ')')+1:] // the name before it may hold anything (proc(5))
	return !strings.HasPrefix(strings.TrimSpace(string(rest)), "Z")
}

// ours says whether a process was started with a machine's mark on its command line.
func ours(pid int, mark string) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	return err == nil && bytes.Contains(b, []byte("\x00"+mark+"\x00"))
}

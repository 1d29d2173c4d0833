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

// began tells one process from another that had its number before: when it was started, in the host's own terms; ""
// if it is gone.
func began(pid int) string {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return ""
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 20 {
		return ""
	}
	return fields[19] // ticks since the host started (proc(5), field 22)
}

// ours says whether a process was started with a machine's mark on its command line.
func ours(pid int, mark string) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	return err == nil && bytes.Contains(b, []byte("\x00"+mark+"\x00"))
}

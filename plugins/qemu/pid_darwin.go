package qemu

import (
	"bytes"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// alive says whether a process runs.
func alive(pid int) bool { return syscall.Kill(pid, 0) != syscall.ESRCH }

// began tells one process from another that had its number before: when it was started; "" if it is gone.
func began(pid int) string {
	out, err := exec.Command("ps", "-o", "lstart=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// ours says whether a process was started with a machine's mark on its command line.
func ours(pid int, mark string) bool {
	out, err := exec.Command("ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && bytes.Contains(out, []byte(" "+mark+" "))
}

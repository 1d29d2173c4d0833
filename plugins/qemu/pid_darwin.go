package qemu

import (
	"bytes"
	"os/exec"
	"strconv"
	"syscall"
)

// alive says whether a process runs.
func alive(pid int) bool { return syscall.Kill(pid, 0) != syscall.ESRCH }

// ours says whether a process was started with a machine's mark on its command line.
func ours(pid int, mark string) bool {
	out, err := exec.Command("ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && bytes.Contains(out, []byte(" "+mark+" "))
}

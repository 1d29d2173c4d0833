package box

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// openGroups lets a machine write to its control groups of version 1, which systemd-nspawn shows it for reading only: what
// runs containers in it makes groups below them. They are the machine's own, and its namespace has no others.
const openGroups = `for g in /sys/fs/cgroup/*; do [ -d "$g" ] && [ ! -h "$g" ] && mount -o remount,bind,rw,nosuid,nodev,noexec "$g"; done`

// open opens the control groups of the machine that systemd-nspawn with that pid runs, as soon as its init is there: what
// comes before has not put its mounts together yet. A machine that does not let that happen works, but for containers in it.
func open(nspawn int) {
	for range 600 {
		if init := first(nspawn); init != 0 {
			out, err := exec.Command("nsenter", "--target", fmt.Sprint(init), "--mount", "/bin/sh", "-c", openGroups).CombinedOutput()
			if err != nil {
				fmt.Fprintf(os.Stderr, "box: control groups stay closed: %v: %s\n", err, strings.TrimSpace(string(out)))
			}
			return
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", nspawn)); err != nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// first is the machine's init; 0 before there is one. systemd-nspawn's child, or the child's, is it as soon as it is no
// systemd-nspawn any more.
func first(nspawn int) int {
	ours := program(nspawn)
	for todo := []int{nspawn}; len(todo) > 0; todo = todo[1:] {
		lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", todo[0]))
		for _, l := range lists {
			b, _ := os.ReadFile(l)
			for _, w := range strings.Fields(string(b)) {
				var pid int
				if _, err := fmt.Sscan(w, &pid); err != nil {
					continue
				}
				if p := program(pid); p != "" && p != ours {
					return pid
				}
				todo = append(todo, pid)
			}
		}
	}
	return 0
}

// program is what a process runs, "" if that is not known.
func program(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

package qemu

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// hostMemory is what this host has, and what of it programs can get: pages that are free, or hold what can be read
// again. 0 is not known.
func hostMemory() (all, free lab.Bytes) {
	out, err := exec.Command("sysctl", "-n", "hw.memsize").Output()
	if err != nil {
		return 0, 0
	}
	n, _ := strconv.ParseUint(strings.TrimSpace(string(out)), 10, 63)
	out, err = exec.Command("vm_stat").Output()
	if err != nil {
		return 0, 0
	}
	page, text := uint64(16384), string(out)
	_, _ = fmt.Sscanf(text, "Mach Virtual Memory Statistics: (page size of %d bytes)", &page)
	for _, what := range []string{"Pages free:", "Pages inactive:", "Pages speculative:", "Pages purgeable:"} {
		free += kib(text, what) / lab.KiB * lab.Bytes(page)
	}
	return lab.Bytes(n), min(free, lab.Bytes(n))
}

// resident is the memory that a process has now.
func resident(pid int) lab.Bytes {
	out, err := exec.Command("ps", "-o", "rss=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return 0
	}
	return kib(string(out), "")
}

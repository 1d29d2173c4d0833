package qemu

import (
	"os"
	"strconv"

	"github.com/labctl-dev/labctl/lab"
)

// hostMemory is what this host has, and what of it programs can get without swapping (proc_meminfo(5)); 0 is not known.
func hostMemory() (all, free lab.Bytes) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, 0
	}
	return kib(string(b), "MemTotal:"), kib(string(b), "MemAvailable:")
}

// resident is the memory that a process has now.
func resident(pid int) lab.Bytes {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	return kib(string(b), "VmRSS:")
}

// Command guest is the whole userland of a test machine, as /init of an initramfs: it tells on the console what
// devices it sees, and powers off when asked to.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	for _, d := range []string{"/sys", "/proc"} {
		_ = os.MkdirAll(d, 0o755)
	}
	_ = syscall.Mount("sysfs", "/sys", "sysfs", 0, "")
	_ = syscall.Mount("proc", "/proc", "proc", 0, "")
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	fmt.Printf("BOOT %s", id)
	if cpu, _ := os.ReadFile("/proc/cpuinfo"); strings.Contains(string(cpu), " svm ") || strings.Contains(string(cpu), " vmx ") {
		fmt.Println("NESTS") // its processor can run machines
	}
	for last := ""; ; time.Sleep(100 * time.Millisecond) {
		if now := devices(); now != last {
			fmt.Println(now)
			last = now
		}
	}
}

// devices is a line: virtio devices by PCI class (1 disk, 2 NIC), then disks with their sizes in sectors.
func devices() string {
	words := []string{"SEES"}
	classes, _ := filepath.Glob("/sys/bus/pci/devices/*/class")
	nics, disks := 0, 0
	for _, c := range classes {
		b, _ := os.ReadFile(c)
		switch {
		case strings.HasPrefix(string(b), "0x0200"):
			nics++
		case strings.HasPrefix(string(b), "0x0100"):
			disks++
		}
	}
	words = append(words, fmt.Sprintf("nics=%d virtio-disks=%d", nics, disks))
	sizes, _ := filepath.Glob("/sys/block/*/size")
	for _, s := range sizes {
		b, _ := os.ReadFile(s)
		words = append(words, filepath.Base(filepath.Dir(s))+"="+strings.TrimSpace(string(b)))
	}
	return strings.Join(words, " ")
}

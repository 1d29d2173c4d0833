// Command inhabited is the whole userland of a test machine, as /init of an initramfs, that labctl can work with: it
// brings up its interfaces as its seed says, lets labctl in by ssh with the seed's keys, and answers the questions of
// labctl/guest as a machine that has converged would. Of the document it keeps addresses and files; it knows the
// commands of run only. It powers off when asked to.
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
	"unsafe"
)

func main() {
	for dir, kind := range map[string]string{"/sys": "sysfs", "/proc": "proc", "/dev": "devtmpfs"} {
		_ = os.MkdirAll(dir, 0o755)
		_ = syscall.Mount(kind, dir, kind, 0, "")
	}
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	fmt.Printf("BOOT %s", id)
	load()
	go button()
	s := findSeed()
	if s == nil {
		fmt.Println("no seed")
		select {}
	}
	_ = syscall.Sethostname([]byte(s.doc.Hostname))
	m := &machine{seed: s, doc: s.doc, text: s.text, report: s.doc.report("boot"), fresh: true}
	m.write()
	go m.cables()
	if err := m.serve(); err != nil {
		fmt.Println(err)
	}
	select {}
}

// load loads all modules, whatever order they need.
func load() {
	left, _ := filepath.Glob("/modules/*.ko")
	for progress := true; progress; {
		progress = false
		var failed []string
		for _, m := range left {
			f, err := os.Open(m)
			if err != nil {
				continue
			}
			none := []byte{0}
			_, _, errno := syscall.Syscall(313, f.Fd(), uintptr(unsafe.Pointer(&none[0])), 0) // finit_module
			f.Close()
			if errno == 0 {
				progress = true
			} else {
				failed = append(failed, m)
			}
		}
		left = failed
	}
}

// findSeed looks for a seed on any disk. Its ISO has the files whole.
func findSeed() *seed {
	for range 300 {
		disks, _ := filepath.Glob("/dev/[nv][vd]*")
		for _, d := range disks {
			b := make([]byte, 2<<20)
			f, err := os.Open(d)
			if err != nil {
				continue
			}
			n, _ := f.Read(b)
			f.Close()
			if _, rest, ok := bytes.Cut(b[:n], []byte("#cloud-config\n")); ok {
				s, err := parseSeed(rest)
				if err == nil {
					return s
				}
				fmt.Println(d, err)
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	return nil
}

// button powers off when an input device says KEY_POWER (Linux input-event-codes.h).
func button() {
	seen := map[string]bool{}
	for ; ; time.Sleep(100 * time.Millisecond) {
		all, _ := filepath.Glob("/dev/input/event*")
		for _, path := range all {
			if f, err := os.Open(path); err == nil && !seen[path] {
				seen[path] = true
				go func() {
					for b := make([]byte, 24); ; {
						if _, err := f.Read(b); err != nil {
							return
						}
						if binary.LittleEndian.Uint16(b[16:]) == 1 && binary.LittleEndian.Uint16(b[18:]) == 116 {
							_ = syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
						}
					}
				}()
			}
		}
	}
}

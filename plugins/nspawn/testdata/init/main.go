// Command init is the first and only program of the containers that the tests start: it tells that it runs, and ends
// when the machine is told to shut down.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
)

func main() {
	// As with systemd, it is not the end of this when systemd-nspawn ends.
	runtime.LockOSThread()
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_PDEATHSIG, 0, 0); errno != 0 {
		fmt.Println("prctl:", errno)
	}
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	fmt.Println("BOOT", strings.TrimSpace(string(id)), err)
	c := make(chan os.Signal, 1)
	signal.Notify(c)
	for s := range c {
		fmt.Println("signal", s)
		if n, ok := s.(syscall.Signal); ok && n >= 34 { // SIGRTMIN+3, by which systemd-nspawn shuts down (systemd(1))
			return
		}
	}
}

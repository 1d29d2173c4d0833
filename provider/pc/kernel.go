package pc

import (
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// KernelCmdline is what the kernel of an image is told that starts without firmware: the image's own words, with a console,
// and without a check of timers that emulation may fail. The kernel itself finds out that an emulated processor's cycles are
// no clock: measured against another timer at boot, they may be off by a hundredth on a busy host, and by more.
func KernelCmdline(own string, arch lab.Arch, emulated bool) string {
	words := strings.Fields(own)
	if !strings.Contains(own, "console=") {
		console := "console=ttyS0"
		if arch == lab.ARM64 {
			console = "console=ttyAMA0"
		}
		words = append(words, console)
	}
	if w := "no_timer_check"; emulated && arch != lab.ARM64 && !slices.Contains(words, w) {
		words = append(words, w)
	}
	return strings.Join(words, " ")
}

//go:build !linux

package box

import (
	"fmt"
	"os"
)

// Main says that there are no containers here.
func Main([]string) int {
	fmt.Fprintln(os.Stderr, "box: containers need Linux")
	return 1
}

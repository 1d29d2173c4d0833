//go:build !linux

package room

import (
	"fmt"
	"os"
)

// Main says that there are no rooms here.
func Main([]string) int {
	fmt.Fprintln(os.Stderr, "room: network namespaces need Linux")
	return 1
}

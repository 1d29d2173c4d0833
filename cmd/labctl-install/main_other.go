//go:build !linux

// Command labctl-install runs on the Linux of a target's initrd; see main_linux.go.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "labctl-install is the first process of a target's initrd: it is for Linux")
	os.Exit(1)
}

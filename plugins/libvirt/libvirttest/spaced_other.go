//go:build !linux

package libvirttest

import "os/exec"

// spaced is never asked for: where there is no libvirtd, need has skipped the test.
func (d *Daemon) spaced(Config) *exec.Cmd { return exec.Command("false") }

//go:build !linux

package libvirttest

import (
	"context"
	"net"
	"os/exec"
)

// Where there is no libvirtd, need has skipped the test.

func (d *Daemon) spaced(Config) *exec.Cmd { return exec.Command("false") }

func (d *Daemon) dialInto(ctx context.Context, network, address string) (net.Conn, error) {
	var dialer net.Dialer
	return dialer.DialContext(ctx, network, address)
}

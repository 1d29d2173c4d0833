package uri

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strconv"
	"syscall"

	"github.com/labctl-dev/labctl/provider"
)

// DialGuest opens a TCP connection to a machine from the libvirt host: directly if that is this one, else through the
// user's ssh. An IPv6 link-local address has the name of the host's bridge as its zone. Over tls and tcp there is no
// way through the host: then only machines that this computer reaches by itself are reached.
// A machine that refuses is code Unavailable, as is one that does not answer, which takes until ctx ends to find out.
func (u URI) DialGuest(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	switch {
	case !to.IsValid() || to.Port() == 0:
		return nil, &provider.Error{Code: provider.Invalid, Text: fmt.Sprintf("%s is no address of a port", to)}
	case u.Transport == "ssh":
		return u.forward(ctx, to)
	case !u.Local() && to.Addr().IsLinkLocalUnicast():
		return nil, &provider.Error{Code: provider.Unsupported, Text: fmt.Sprintf("%s is only reached on %s itself, and %s does not lead there: use qemu+ssh", to, u.Host, u.Transport)}
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", to.String())
	switch {
	case err == nil:
		return c, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("gave up waiting for %s: %w", to, ctx.Err())
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, &provider.Error{Code: provider.Unavailable, Text: fmt.Sprintf("%s refuses the connection", to)}
	}
	return nil, &provider.Error{Code: provider.Unavailable, Text: fmt.Sprintf("cannot connect to %s: %v", to, err)}
}

// forward is a connection made by the ssh server on the libvirt host.
func (u URI) forward(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	cmd, err := u.forwarding(to)
	if err != nil {
		return nil, err
	}
	p, err := u.pipe(cmd)
	if err != nil {
		return nil, err
	}
	g := &guest{process: p, begun: make(chan piece, 1)}
	go g.begin()
	if err := g.opened(ctx); err != nil {
		g.Close()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("gave up waiting for %s, from %s: %w", to, u.Host, ctx.Err())
		}
		if p.stderr.has("open failed") {
			return nil, &provider.Error{Code: provider.Unavailable, Text: fmt.Sprintf("%s cannot connect to %s: %s", u.Host, to, p.stderr.refusal())}
		}
		return nil, err
	}
	return g, nil
}

func (u URI) forwarding(to netip.AddrPort) (*exec.Cmd, error) {
	target := net.JoinHostPort(to.Addr().String(), strconv.Itoa(int(to.Port())))
	// ssh says that the channel is open only to those who listen closely (-vv), and not at all through a shared
	// connection of the user's.
	return u.ssh([]string{"-vv", "-o", "ControlPath=none", "-W", target})
}

// guest is a connection to a machine through ssh.
type guest struct {
	*process
	begun chan piece // has what the machine said first, once it has
	first *piece     // what of it is not read yet; nil before
}

type piece struct {
	data []byte
	err  error
}

// begin reads what comes first. It ends with the process at the latest.
func (g *guest) begin() {
	b := make([]byte, 4096)
	n, err := g.process.Read(b)
	g.begun <- piece{b[:n], err}
}

// opened waits until the channel is open, or the machine has said something, or it is over.
func (g *guest) opened(ctx context.Context) error {
	for {
		select {
		case first := <-g.begun:
			g.first = &first
			if len(first.data) > 0 {
				return nil
			}
			return first.err
		case <-g.stderr.changed:
			if g.stderr.has("open confirm") {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Read implements net.Conn; one goroutine reads at a time.
func (g *guest) Read(b []byte) (int, error) {
	if g.first == nil {
		first := <-g.begun
		g.first = &first
	}
	if len(g.first.data) > 0 {
		n := copy(b, g.first.data)
		g.first.data = g.first.data[n:]
		return n, nil
	}
	if g.first.err != nil {
		return 0, g.first.err
	}
	return g.process.Read(b)
}

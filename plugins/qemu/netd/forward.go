package netd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/labctl-dev/labctl/plugins/qemu/netd/gateway"
)

const (
	// maxForwarded bounds the connections of one forwarded port; what is beyond waits to be accepted.
	maxForwarded = 256
	// forwardWithin is how long a machine may take to accept a forwarded connection.
	forwardWithin = 10 * time.Second
)

// Forward leads a TCP port of the host to one of a machine. The machine sees the connection come from labctl's own
// address on the network.
type Forward struct {
	Listen  netip.AddrPort `json:"listen"`            // of the host
	To      netip.AddrPort `json:"to"`                // on the network, or behind one of its routers
	Machine string         `json:"machine,omitempty"` // whose To is, for people
}

func (f Forward) String() string {
	if f.Machine == "" {
		return f.To.String()
	}
	return fmt.Sprintf("%s:%d", f.Machine, f.To.Port())
}

func (n Network) checkForward() error {
	taken := map[netip.AddrPort]bool{}
	for _, f := range n.Forward {
		switch {
		case !f.Listen.IsValid() || f.Listen.Port() == 0:
			return fmt.Errorf("network %s: forward of %q: no address and port of the host", n.Name, f.Listen)
		case !f.To.IsValid() || f.To.Port() == 0:
			return fmt.Errorf("network %s: forward of %s: %q is no address and port of a machine", n.Name, f.Listen, f.To)
		case taken[f.Listen]:
			return fmt.Errorf("network %s: forward of %s: there are two", n.Name, f.Listen)
		}
		taken[f.Listen] = true
	}
	return nil
}

// forwards are the ports of the host that lead into one network.
type forwards struct {
	dial func(context.Context, netip.AddrPort) (gateway.Stream, error)
	log  *slog.Logger

	mu   sync.Mutex
	open map[netip.AddrPort]*forwarded // by Listen
}

// forwarded is one port of the host.
type forwarded struct {
	listener *net.TCPListener
	stop     context.CancelFunc
	done     sync.WaitGroup

	mu sync.Mutex
	to Forward
}

// set opens what is new, and if that works, leads all to where they belong and closes the rest. Connections of those
// that stay last.
func (s *forwards) set(ctx context.Context, want []Forward) *Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh := map[netip.AddrPort]*net.TCPListener{}
	for _, f := range want {
		if s.open[f.Listen] != nil {
			continue
		}
		l, err := listen(f)
		if err != nil {
			for _, l := range fresh {
				_ = l.Close()
			}
			return err
		}
		fresh[f.Listen] = l
	}
	wanted := map[netip.AddrPort]bool{}
	for _, f := range want {
		wanted[f.Listen] = true
		if p := s.open[f.Listen]; p != nil {
			p.mu.Lock()
			p.to = f
			p.mu.Unlock()
			continue
		}
		p := &forwarded{listener: fresh[f.Listen], to: f}
		ctx, stop := context.WithCancel(ctx)
		p.stop = stop
		p.done.Go(func() { p.accept(ctx, s) })
		s.open[f.Listen] = p
	}
	for at, p := range s.open {
		if !wanted[at] {
			p.close()
			delete(s.open, at)
		}
	}
	return nil
}

// listen opens a port of the host, and names it when that fails.
func listen(f Forward) (*net.TCPListener, *Error) {
	family := "tcp4"
	if f.Listen.Addr().Is6() {
		family = "tcp6" // and not the IPv4 port too
	}
	l, err := net.ListenTCP(family, net.TCPAddrFromAddrPort(f.Listen))
	if err == nil {
		return l, nil
	}
	code, why := Failed, err.Error()
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		code, why = InUse, "another program on this host has the port"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		code, why = Invalid, "this host does not have the address"
	case errors.Is(err, syscall.EACCES):
		code, why = Denied, "ports below 1024 are not for every user"
	}
	return nil, fail("set", code, "cannot forward %s to %s: %s", f.Listen, f, why)
}

// accept leads connections on until the port is closed.
func (p *forwarded) accept(ctx context.Context, s *forwards) {
	room := make(chan struct{}, maxForwarded)
	for {
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			return
		}
		c, err := p.listener.AcceptTCP()
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			<-room
			s.log.Warn("cannot accept a forwarded connection", "port", p.listener.Addr(), "why", err)
			select {
			case <-time.After(look): // no file descriptors left, most likely: some will be
			case <-ctx.Done():
			}
			continue
		}
		p.done.Go(func() {
			defer func() { <-room }()
			p.lead(ctx, s, c)
		})
	}
}

// lead is the wire between a client on the host and the machine. A client whom the machine does not answer is reset,
// so that it does not take us for the machine.
func (p *forwarded) lead(ctx context.Context, s *forwards, c *net.TCPConn) {
	p.mu.Lock()
	to := p.to
	p.mu.Unlock()
	within, cancel := context.WithTimeout(ctx, forwardWithin)
	stream, err := s.dial(within, to.To)
	cancel()
	if err != nil {
		s.log.Info("forwarded connection refused", "port", to.Listen, "to", to.String(), "why", err)
		_ = c.SetLinger(0)
		_ = c.Close()
		return
	}
	stop := context.AfterFunc(ctx, func() {
		_ = c.Close()
		_ = stream.Close()
	})
	defer stop()
	gateway.Relay(c, stream)
}

// release gives up a port, because another network has it now. It says whether it was ours.
func (s *forwards) release(at netip.AddrPort) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.open[at]
	if p != nil {
		p.close()
		delete(s.open, at)
	}
	return p != nil
}

// close ends all ports and their connections.
func (s *forwards) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at, p := range s.open {
		p.close()
		delete(s.open, at)
	}
}

func (p *forwarded) close() {
	p.stop()
	_ = p.listener.Close()
	p.done.Wait()
}

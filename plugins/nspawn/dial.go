package nspawn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"

	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/site"
)

// Dial implements provider.Dialer: it calls from within the machine's own network namespace, so it works however isolated
// the machine is, while its addresses change, and whatever its packet filter says.
func (s *nspawn) Dial(ctx context.Context, e provider.Endpoint) (io.ReadWriteCloser, error) {
	conn, err := s.dial(ctx, e)
	if err != nil {
		return nil, provider.Wrap(fmt.Sprintf("dial port %d of", e.Port), addr(kindMachine, e.Machine), err)
	}
	return conn, nil
}

func (s *nspawn) dial(ctx context.Context, e provider.Endpoint) (net.Conn, error) {
	m, err := e.Dialled()
	if err != nil {
		return nil, err
	}
	here, err := site.Place(e.Lab, s.opts.UplinkCIDR, networkAddr)
	if err != nil {
		return nil, err
	}
	r, ok := s.running(s.dirs(e.Lab.Name), e.Machine)
	if !ok {
		return nil, &provider.Error{Code: provider.NotFound, Text: "the machine is off"}
	}
	var own []netip.Addr
	for _, n := range m.NICs {
		for _, a := range []netip.Addr{here.Addr(m.Name, n.Network), n.Addr6} {
			if a.IsValid() {
				own = append(own, a)
			}
		}
	}
	var refused error
	for _, a := range append(own, netip.AddrFrom4([4]byte{127, 0, 0, 1})) {
		if a.IsLoopback() && refused != nil {
			break // it has its addresses, and nothing listens at them
		}
		conn, err := s.call(ctx, r.pid, netip.AddrPortFrom(a, uint16(e.Port)))
		switch {
		case err == nil:
			return conn, nil
		case ctx.Err() != nil:
			return nil, &provider.Error{Code: provider.CodeOf(ctx.Err()), Text: err.Error()}
		case errors.Is(err, syscall.EADDRNOTAVAIL): // an address that the machine has not got yet
		default:
			refused = err
		}
	}
	if refused == nil {
		refused = errors.New("nothing listens there")
	}
	return nil, &provider.Error{Code: provider.Unavailable, Text: refused.Error()}
}

// call connects to a machine's own address from that address.
func (s *nspawn) call(ctx context.Context, pid int, to netip.AddrPort) (net.Conn, error) {
	var conn net.Conn
	err := inside(pid, func() (err error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: to.Addr().AsSlice()}}
		conn, err = d.DialContext(ctx, "tcp", to.String())
		return err
	})
	return conn, err
}

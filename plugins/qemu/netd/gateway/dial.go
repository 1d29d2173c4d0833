package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// Why a connection to a machine did not come about. It is a real one, so these are the machine's own answers.
var (
	ErrRefused     = errors.New("connection refused") // the machine is there, nothing listens
	ErrTimeout     = errors.New("no answer in time")  // something swallows the packets
	ErrUnreachable = errors.New("no machine there")   // nobody has the address, or no route leads there
)

// Dial connects to a TCP port of a machine, over this network.
func (g *Gateway) Dial(ctx context.Context, to netip.AddrPort) (Stream, error) {
	conn, err := g.dial(ctx, to)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", to, err)
	}
	return conn, nil
}

func (g *Gateway) dial(ctx context.Context, to netip.AddrPort) (Stream, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var wq waiter.Queue
	ep, terr := g.stack.NewEndpoint(tcp.ProtocolNumber, network(to.Addr()), &wq)
	if terr != nil {
		return nil, reason(terr)
	}
	entry, writable := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventErr | waiter.EventHUp)
	wq.EventRegister(&entry)
	defer wq.EventUnregister(&entry)
	keepalive(ep)
	terr = ep.Connect(tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFromSlice(to.Addr().AsSlice()), Port: to.Port()})
	if _, started := terr.(*tcpip.ErrConnectStarted); started {
		select {
		case <-writable:
			terr = ep.LastError()
		case <-ctx.Done():
			ep.Abort()
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil, ErrTimeout
			}
			return nil, ctx.Err()
		}
	}
	if terr != nil {
		ep.Close()
		return nil, reason(terr)
	}
	return gonet.NewTCPConn(&wq, ep), nil
}

func reason(err tcpip.Error) error {
	switch err.(type) {
	case *tcpip.ErrConnectionRefused, *tcpip.ErrConnectionReset, *tcpip.ErrConnectionAborted:
		return ErrRefused
	case *tcpip.ErrTimeout:
		return ErrTimeout
	case *tcpip.ErrHostUnreachable, *tcpip.ErrNetworkUnreachable, *tcpip.ErrHostDown:
		return ErrUnreachable
	}
	return errors.New(err.String())
}

package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/labctl-dev/labctl/plugins/qemu/netd"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/site"
)

// Dial implements provider.Dialer: it tries all the machine's networks at once, and on each the machine's address and
// its IPv6 link-local one, so that it works while addresses change. The first connection wins.
func (q *qemu) Dial(ctx context.Context, e provider.Endpoint) (io.ReadWriteCloser, error) {
	conn, err := q.dial(ctx, e)
	if err != nil {
		return nil, provider.Wrap(fmt.Sprintf("dial port %d of", e.Port), addr(kindMachine, e.Machine), err)
	}
	return conn, nil
}

func (q *qemu) dial(ctx context.Context, e provider.Endpoint) (net.Conn, error) {
	requests, err := q.requests(e)
	if err != nil {
		return nil, err
	}
	ds := q.dirs(e.Lab.Name)
	if q.process(e.Machine, ds) == 0 { // nobody would answer, which takes long to find out
		return nil, &provider.Error{Code: provider.NotFound, Text: "the machine is off"}
	}
	client := ds.lans()
	won, errs := provider.Race(ctx, len(requests), func(ctx context.Context, way int) (net.Conn, error) {
		return client.Dial(ctx, requests[way])
	})
	if won != nil {
		return won, nil
	}
	return nil, telling(errs)
}

// requests are the ways to an endpoint.
func (q *qemu) requests(e provider.Endpoint) ([]netd.DialRequest, error) {
	m, err := e.Dialled()
	if err != nil {
		return nil, err
	}
	here, err := site.Place(e.Lab, q.opts.UplinkCIDR, networkAddr)
	if err != nil {
		return nil, err
	}
	var rs []netd.DialRequest
	for _, n := range m.NICs {
		rs = append(rs, netd.DialRequest{Network: n.Network, MAC: n.MAC, Addr: here.Addr(m.Name, n.Network), Port: uint16(e.Port)})
		if n.Addr6.IsValid() { // a firewall may let in only that
			rs = append(rs, netd.DialRequest{Network: n.Network, Addr: n.Addr6, Port: uint16(e.Port)})
		}
	}
	return rs, nil
}

// telling is one error of many: a machine that refuses is there, which says more than one that is silent.
func telling(errs []error) error {
	for _, code := range []netd.Code{netd.Refused, netd.NotRunning, netd.Timeout, netd.Unreachable, netd.NoNetwork} {
		for _, err := range errs {
			if netd.CodeOf(err) == code {
				return networkError(err)
			}
		}
	}
	return networkError(errors.Join(errs...))
}

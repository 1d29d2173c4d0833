package gce

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/gce/api"
	"github.com/labctl-dev/labctl/plugins/gce/tunnel"
	"github.com/labctl-dev/labctl/provider"
)

// Dial implements provider.Dialer.
func (g *gce) Dial(ctx context.Context, e provider.Endpoint) (io.ReadWriteCloser, error) {
	conn, err := g.dial(ctx, e)
	if err != nil {
		return nil, provider.Wrap("dial", addr(kindMachine, e.Machine), failed(err))
	}
	return conn, nil
}

func (g *gce) dial(ctx context.Context, e provider.Endpoint) (io.ReadWriteCloser, error) {
	m, err := e.Dialled()
	if err != nil {
		return nil, err
	}
	if g.opts.Access == accessNone {
		return nil, &provider.Error{Code: provider.Unsupported, Text: "the target says access: \"none\": labctl has no way into machines"}
	}
	var i api.Instance
	if err := g.client.Get(ctx, g.path(e.Lab.Name, addr(kindMachine, m.Name)), &i); err != nil {
		return nil, err
	}
	if p := powerOf(i.Status); p != lab.On {
		return nil, &provider.Error{Code: provider.NotFound, Text: fmt.Sprintf("it is %s", p)}
	}
	if g.opts.Access == accessExternal {
		return g.outside(ctx, e, i)
	}
	t := tunnel.Target{Project: g.opts.Project, Zone: g.opts.Zone, Instance: i.Name, Interface: "nic0", Port: e.Port}
	return tunnel.Dial(ctx, g.opts.IAP, t, g.token)
}

// token is one for the proxy; "" where nobody is asked who they are.
func (g *gce) token(ctx context.Context) (string, error) {
	t, ok := g.door.Transport.(*transport)
	if !ok || api.Loopback(g.opts.Endpoint) {
		return "", nil
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, g.opts.Endpoint, nil)
	if err != nil {
		return "", err
	}
	source, err := t.tokens(r)
	if err != nil {
		return "", &api.LoginError{Err: err}
	}
	tok, err := source.Token()
	if err != nil {
		return "", &api.LoginError{Err: err}
	}
	return tok.AccessToken, nil
}

// outside dials an external address: the machine's own, or a router's that publishes the port.
func (g *gce) outside(ctx context.Context, e provider.Endpoint, i api.Instance) (net.Conn, error) {
	to := ""
	if len(i.NICs) > 0 && len(i.NICs[0].Access) > 0 {
		to = net.JoinHostPort(i.NICs[0].Access[0].Address, strconv.Itoa(e.Port))
	}
	for _, r := range e.Lab.Machines {
		if to != "" || r.Routing == nil {
			continue
		}
		n := slices.IndexFunc(r.Routing.Publish, func(p lab.Publish) bool {
			return p.Proto == lab.TCP && p.Machine == e.Machine && int(p.To) == e.Port
		})
		if n < 0 {
			continue
		}
		var a api.Address
		if err := g.client.Get(ctx, g.path(e.Lab.Name, addr(kindAddress, r.Name)), &a); err != nil {
			return nil, err
		}
		to = net.JoinHostPort(a.Address, strconv.Itoa(int(r.Routing.Publish[n].Port)))
	}
	if to == "" {
		return nil, &provider.Error{Code: provider.NotFound, Text: fmt.Sprintf("it has no external address, and no router publishes port %d of it; access: \"iap\" reaches every machine", e.Port)}
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", to)
	switch {
	case err == nil:
		return conn, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	return nil, &provider.Error{Code: provider.Unavailable, Text: err.Error()}
}

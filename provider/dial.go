package provider

import (
	"context"
	"net"

	"github.com/labctl-dev/labctl/lab"
)

// Dialled is the endpoint's machine, or why nobody can reach such an endpoint.
func (e Endpoint) Dialled() (lab.Machine, error) {
	m, ok := e.Lab.Machine(e.Machine)
	switch {
	case !ok:
		return m, &Error{Code: NotFound, Text: "the lab has no such machine"}
	case len(m.NICs) == 0:
		return m, &Error{Code: Unsupported, Text: "the machine has no network interface"}
	case e.Port < 1 || e.Port > 65535:
		return m, &Error{Code: Invalid, Text: "a port is 1 to 65535"}
	}
	return m, nil
}

// Race tries n ways to the same endpoint at once and returns the first connection, or the errors of all. The losers are
// broken off, and have ended when it returns.
func Race(ctx context.Context, n int, dial func(ctx context.Context, way int) (net.Conn, error)) (net.Conn, []error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		conn net.Conn
		err  error
	}
	results := make(chan result, n)
	for way := range n {
		go func() {
			conn, err := dial(ctx, way)
			results <- result{conn, err}
		}()
	}
	var won net.Conn
	var errs []error
	for range n {
		switch got := <-results; {
		case got.err != nil:
			errs = append(errs, got.err)
		case won == nil:
			won = got.conn
			cancel()
		default:
			got.conn.Close()
		}
	}
	return won, errs
}

package rpc

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/labctl-dev/labctl/provider"
)

// halfCloser is a stream whose writing end can be closed alone, as a TCP connection's.
type halfCloser interface{ CloseWrite() error }

func (s *server) dial(r request, g grpc.ServerStream) error {
	p, err := s.get(r.Provider)
	if err != nil {
		return err
	}
	d, ok := p.(provider.Dialer)
	if !ok || !s.plugin.Description.Has(provider.Dials) {
		return cannot(provider.Dials)
	}
	if r.Lab == nil {
		return missing("lab")
	}
	conn, err := d.Dial(g.Context(), provider.Endpoint{Lab: *r.Lab, Machine: r.Machine, Port: r.Port})
	if err != nil {
		return err
	}
	return s.bridge(g, conn)
}

func (s *server) console(r request, g grpc.ServerStream) error {
	c, err := s.consoler(r)
	if err != nil {
		return err
	}
	conn, err := c.Console(g.Context(), *r.Lab, r.Machine)
	if err != nil {
		return err
	}
	return s.bridge(g, conn)
}

func (s *server) bootLog(r request, g grpc.ServerStream) error {
	c, err := s.consoler(r)
	if err != nil {
		return err
	}
	log, err := c.Log(g.Context(), *r.Lab, r.Machine, r.Follow)
	if err != nil {
		return err
	}
	defer closeWith(g.Context(), log)()
	if err := opened(g); err != nil {
		return err
	}
	return down(g, log)
}

func (s *server) consoler(r request) (provider.Consoler, error) {
	p, err := s.get(r.Provider)
	if err != nil {
		return nil, err
	}
	c, ok := p.(provider.Consoler)
	if !ok || !s.plugin.Description.Has(provider.Consoles) {
		return nil, cannot(provider.Consoles)
	}
	if r.Lab == nil {
		return nil, missing("lab")
	}
	return c, nil
}

// bridge copies between a gRPC stream and a provider's until both ways are over, the caller hangs up, or one fails.
func (s *server) bridge(g grpc.ServerStream, conn io.ReadWriteCloser) error {
	closeConn := closeWith(g.Context(), conn)
	defer closeConn()
	if err := opened(g); err != nil {
		return err
	}
	sent := make(chan error, 1)   // nil or a failure, when the caller has no more to say
	hungUp := make(chan struct{}) // closed when the caller is gone
	// up itself ends when this handler has returned, for only then RecvMsg surely does: nobody can wait for it.
	go func() {
		_ = s.guard("stream", func() error { up(g, conn, sent, hungUp); return nil })
		closeConn()
	}()
	err := down(g, conn)
	select {
	case <-hungUp: // an error is our own closing
		return nil
	default:
	}
	if err != nil {
		return err
	}
	select {
	case err = <-sent:
		return err
	case <-hungUp:
		return nil
	}
}

// up copies what the caller sends into w until the caller is gone.
func up(g grpc.ServerStream, w io.Writer, sent chan<- error, hungUp chan<- struct{}) {
	defer close(hungUp)
	var failed error
	halfClosed := false
	for {
		var m wrapperspb.BytesValue
		if err := g.RecvMsg(&m); err != nil {
			return
		}
		switch {
		case halfClosed:
		case len(m.Value) == 0:
			halfClosed = true
			if h, ok := w.(halfCloser); ok {
				failed = errors.Join(failed, h.CloseWrite())
			}
			sent <- failed
		case failed == nil:
			// After a failure the rest is read and dropped, so that what comes the other way still arrives.
			_, failed = w.Write(m.Value)
		}
	}
}

// down copies r to the caller, then says that there is no more.
func down(g grpc.ServerStream, r io.Reader) error {
	b := make([]byte, chunk)
	for {
		n, err := r.Read(b)
		if n > 0 {
			if err := g.SendMsg(wrapperspb.Bytes(b[:n])); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return g.SendMsg(wrapperspb.Bytes(nil))
		}
		if err != nil {
			return err
		}
	}
}

// opened tells the caller that bytes may flow.
func opened(g grpc.ServerStream) error {
	m, err := encode(reply{})
	if err != nil {
		return err
	}
	return g.SendMsg(m)
}

// closeWith closes c when ctx ends or the returned function is called, whichever is first.
func closeWith(ctx context.Context, c io.Closer) func() {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		<-ctx.Done()
		_ = c.Close()
		close(done)
	}()
	return func() {
		cancel()
		<-done
	}
}

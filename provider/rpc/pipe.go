package rpc

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/labctl-dev/labctl/provider"
)

// hangup is how long Close waits for what was written to arrive.
const hangup = time.Second

// open opens a stream of bytes. The stream outlives ctx, which is for the opening only, as net.Dialer's.
func (r *remote) open(ctx context.Context, op, method string, req request, writes bool) (*pipe, error) {
	a := provider.Addr{Provider: r.c.name, Kind: r.c.machineKind(), Name: req.Machine}
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	req.Provider = r.handle
	s, err := r.c.stream(life, method, grpc.StreamDesc{ClientStreams: writes}, req)
	if err == nil {
		err = s.RecvMsg(&wrapperspb.BytesValue{})
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		cancel()
		return nil, r.c.fail(ctx, op, a, "", err)
	}
	return &pipe{c: r.c, op: op, addr: a, s: s, cancel: cancel, writes: writes}, nil
}

// machineKind is the kind that stands for running machines, for errors about one.
func (c *Client) machineKind() string {
	for _, k := range c.Description.Kinds {
		if k.Machine {
			return k.Name
		}
	}
	return "machine"
}

// pipe is labctl's end of a stream of bytes: a message each way is bytes, an empty one a half-close. Reading and writing
// at the same time is fine, and so is closing meanwhile.
type pipe struct {
	c      *Client
	op     string
	addr   provider.Addr
	s      grpc.ClientStream
	cancel func()
	writes bool
	closed atomic.Bool

	recv sync.Mutex
	rest []byte
	err  error // what Read says from now on

	send sync.Mutex
	done bool // half-closed
}

// Read implements io.Reader.
func (p *pipe) Read(b []byte) (int, error) {
	p.recv.Lock()
	defer p.recv.Unlock()
	for len(p.rest) == 0 && len(b) > 0 {
		if p.closed.Load() {
			return 0, io.ErrClosedPipe
		}
		if p.err != nil {
			return 0, p.err
		}
		var m wrapperspb.BytesValue
		err := p.s.RecvMsg(&m)
		switch {
		case errors.Is(err, io.EOF) || err == nil && len(m.Value) == 0:
			p.err = io.EOF
		case err != nil && !p.closed.Load():
			p.err = p.c.fail(context.Background(), p.op, p.addr, "", err)
		}
		p.rest = m.Value
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// Write implements io.Writer.
func (p *pipe) Write(b []byte) (int, error) {
	p.send.Lock()
	defer p.send.Unlock()
	n := 0
	for n < len(b) {
		if p.done || !p.writes || p.closed.Load() {
			return n, io.ErrClosedPipe
		}
		part := b[n:min(n+chunk, len(b))]
		if err := p.s.SendMsg(wrapperspb.Bytes(part)); err != nil {
			return n, p.broken(err)
		}
		n += len(part)
	}
	return n, nil
}

// broken is why sending failed, as far as the sender can know: only the receiver gets the reason.
func (p *pipe) broken(err error) error {
	if !errors.Is(err, io.EOF) {
		return p.c.fail(context.Background(), p.op, p.addr, "", err)
	}
	select {
	case <-p.c.process.gone:
		return p.c.crashed(p.op, p.addr, "")
	case <-time.After(drain):
		return io.ErrClosedPipe
	}
}

// CloseWrite tells the other side that no more comes, and leaves reading as it is.
func (p *pipe) CloseWrite() error {
	p.send.Lock()
	defer p.send.Unlock()
	if p.done || !p.writes {
		return nil
	}
	p.done = true
	if err := p.s.SendMsg(wrapperspb.Bytes(nil)); err != nil && !errors.Is(err, io.EOF) {
		return p.c.fail(context.Background(), p.op, p.addr, "", err)
	}
	return nil
}

// Close hangs up. What was written before still arrives, within a second.
func (p *pipe) Close() error {
	if p.closed.Swap(true) {
		return nil
	}
	defer p.cancel()
	if !p.writes {
		return nil
	}
	late := time.AfterFunc(hangup, p.cancel) // also unblocks a Write or Read that is under way
	defer late.Stop()
	p.send.Lock()
	p.done = true
	err := p.s.CloseSend()
	p.send.Unlock()
	p.recv.Lock()
	defer p.recv.Unlock()
	for p.err == nil || errors.Is(p.err, io.EOF) { // until the plugin has ended the call: then it has written everything
		var m wrapperspb.BytesValue
		if p.s.RecvMsg(&m) != nil {
			break
		}
	}
	return err
}

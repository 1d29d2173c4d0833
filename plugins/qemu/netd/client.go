package netd

import (
	"context"
	"errors"
	"io"
	"net"
	"time"
)

// Client asks a network process. Its methods take as long as the context allows, but no longer than ten seconds
// (Dial: thirty); their errors are *Error. It is safe for concurrent use.
type Client struct {
	Socket string // path of the control socket: Paths.Socket
}

// Status is all that the process knows.
func (c Client) Status(ctx context.Context) (Status, error) {
	r, err := c.ask(ctx, request{Op: "status"})
	if err != nil {
		return Status{}, err
	}
	if r.Status == nil {
		return Status{}, fail("status", Failed, "an answer without status")
	}
	return *r.Status, nil
}

// Set makes the network n, or makes the one of that name into n while its ports stay connected. A change of CIDR,
// CIDR6 or Uplink ends connections through the gateway; nothing else does.
func (c Client) Set(ctx context.Context, n Network) error {
	_, err := c.ask(ctx, request{Op: "set", Network: &n})
	return err
}

// Remove ends the network called name; absent already is success. With its last network the process ends, and Remove
// returns when it has.
func (c Client) Remove(ctx context.Context, name string) error {
	_, err := c.ask(ctx, request{Op: "remove", Name: name})
	return err
}

// Shell gives a machine that installs itself from a network a shell at its next start from there, instead of installing it.
func (c Client) Shell(ctx context.Context, r ShellRequest) error {
	_, err := c.ask(ctx, request{Op: "shell", Shell: &r})
	return err
}

// Stop ends the process and returns when it has. See also the function Stop, for one that does not answer.
func (c Client) Stop(ctx context.Context) error {
	_, err := c.ask(ctx, request{Op: "stop"})
	return err
}

// Dial connects to a machine's TCP port. The connection is a *Conn, whose directions end separately.
func (c Client) Dial(ctx context.Context, r DialRequest) (net.Conn, error) {
	within := maxDial
	if d, ok := ctx.Deadline(); ok {
		within = min(within, time.Until(d))
	}
	ctx, cancel := context.WithTimeout(ctx, within+time.Second)
	defer cancel()
	conn, _, err := c.exchange(ctx, request{Op: "dial", Dial: &r, Within: max(1, within.Milliseconds())})
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// ask does everything but dial.
func (c Client) ask(ctx context.Context, q request) (response, error) {
	ctx, cancel := context.WithTimeout(ctx, talk)
	defer cancel()
	conn, r, err := c.exchange(ctx, q)
	if err != nil {
		return r, err
	}
	defer conn.Close()
	if !r.Ending {
		return r, nil
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	_, _ = io.Copy(io.Discard, conn)
	if err := ctx.Err(); err != nil {
		return r, fail(q.Op, CodeOf(err), "waited until the process has ended: %v", err)
	}
	return r, nil
}

// exchange sends q and returns the answer, and the connection if the answer is no error.
func (c Client) exchange(ctx context.Context, q request) (*Conn, response, error) {
	raw, err := new(net.Dialer).DialContext(ctx, "unix", c.Socket)
	if err != nil {
		code := NotRunning
		if ctx.Err() != nil {
			code = CodeOf(ctx.Err())
		}
		return nil, response{}, fail(q.Op, code, "%v", err)
	}
	conn := newConn(raw.(*net.UnixConn))
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	q.Version = Version
	var r response
	if err = conn.writeLine(q); err == nil {
		err = conn.readLine(&r)
	}
	intime := stop()
	switch {
	case ctx.Err() != nil || !intime:
		err = fail(q.Op, CodeOf(ctx.Err()), "no answer: %v", ctx.Err())
	case errors.Is(err, io.EOF), err != nil && isReset(err):
		err = fail(q.Op, NotRunning, "it went away before it answered")
	case err != nil:
		err = fail(q.Op, Failed, "%v", err)
	case r.Error != nil:
		r.Error.Op = q.Op
		err = r.Error
	case r.Version != Version && q.Op != "stop":
		err = fail(q.Op, WrongServer, "it speaks version %d, not %d", r.Version, Version)
	}
	if err != nil {
		_ = conn.Close()
		return nil, r, err
	}
	return conn, r, nil
}

// isReset says whether err is that of a connection whose other end has gone.
func isReset(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && !op.Timeout()
}

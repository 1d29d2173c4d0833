package rpc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/labctl-dev/labctl/provider"
)

// obituary is how long a broken connection may wait for the news that the process has died, and of what.
const obituary = 2 * time.Second

// Client is labctl's end of a running plugin.
type Client struct {
	Description provider.Description
	Path        string // of the plugin's program

	name    string
	timeout time.Duration
	plugin  *plugin.Client
	process *process
	conn    *grpc.ClientConn
	closed  atomic.Bool
}

// New makes a provider in the plugin. What it returns has all of provider's optional interfaces; those that the
// description does not announce answer Unsupported. It is good until Close.
func (c *Client) New(o provider.Options) (provider.Provider, error) {
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
	defer cancel()
	answer, err := c.call(ctx, "configure provider "+c.name, "New", request{Options: &o})
	if err != nil {
		return nil, err
	}
	return &remote{c, answer.Provider}, nil
}

// Plugin is the running plugin as if it were part of this program.
func (c *Client) Plugin() provider.Plugin {
	return provider.Plugin{Description: c.Description, New: c.New}
}

// Close ends the plugin and returns when it is gone: calls under way are canceled, a plugin that hangs is killed. It
// may be called again.
func (c *Client) Close() {
	c.closed.Store(true)
	late := time.AfterFunc(obituary+time.Second, c.process.kill)
	defer late.Stop()
	c.plugin.Kill()
	_ = os.RemoveAll(c.process.sockets)
}

// call is one question and one answer.
func (c *Client) call(ctx context.Context, op, method string, r request) (reply, error) {
	in, err := encode(r)
	if err != nil {
		return reply{}, provider.Wrap(op, provider.Addr{}, err)
	}
	var out wrapperspb.BytesValue
	if err := c.conn.Invoke(ctx, "/"+service+"/"+method, in, &out); err != nil {
		return reply{}, c.fail(ctx, op, provider.Addr{}, "", err)
	}
	var answer reply
	err = decode(&out, &answer)
	return answer, provider.Wrap(op, provider.Addr{}, err)
}

// stream asks a question whose answer is a stream.
func (c *Client) stream(ctx context.Context, method string, d grpc.StreamDesc, r request) (grpc.ClientStream, error) {
	in, err := encode(r)
	if err != nil {
		return nil, err
	}
	d.ServerStreams = true
	s, err := c.conn.NewStream(ctx, &d, "/"+service+"/"+method)
	if err != nil {
		return nil, err
	}
	if err := s.SendMsg(in); err != nil {
		if why := s.RecvMsg(&wrapperspb.BytesValue{}); why != nil {
			err = why // SendMsg knows only that the stream has ended
		}
		return nil, err
	}
	if !d.ClientStreams {
		return s, s.CloseSend()
	}
	return s, nil
}

// fail says in the contract's terms why a call failed. phase is the last step seen, "" if none was.
func (c *Client) fail(ctx context.Context, op string, a provider.Addr, phase string, err error) error {
	if e := fromStatus(err); e != nil {
		return provider.Wrap(op, a, e)
	}
	var e *provider.Error
	if errors.As(err, &e) {
		return provider.Wrap(op, a, err)
	}
	if phase != "" {
		phase = ", last seen " + phase
	}
	code := status.Code(err)
	if code == codes.DeadlineExceeded { // the plugin's clock for our deadline may be the faster one: let ours agree
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	switch {
	case c.closed.Load():
		return &provider.Error{Op: op, Addr: a, Code: provider.Canceled, Text: "the plugin was closed meanwhile" + phase}
	case errors.Is(ctx.Err(), context.Canceled):
		return &provider.Error{Op: op, Addr: a, Code: provider.Canceled, Text: "canceled" + phase}
	case ctx.Err() != nil || code == codes.DeadlineExceeded:
		return &provider.Error{Op: op, Addr: a, Code: provider.Timeout, Text: fmt.Sprintf("plugin %s did not answer in time%s", c.name, phase)}
	case code == codes.Unavailable || c.process.died():
		return c.crashed(op, a, phase)
	}
	return &provider.Error{Op: op, Addr: a, Code: codeOf(code), Text: fmt.Sprintf("plugin %s: %s%s", c.name, status.Convert(err).Message(), phase)}
}

// crashed says that the connection broke. A plugin that broke it and lives on is ended: it could not be asked anything.
func (c *Client) crashed(op string, a provider.Addr, phase string) error {
	select {
	case <-c.process.gone:
	case <-time.After(obituary):
		c.process.kill()
		<-c.process.gone
	}
	return &provider.Error{Op: op, Addr: a, Code: provider.Crashed, Text: fmt.Sprintf("plugin %s (%s) died: %s%s%s",
		c.name, c.Path, c.process.state(), phase, c.process.tail)}
}

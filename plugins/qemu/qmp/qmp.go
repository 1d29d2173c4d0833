// Package qmp speaks the QEMU machine protocol over a unix socket: greeting, capabilities, commands, events
// (https://www.qemu.org/docs/master/interop/qmp-spec.html). It exists because the known Go client pulls in
// go-libvirt, which only plugins/libvirt may import, and because nothing here may wait without a deadline.
//
// It must not know labs, machines or what any command means.
package qmp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// Error is QEMU's own answer that it did not do what it was told.
type Error struct {
	Command string
	Class   string `json:"class"` // "GenericError", "DeviceNotFound", ...
	Desc    string `json:"desc"`
}

func (e *Error) Error() string { return fmt.Sprintf("QEMU refused %s: %s", e.Command, e.Desc) }

// Event is something QEMU tells unasked.
type Event struct {
	Name string          `json:"event"`
	Data json.RawMessage `json:"data"`
}

// Client is one connection. It is not safe for concurrent use; QEMU serves one client per socket at a time, so keep
// it short.
type Client struct {
	conn   *net.UnixConn
	in     *bufio.Reader
	pid    int
	events []Event // seen while waiting for an answer, not yet asked for
	nextID int
}

// maxEvents bounds what is kept for Wait.
const maxEvents = 256

// Dial connects to the socket at path and negotiates. A socket that nobody listens on is an error for which
// Absent is true; a QEMU that accepts and stays silent is ctx's error.
func Dial(ctx context.Context, path string) (*Client, error) {
	conn, err := connect(ctx, path)
	if err != nil {
		return nil, err
	}
	c := &Client{conn: conn, in: bufio.NewReader(conn)}
	c.pid, _ = peer(conn)
	if err := c.negotiate(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// Absent says whether a Dial failed because no process has the socket open.
func Absent(err error) bool {
	return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOTDIR)
}

// connect retries while QEMU's short queue of waiting clients is full, which Linux reports as EAGAIN.
func connect(ctx context.Context, path string) (*net.UnixConn, error) {
	var d net.Dialer
	for {
		conn, err := d.DialContext(ctx, "unix", path)
		if err == nil {
			return conn.(*net.UnixConn), nil
		}
		if !errors.Is(err, syscall.EAGAIN) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for a turn at %s: %w", path, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (c *Client) negotiate(ctx context.Context) error {
	stop := c.bind(ctx)
	defer stop()
	for {
		var greeting struct {
			QMP   json.RawMessage `json:"QMP"`
			Event string          `json:"event"`
		}
		line, err := c.in.ReadBytes('\n')
		if err != nil {
			return c.explain(ctx, "greeting", err)
		}
		if err := json.Unmarshal(line, &greeting); err != nil || greeting.QMP == nil && greeting.Event == "" {
			return fmt.Errorf("no QMP greeting: %.80q", line)
		}
		if greeting.QMP != nil { // what happens at the moment of connecting is told before it
			return c.Execute(ctx, "qmp_capabilities", nil, nil)
		}
	}
}

// Close ends the connection; the machine goes on.
func (c *Client) Close() error { return c.conn.Close() }

// PID is the id of the process at the other end; 0 where the system does not tell.
func (c *Client) PID() int { return c.pid }

// Execute runs one command and decodes its answer into out, unless out is nil. A refusal is an *Error.
func (c *Client) Execute(ctx context.Context, command string, args, out any) error {
	stop := c.bind(ctx)
	defer stop()
	c.nextID++
	req := map[string]any{"execute": command, "id": c.nextID}
	if args != nil {
		req["arguments"] = args
	}
	b, err := json.Marshal(req)
	if err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	if _, err := c.conn.Write(append(b, '\n')); err != nil {
		return c.explain(ctx, command, err)
	}
	for {
		m, err := c.read()
		if err != nil {
			return c.explain(ctx, command, err)
		}
		if m.Name != "" {
			c.keep(m.Event)
			continue
		}
		if m.ID != c.nextID {
			continue
		}
		if m.Error != nil {
			m.Error.Command = command
			return m.Error
		}
		if out == nil {
			return nil
		}
		if err := json.Unmarshal(m.Return, out); err != nil {
			return fmt.Errorf("answer to %s: %w", command, err)
		}
		return nil
	}
}

// Wait returns the first event called name that match accepts, those that came during earlier commands included.
func (c *Client) Wait(ctx context.Context, name string, match func(Event) bool) (Event, error) {
	for i, e := range c.events {
		if e.Name == name && match(e) {
			c.events = append(c.events[:i:i], c.events[i+1:]...)
			return e, nil
		}
	}
	stop := c.bind(ctx)
	defer stop()
	for {
		m, err := c.read()
		if err != nil {
			return Event{}, c.explain(ctx, "event "+name, err)
		}
		if m.Name == name && match(m.Event) {
			return m.Event, nil
		}
		if m.Name != "" {
			c.keep(m.Event)
		}
	}
}

func (c *Client) keep(e Event) {
	if len(c.events) == maxEvents {
		c.events = c.events[1:]
	}
	c.events = append(c.events, e)
}

type message struct {
	Event
	ID     int             `json:"id"`
	Return json.RawMessage `json:"return"`
	Error  *Error          `json:"error"`
}

func (c *Client) read() (message, error) {
	var m message
	line, err := c.in.ReadBytes('\n')
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(line, &m); err != nil {
		return m, fmt.Errorf("not QMP: %.80q", line)
	}
	return m, nil
}

// bind makes the connection's reads and writes fail when ctx ends.
func (c *Client) bind(ctx context.Context) (stop func()) {
	cancel := context.AfterFunc(ctx, func() { c.conn.SetDeadline(time.Unix(1, 0)) })
	return func() {
		if !cancel() {
			return
		}
		c.conn.SetDeadline(time.Time{})
	}
}

func (c *Client) explain(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("no answer to %s: %w", what, ctx.Err())
	}
	return fmt.Errorf("%s: connection to QEMU lost: %w", what, err)
}

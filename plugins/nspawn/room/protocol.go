package room

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// request and response are one line of JSON each.
type request struct {
	Op      string   `json:"op"` // "status", "set", "remove", "plug", "unplug", "stop"
	Network *Network `json:"network,omitempty"`
	Name    string   `json:"name,omitempty"`
	Cable   *Cable   `json:"cable,omitempty"`
}

type response struct {
	Error  string  `json:"error,omitempty"`
	Status *Status `json:"status,omitempty"`
}

// ErrNotRunning says that no room is there.
var ErrNotRunning = errors.New("the lab's network process does not run")

// Client talks to the room whose folder is Dir.
type Client struct{ Dir string }

// answerDeadline is for requests; starting what leads outside is the longest.
const answerDeadline = 60 * time.Second

// Status asks what there is.
func (c Client) Status(ctx context.Context) (Status, error) {
	r, err := c.ask(ctx, request{Op: "status"})
	if err != nil || r.Status == nil {
		return Status{}, err
	}
	return *r.Status, nil
}

// Set makes a network, or makes it what n says.
func (c Client) Set(ctx context.Context, n Network) error {
	_, err := c.ask(ctx, request{Op: "set", Network: &n})
	return err
}

// Remove removes a network; one that is not there is no error.
func (c Client) Remove(ctx context.Context, name string) error {
	_, err := c.ask(ctx, request{Op: "remove", Name: name})
	return err
}

// Plug makes a cable, or makes it what x says.
func (c Client) Plug(ctx context.Context, x Cable) error {
	_, err := c.ask(ctx, request{Op: "plug", Cable: &x})
	return err
}

// Unplug removes a cable; one that is not there is no error.
func (c Client) Unplug(ctx context.Context, x Cable) error {
	_, err := c.ask(ctx, request{Op: "unplug", Cable: &x})
	return err
}

// Stop ends the room with all that is in it, and returns when it has ended.
func (c Client) Stop(ctx context.Context) error {
	_, err := c.ask(ctx, request{Op: "stop"})
	if errors.Is(err, ErrNotRunning) {
		return nil
	}
	return err
}

func (c Client) ask(ctx context.Context, r request) (response, error) {
	ctx, cancel := context.WithTimeout(ctx, answerDeadline)
	defer cancel()
	conn, err := dial(ctx, c.Dir)
	if err != nil {
		return response{}, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	b, err := json.Marshal(r)
	if err != nil {
		return response{}, err
	}
	if _, err := conn.Write(append(b, '\n')); err != nil {
		return response{}, c.lost(ctx, r, err)
	}
	line, err := bufio.NewReader(conn).ReadBytes('\n')
	if err != nil {
		return response{}, c.lost(ctx, r, err)
	}
	var a response
	if err := json.Unmarshal(line, &a); err != nil {
		return response{}, fmt.Errorf("network process: unreadable answer: %w", err)
	}
	if a.Error != "" {
		return a, fmt.Errorf("network process: %s", a.Error)
	}
	return a, nil
}

func (c Client) lost(ctx context.Context, r request, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("network process: no answer to %q: %w", r.Op, ctx.Err())
	}
	return ErrNotRunning // it ended meanwhile
}

// dial connects by way of the open folder: the path of a socket may have 107 bytes only, and that of a lab may have more.
func dial(ctx context.Context, dir string) (net.Conn, error) {
	folder, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotRunning
	}
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", via(folder))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, ErrNotRunning
	}
	return conn, err
}

func via(folder *os.File) string {
	return filepath.Join(fmt.Sprintf("/proc/self/fd/%d", folder.Fd()), "socket")
}

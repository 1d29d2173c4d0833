package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/qemu/qmp"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/failure"
)

// Console implements provider.Consoler. QEMU takes one client at a time and lets others wait, so it is asked first.
func (q *qemu) Console(ctx context.Context, l lab.Lab, machine string) (io.ReadWriteCloser, error) {
	conn, err := q.attach(ctx, l, machine)
	if err != nil {
		return nil, provider.Wrap("open console of", addr(kindMachine, machine), err)
	}
	return conn, nil
}

func (q *qemu) attach(ctx context.Context, l lab.Lab, machine string) (net.Conn, error) {
	ds := q.dirs(l.Name)
	c, err := q.monitor(ctx, ds, machine, ds.look(machine))
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, &provider.Error{Code: provider.NotFound, Text: "the machine does not run"}
	}
	defer c.Close()
	for wait := 0; ; wait++ { // QEMU takes a moment to notice that the last client has left
		taken, err := consoleTaken(ctx, c)
		if err != nil {
			return nil, silent(machine, err)
		}
		if !taken {
			break
		}
		if wait == 20 {
			return nil, &provider.Error{Code: provider.InUse, Text: "somebody else has the console open"}
		}
		time.Sleep(25 * time.Millisecond)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", ds.serial(machine))
	return conn, failure.File(err)
}

// consoleTaken says whether the serial console has a client.
func consoleTaken(ctx context.Context, c *qmp.Client) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, answerDeadline)
	defer cancel()
	var devices []struct{ Label, Filename string }
	if err := c.Execute(ctx, "query-chardev", nil, &devices); err != nil {
		return false, err
	}
	for _, d := range devices {
		if d.Label == "serial" {
			return !strings.HasPrefix(d.Filename, "disconnected:"), nil
		}
	}
	return false, nil
}

// Log implements provider.Consoler.
func (q *qemu) Log(ctx context.Context, l lab.Lab, machine string, follow bool) (io.ReadCloser, error) {
	f, err := os.Open(q.dirs(l.Name).console(machine))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &provider.Error{Op: "read console log of", Addr: addr(kindMachine, machine), Code: provider.NotFound, Text: "the machine was never started"}
	case err != nil:
		return nil, provider.Wrap("read console log of", addr(kindMachine, machine), failure.File(err))
	case !follow:
		return f, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	return &follower{ctx: ctx, cancel: cancel, f: f, path: f.Name()}, nil
}

// follower reads a log that grows. A machine that is started anew begins its log anew, and the follower with it.
type follower struct {
	ctx    context.Context // of the reader's life: Read has none
	cancel context.CancelFunc
	f      *os.File
	path   string
	at     int64
}

// pollLog is how often a growing log is looked at.
const pollLog = 100 * time.Millisecond

func (r *follower) Read(p []byte) (int, error) {
	for {
		n, err := r.f.ReadAt(p, r.at)
		r.at += int64(n)
		if n > 0 || len(p) == 0 {
			return n, nil
		}
		if err != nil && err != io.EOF {
			return 0, fmt.Errorf("console log: %w", err)
		}
		if st, err := r.f.Stat(); err == nil && st.Size() < r.at {
			r.at = 0
			continue
		}
		if !exists(r.path) { // deleted with its machine
			return 0, io.EOF
		}
		select {
		case <-r.ctx.Done():
			return 0, io.EOF
		case <-time.After(pollLog):
		}
	}
}

// Close ends a Read that waits; the file is closed with it.
func (r *follower) Close() error {
	r.cancel()
	return r.f.Close()
}

package nspawn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/nspawn/box"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/failure"
)

// Console implements provider.Consoler.
func (s *nspawn) Console(ctx context.Context, l lab.Lab, machine string) (io.ReadWriteCloser, error) {
	conn, err := s.attach(ctx, l, machine)
	if err != nil {
		return nil, provider.Wrap("open console of", addr(kindMachine, machine), err)
	}
	return conn, nil
}

func (s *nspawn) attach(ctx context.Context, l lab.Lab, machine string) (net.Conn, error) {
	ds := s.dirs(l.Name)
	if _, ok := s.running(ds, machine); !ok {
		return nil, &provider.Error{Code: provider.NotFound, Text: "the machine does not run"}
	}
	folder, err := os.Open(ds.machine(machine))
	if err != nil {
		return nil, failure.File(err)
	}
	defer folder.Close()
	var conn net.Conn
	within(ctx, time.Second, func() bool { // one that has just left is still being noticed
		conn, err = new(net.Dialer).DialContext(ctx, "unix", filepath.Join(fmt.Sprintf("/proc/self/fd/%d", folder.Fd()), box.SocketFile))
		if err != nil {
			return true
		}
		first := []byte{0}
		if _, err = io.ReadFull(conn, first); err == nil && first[0] == box.Free {
			return true
		}
		conn.Close()
		err = &provider.Error{Code: provider.InUse, Text: "somebody else has the console open"}
		return false
	})
	if err != nil {
		return nil, failure.File(err)
	}
	return conn, nil
}

// Log implements provider.Consoler.
func (s *nspawn) Log(ctx context.Context, l lab.Lab, machine string, follow bool) (io.ReadCloser, error) {
	f, err := os.Open(filepath.Join(s.dirs(l.Name).machine(machine), box.ConsoleFile))
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

package nspawn

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/nspawn/box"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/failure"
	"github.com/labctl-dev/labctl/provider/files"
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
	return files.Log(ctx, addr(kindMachine, machine), filepath.Join(s.dirs(l.Name).machine(machine), box.ConsoleFile), follow)
}

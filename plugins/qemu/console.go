package qemu

import (
	"context"
	"io"
	"net"
	"strings"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/qemu/qmp"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/failure"
	"github.com/labctl-dev/labctl/provider/files"
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
	return files.Log(ctx, addr(kindMachine, machine), q.dirs(l.Name).console(machine), follow)
}

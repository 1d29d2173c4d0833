package memory

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// Console implements provider.Consoler: it prints the log and from then on whatever is typed.
func (p *memory) Console(ctx context.Context, l lab.Lab, name string) (io.ReadWriteCloser, error) {
	text, err := p.bootLog(ctx, "console", l, name)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	key := l.Name + "/" + name
	if p.consoles[key] {
		return nil, &provider.Error{Op: "console", Addr: addr(machine, name), Code: provider.InUse, Text: "another client has its console open"}
	}
	p.consoles[key] = true
	r, w := io.Pipe()
	return &console{log: strings.NewReader(text), echo: r, PipeWriter: w, release: sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.consoles, key)
	})}, nil
}

// Log implements provider.Consoler.
func (p *memory) Log(ctx context.Context, l lab.Lab, name string, follow bool) (io.ReadCloser, error) {
	text, err := p.bootLog(ctx, "log", l, name)
	if err != nil {
		return nil, err
	}
	if !follow {
		return io.NopCloser(strings.NewReader(text)), nil
	}
	r, w := io.Pipe() // nothing more ever comes, and the end only when the reader closes it
	return &console{log: strings.NewReader(text), echo: r, PipeWriter: w, release: func() {}}, nil
}

// bootLog is what a machine's serial console has printed.
func (p *memory) bootLog(ctx context.Context, op string, l lab.Lab, name string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", provider.Wrap(op, addr(machine, name), err)
	}
	objects, err := p.world(l.Name).read()
	if err != nil {
		return "", provider.Wrap(op, addr(machine, name), err)
	}
	o, ok := objects[addr(machine, name).String()]
	if !ok {
		return "", &provider.Error{Op: op, Addr: addr(machine, name), Code: provider.NotFound, Text: "it does not exist"}
	}
	if o.Attrs["power"] == string(lab.Off) {
		return "", nil
	}
	return fmt.Sprintf("[    0.000000] memory: boot %s of %s\r\n\r\n%s login: ", o.Outputs["boots"], name, name), nil
}

// console reads the log, then the echo of what is written.
type console struct {
	log  *strings.Reader
	echo *io.PipeReader
	*io.PipeWriter
	release func()
}

func (c *console) Read(b []byte) (int, error) {
	if c.log.Len() > 0 {
		return c.log.Read(b)
	}
	return c.echo.Read(b)
}

// CloseWrite ends what is typed, and with it the echo.
func (c *console) CloseWrite() error { return c.PipeWriter.Close() }

func (c *console) Close() error {
	c.release()
	c.echo.Close()
	return c.PipeWriter.Close()
}

// Doctor implements provider.Doctor.
func (p *memory) Doctor(ctx context.Context) ([]provider.Diagnosis, error) {
	if err := ctx.Err(); err != nil {
		return nil, provider.Wrap("doctor", provider.Addr{}, err)
	}
	return []provider.Diagnosis{{Name: "memory", Status: provider.Good, Detail: "nothing is needed: machines are words in a file"}}, nil
}

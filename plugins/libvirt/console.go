package libvirt

import (
	"bytes"
	"context"
	"io"
	"sync"
	"time"

	"github.com/digitalocean/go-libvirt"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// Console implements provider.Consoler. libvirt says itself when somebody else has the console.
func (v *virt) Console(ctx context.Context, l lab.Lab, machine string) (io.ReadWriteCloser, error) {
	conn, err := v.console(ctx, l, machine)
	if err != nil {
		return nil, provider.Wrap("open console of", addr(kindMachine, machine), err)
	}
	return conn, nil
}

func (v *virt) console(ctx context.Context, l lab.Lab, machine string) (io.ReadWriteCloser, error) {
	var d *domainSeen
	err := v.host.Ask(ctx, "look for machine "+machine, func(c *libvirt.Libvirt) (err error) {
		d, err = lookFor(c, l, machine)
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case d == nil || !d.active:
		return nil, &provider.Error{Code: provider.NotFound, Text: "the machine does not run"}
	}
	for wait := 0; ; wait++ { // libvirt takes a moment to notice that the last client has left
		conn, err := v.host.Console(ctx, d.dom, "", false)
		if err == nil || provider.CodeOf(err) != provider.InUse || wait == 10 {
			return conn, err
		}
		select {
		case <-ctx.Done():
			return nil, ended(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Log implements provider.Consoler.
func (v *virt) Log(ctx context.Context, l lab.Lab, machine string, follow bool) (io.ReadCloser, error) {
	text, err := v.log(ctx, l.Name, machine)
	switch {
	case err != nil:
		return nil, provider.Wrap("read console log of", addr(kindMachine, machine), err)
	case !follow:
		return io.NopCloser(bytes.NewReader(text)), nil
	}
	ctx, cancel := context.WithCancel(ctx)
	return &follower{ctx: ctx, cancel: cancel, more: func() ([]byte, error) { return v.log(ctx, l.Name, machine) }, text: text}, nil
}

// log is what the console has printed so far.
func (v *virt) log(ctx context.Context, labName, machine string) ([]byte, error) {
	var vol libvirt.StorageVol
	err := v.host.Ask(ctx, "look for the console log", func(c *libvirt.Libvirt) (err error) {
		vol, err = findVolume(c, logVolume(labName, machine))
		return err
	})
	if provider.CodeOf(err) == provider.NotFound {
		return nil, &provider.Error{Code: provider.NotFound, Text: "the machine was never started"}
	}
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, downloadDeadline)
	defer cancel()
	var text bytes.Buffer
	err = v.host.Download(ctx, vol, &text, 0)
	return text.Bytes(), err
}

// downloadDeadline is for a console log, which libvirt keeps below some megabytes.
const downloadDeadline = time.Minute

// follower reads a log that grows. A machine that is started anew begins its log anew, and the follower with it.
type follower struct {
	ctx    context.Context // of the reader's life: Read has none
	cancel context.CancelFunc
	more   func() ([]byte, error) // the whole log

	mu   sync.Mutex // one Read at a time
	text []byte
	at   int
}

// pollLog is how often a growing log is looked at: all of it each time, since volumes cannot be asked for their end.
const pollLog = 500 * time.Millisecond

func (r *follower) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		if n := copy(p, r.text[r.at:]); n > 0 || len(p) == 0 {
			r.at += n
			return n, nil
		}
		select {
		case <-r.ctx.Done():
			return 0, io.EOF
		case <-time.After(pollLog):
		}
		text, err := r.more()
		switch {
		case r.ctx.Err() != nil || provider.CodeOf(err) == provider.NotFound: // deleted with its machine
			return 0, io.EOF
		case err != nil:
			return 0, err
		case len(text) < r.at || !bytes.HasPrefix(text, r.text[:min(len(r.text), 256)]):
			r.at = 0
		}
		r.text = text
	}
}

// Close ends a Read that waits.
func (r *follower) Close() error {
	r.cancel()
	return nil
}

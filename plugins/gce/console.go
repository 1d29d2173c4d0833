package gce

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/gce/api"
	"github.com/labctl-dev/labctl/provider"
)

// Console implements provider.Consoler: Google's interactive console is reached by an ssh gateway of its own with keys of a
// Google account, which labctl does not speak for anybody.
func (g *gce) Console(ctx context.Context, l lab.Lab, machine string) (io.ReadWriteCloser, error) {
	a := addr(kindMachine, machine)
	i, err := g.running(ctx, l, machine)
	if err != nil {
		return nil, provider.Wrap("open the console of", a, failed(err))
	}
	where := fmt.Sprintf("%s --project %s --zone %s", i.Name, g.opts.Project, g.opts.Zone)
	return nil, &provider.Error{Op: "open the console of", Addr: a, Code: provider.Unsupported, Text: fmt.Sprintf(
		"on Compute Engine labctl reads consoles (labctl logs) and does not write to them; Google's own way is: gcloud compute instances add-metadata %s --metadata serial-port-enable=TRUE && gcloud compute connect-to-serial-port %s", where, where)}
}

// Log implements provider.Consoler.
func (g *gce) Log(ctx context.Context, l lab.Lab, machine string, follow bool) (io.ReadCloser, error) {
	i, err := g.running(ctx, l, machine)
	if err != nil {
		return nil, provider.Wrap("read the console of", addr(kindMachine, machine), failed(err))
	}
	ctx, cancel := context.WithCancel(ctx)
	r, w := io.Pipe()
	s := &serial{g: g, at: g.opts.zonal("instances", i.Name) + "/serialPort", follow: follow, cancel: cancel, PipeReader: r, ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		w.CloseWithError(provider.Wrap("read the console of", addr(kindMachine, machine), failed(s.copy(ctx, w))))
	}()
	return s, nil
}

// running is the lab's machine as the project has it.
func (g *gce) running(ctx context.Context, l lab.Lab, machine string) (api.Instance, error) {
	var i api.Instance
	err := g.client.Get(ctx, g.path(l.Name, addr(kindMachine, machine)), &i)
	if err == nil && !g.owner(l.Name).ownsLabels(i.Labels) {
		err = &provider.Error{Code: provider.NotFound, Text: "the instance of that name is not this lab's"}
	}
	return i, err
}

// serial reads what an instance prints.
type serial struct {
	*io.PipeReader
	g      *gce
	at     string
	follow bool
	cancel context.CancelFunc
	ended  chan struct{}
}

// Close ends reading, and returns when nobody asks any more.
func (s *serial) Close() error {
	s.cancel()
	err := s.PipeReader.Close()
	<-s.ended
	return err
}

// serialPause is between two looks at a console on which nothing was new.
const serialPause = 2 * time.Second

// copy brings the output, piece by piece: an answer says where the next one begins. Of what was printed the API keeps the
// last MiB; where it no longer has what is asked for it begins later, and after a start anew.
func (s *serial) copy(ctx context.Context, to io.Writer) error {
	for next := int64(0); ; {
		var out struct {
			Contents string `json:"contents"`
			Start    int64  `json:"start,string"`
			Next     int64  `json:"next,string"`
		}
		err := s.g.client.Get(ctx, s.at+"?port=1&start="+strconv.FormatInt(next, 10), &out)
		switch {
		case ctx.Err() != nil, s.follow && api.Is(err, api.NotFound): // it is gone, and prints nothing more
			return nil
		case err != nil:
			return err
		}
		restarted := out.Next < next
		if out.Start > next && next > 0 {
			if _, err := fmt.Fprintf(to, "\n[%d bytes were printed faster than they were read]\n", out.Start-next); err != nil {
				return nil // nobody reads any more
			}
		}
		if _, err := io.WriteString(to, out.Contents); err != nil {
			return nil
		}
		if next = out.Next; restarted {
			next = 0
			continue
		}
		if out.Contents != "" {
			continue
		}
		if !s.follow {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(serialPause):
		}
	}
}

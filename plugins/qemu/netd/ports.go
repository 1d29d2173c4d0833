package netd

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/labctl-dev/labctl/plugins/qemu/netd/l2"
	"github.com/labctl-dev/labctl/provider/vmnet"
)

const (
	// look is how often a folder is read for sockets, and a socket dialled that does not answer.
	look = 200 * time.Millisecond
	// A connection that ends before steady is followed by a pause that doubles from look up to slow: the other end
	// sends rubbish or turns us away.
	steady = 2 * time.Second
	slow   = 5 * time.Second
)

// ports keeps a connection to every socket of a network.
type ports struct {
	sw  *l2.Switch
	dir string
	log *slog.Logger

	mu   sync.Mutex
	join []string
	open map[string]*port // by name
}

// port is one socket: dialled, served, dialled again.
type port struct {
	name, path string
	l2         *l2.Port
	cancel     context.CancelFunc
	done       chan struct{}

	mu     sync.Mutex
	status PortStatus
}

// watch follows the folder until ctx ends, and then lets all go.
func (p *ports) watch(ctx context.Context) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		p.sync(ctx, p.wanted())
		select {
		case <-tick.C:
		case <-ctx.Done():
			p.sync(ctx, nil)
			return
		}
	}
}

func (p *ports) setJoin(join []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.join = join
}

// wanted are the sockets there are: path by name.
func (p *ports) wanted() map[string]string {
	want := map[string]string{}
	p.mu.Lock()
	for _, j := range p.join {
		want[j] = joined(j)
	}
	p.mu.Unlock()
	entries, err := os.ReadDir(p.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		// Not a reason to cut machines off: keep what there is.
		p.mu.Lock()
		defer p.mu.Unlock()
		for name, o := range p.open {
			want[name] = o.path
		}
		return want
	}
	for _, e := range entries {
		if e.Type()&os.ModeSocket != 0 {
			want[e.Name()] = filepath.Join(p.dir, e.Name())
		}
	}
	return want
}

// joined is where to dial what a network joins: of a network of macOS the first socket that there is now.
func joined(join string) string {
	s, err := vmnet.Parse(join)
	if err != nil {
		return join
	}
	for _, path := range s.Sockets() {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return s.Sockets()[0]
}

// sync opens what is wanted and lets go of what is not.
func (p *ports) sync(ctx context.Context, want map[string]string) {
	p.mu.Lock()
	var gone []*port
	for name, o := range p.open {
		if _, ok := want[name]; !ok {
			gone = append(gone, o)
			delete(p.open, name)
		}
	}
	for name, path := range want {
		if o := p.open[name]; o != nil && o.path != path { // it is elsewhere now
			gone = append(gone, o)
			delete(p.open, name)
		}
		if p.open[name] == nil {
			o := &port{name: name, path: path, l2: p.sw.NewPort(), done: make(chan struct{})}
			o.status = PortStatus{Name: name, Since: time.Now()}
			var run context.Context
			run, o.cancel = context.WithCancel(ctx)
			p.open[name] = o
			go func() {
				defer close(o.done)
				o.run(run, p.log)
			}()
		}
	}
	p.mu.Unlock()
	for _, o := range gone {
		o.cancel()
		<-o.done
	}
}

func (p *ports) list() []PortStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []PortStatus
	for _, o := range p.open {
		o.mu.Lock()
		s := o.status
		o.mu.Unlock()
		s.Counters = o.l2.Counters()
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b PortStatus) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// run keeps the port connected until ctx ends.
func (o *port) run(ctx context.Context, log *slog.Logger) {
	pause := look
	for ctx.Err() == nil {
		began := time.Now()
		if o.connect(ctx, log) && time.Since(began) < steady {
			pause = min(2*pause, slow)
		} else {
			pause = look
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// connect serves one connection, and says whether there was one.
func (o *port) connect(ctx context.Context, log *slog.Logger) bool {
	dialer := net.Dialer{Timeout: talk}
	conn, err := dialer.DialContext(ctx, "unix", o.path)
	if err != nil {
		o.note(false, err)
		return false
	}
	if o.note(true, nil) {
		log.Info("port connected", "port", o.name)
	}
	err = o.l2.Serve(ctx, conn)
	if o.note(false, err) && ctx.Err() == nil {
		log.Info("port lost", "port", o.name, "why", err)
	}
	return true
}

// note records the state of the port. It says whether that is worth telling: not what was told before, over and over.
func (o *port) note(connected bool, err error) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := &o.status
	if s.Connected != connected {
		s.Since = time.Now()
		if !connected {
			s.Redials++
		}
	}
	s.Connected = connected
	if err == nil {
		return s.Error == "" || s.Redials < 3
	}
	text := err.Error()
	changed := text != s.Error
	s.Error = text
	return changed
}

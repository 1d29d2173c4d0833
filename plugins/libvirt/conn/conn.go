// Package conn keeps a few connections to a libvirt host, and they notice when the other side is dead. Calls get a
// context, which go-libvirt does not know, and errors a code. It also has what go-libvirt has not: streams that can
// fail, and a console both ways.
//
// It must not know what is asked over a connection, nor anything of labs.
package conn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/digitalocean/go-libvirt"

	"github.com/labctl-dev/labctl/plugins/libvirt/uri"
	"github.com/labctl-dev/labctl/provider"
)

// Options say how a Host may be used. Zero values are good.
type Options struct {
	Max      int           // connections for calls at once; 0 is 6. Idle ones are kept
	Streams  int           // uploads and downloads at once, each over a connection of its own; 0 is 4
	Connect  time.Duration // within which a connection is up; 0 is 30 s
	Alive    time.Duration // of silence after which the other side is dead though it was asked; 0 is 30 s, as in libvirt
	Patience time.Duration // for a host that was there a moment ago to come back, its libvirtd restarting; 0 is 15 s
}

func (o Options) defaults() Options {
	if o.Max <= 0 {
		o.Max = 6
	}
	if o.Streams <= 0 {
		o.Streams = 4
	}
	for d, v := range map[*time.Duration]time.Duration{&o.Connect: 30 * time.Second, &o.Alive: 30 * time.Second, &o.Patience: 15 * time.Second} {
		if *d <= 0 {
			*d = v
		}
	}
	return o
}

// Call asks libvirt for something. It has the connection to itself and may use it from at most four goroutines, which
// have ended when it returns: libvirtd takes five requests of a connection at once and reads no further meanwhile.
type Call func(l *libvirt.Libvirt) error

// Host is a libvirt host. It is safe for concurrent use.
type Host struct {
	uri     uri.URI
	opts    Options
	slots   chan struct{} // has room for each connection that is in use
	streams chan struct{}

	mu     sync.Mutex
	idle   []*session // the last one used is the last
	met    bool       // it has answered before
	closed bool
}

// Open makes a Host of a URI. It connects when it is first asked for something.
func Open(text string, o Options) (*Host, error) {
	u, err := uri.Parse(text)
	if err != nil {
		return nil, err
	}
	o = o.defaults()
	return &Host{uri: u, opts: o, slots: make(chan struct{}, o.Max), streams: make(chan struct{}, o.Streams)}, nil
}

// URI is what the Host was opened with.
func (h *Host) URI() uri.URI { return h.uri }

// Close closes the idle connections; those in use are closed as they are done.
func (h *Host) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for _, s := range h.idle {
		s.link.Close()
	}
	h.idle = nil
}

// Ask makes a call that may be repeated: one that reads, or whose repetition changes nothing more. When the connection
// is lost it is made again over a new one, as long as the host has come back within Options.Patience.
// what says what is asked, for errors: "list domains".
func (h *Host) Ask(ctx context.Context, what string, f Call) error {
	return h.call(ctx, what, f, true)
}

// Do makes a call that must not be repeated. When the connection is lost after something was sent, the error has code
// Unavailable and says that nobody knows whether it was done.
func (h *Host) Do(ctx context.Context, what string, f Call) error {
	return h.call(ctx, what, f, false)
}

func (h *Host) call(ctx context.Context, what string, f Call, repeat bool) error {
	select {
	case h.slots <- struct{}{}:
	case <-ctx.Done():
		return gaveUp(ctx, what+": waiting for a free connection to "+h.uri.Text)
	}
	defer func() { <-h.slots }()
	var lost time.Time
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		sent, err := h.once(ctx, what, f)
		if err == nil || provider.CodeOf(err) != provider.Unavailable || !h.known() || sent && !repeat || ctx.Err() != nil {
			return err
		}
		if lost.IsZero() {
			lost = time.Now()
		}
		if time.Since(lost) > h.opts.Patience {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// once makes a call over an idle connection or a new one. sent is whether the call may have reached libvirt.
func (h *Host) once(ctx context.Context, what string, f Call) (sent bool, err error) {
	s, err := h.take(ctx)
	if err != nil {
		return false, explain(what, err)
	}
	before := s.link.sent()
	err = s.run(ctx, f)
	sent = s.link.sent() != before
	if cause := s.link.lost(); cause != nil {
		switch {
		case ctx.Err() != nil:
			return sent, gaveUp(ctx, what)
		case err == nil || notLost(err): // the answer came before the end
			return sent, explain(what, err)
		case sent:
			cause = fmt.Errorf("%w; whether it was done is not known", cause)
		}
		return sent, failed(provider.Unavailable, what, cause)
	}
	h.give(s)
	return sent, explain(what, err)
}

// notLost says that err is an answer, not the lack of one.
func notLost(err error) bool {
	var e libvirt.Error
	var p *provider.Error
	return errors.As(err, &e) || errors.As(err, &p)
}

// take is an idle connection, or a new one.
func (h *Host) take(ctx context.Context) (*session, error) {
	h.mu.Lock()
	for len(h.idle) > 0 {
		s := h.idle[len(h.idle)-1]
		h.idle = h.idle[:len(h.idle)-1]
		if s.link.lost() == nil {
			h.mu.Unlock()
			return s, nil
		}
		s.link.Close()
	}
	h.mu.Unlock()
	s, err := h.connect(ctx)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.met = true
	return s, nil
}

func (h *Host) give(s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		s.link.Close()
		return
	}
	h.idle = append(h.idle, s)
}

// DialGuest opens a TCP connection to a machine from the libvirt host: see uri.URI.DialGuest.
func (h *Host) DialGuest(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	return h.uri.DialGuest(ctx, to)
}

func (h *Host) known() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.met && !h.closed
}

// link is a new byte stream to libvirtd, watched.
func (h *Host) link(ctx context.Context) (*link, error) {
	c, err := h.uri.Dial(ctx)
	if err != nil {
		return nil, err
	}
	return watch(c, h.opts.Alive), nil
}

// connect is a new connection on which libvirt's driver is open.
func (h *Host) connect(ctx context.Context) (*session, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, h.opts.Connect, errSlow)
	defer cancel()
	l, err := h.link(ctx)
	if err != nil {
		return nil, h.whileConnecting(ctx, nil, err)
	}
	s := &session{link: l, lib: libvirt.NewWithDialer(l)}
	err = s.run(ctx, func(lib *libvirt.Libvirt) error { return lib.ConnectToURI(libvirt.ConnectURI(h.uri.Server())) })
	if err != nil {
		defer l.Close()
		return nil, h.whileConnecting(ctx, l, err)
	}
	return s, nil
}

var errSlow = fmt.Errorf("the time for connecting is over: %w", context.DeadlineExceeded)

// whileConnecting makes err, which ended the attempt, say what really happened.
func (h *Host) whileConnecting(ctx context.Context, l *link, err error) error {
	what := "connect to " + h.uri.Text
	switch {
	case context.Cause(ctx) == errSlow:
		return failed(provider.Unavailable, what, fmt.Errorf("no answer after %s", h.opts.Connect))
	case ctx.Err() != nil:
		return gaveUp(ctx, what)
	case l != nil && l.lost() != nil && !notLost(err):
		return explainAs(provider.Unavailable, what, l.lost())
	}
	return denied(h.uri, explain(what, err))
}

// session is one connection with a driver open.
type session struct {
	link *link
	lib  *libvirt.Libvirt
}

// run makes a call and waits for its end. If ctx ends first, the connection does.
func (s *session) run(ctx context.Context, f Call) error {
	done := make(chan error, 1)
	go func() { done <- f(s.lib) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		s.link.fail(ctx.Err())
	case <-s.link.dead:
	}
	select {
	case err := <-done:
		return err
	case <-time.After(5 * time.Second):
		// go-libvirt's own streams can wait forever for themselves once the connection is gone: leave it behind.
		return libvirt.ErrInterrupted
	}
}

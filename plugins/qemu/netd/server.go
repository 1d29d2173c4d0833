package netd

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/labctl-dev/labctl/plugins/qemu/netd/gateway"
)

// server is the process's inside: its networks, and who asks about them.
type server struct {
	root    string // folder of networks' folders
	give    string // folder of what machines that install themselves are given
	log     *slog.Logger
	started time.Time

	change sync.Mutex // held by what adds or removes networks
	mu     sync.Mutex
	lans   map[string]*lan
	had    bool          // there was a network
	ending bool          // nothing is taken any more
	end    chan struct{} // closed when the process should end
	askers []*Conn       // kept from being closed by the garbage collector
}

func newServer(root, give string, log *slog.Logger) *server {
	return &server{root: root, give: give, log: log, started: time.Now(), lans: map[string]*lan{}, end: make(chan struct{})}
}

// accept serves l until it is closed. A client that hangs holds up only itself.
func (s *server) accept(ctx context.Context, l *net.UnixListener) {
	for {
		c, err := l.AcceptUnix()
		switch {
		case err == nil:
			go s.serve(ctx, newConn(c))
		case ctx.Err() != nil:
			return
		default:
			s.log.Warn("cannot accept a control connection", "why", err)
			select {
			case <-time.After(look): // no file descriptors left, most likely: some will be
			case <-ctx.Done():
				return
			}
		}
	}
}

// serve answers one connection's one request.
func (s *server) serve(ctx context.Context, c *Conn) {
	var q request
	_ = c.SetReadDeadline(time.Now().Add(talk))
	if err := c.readLine(&q); err != nil {
		_ = c.writeLine(response{Version: Version, Error: fail("read", Invalid, "not a request: %v", err)})
		_ = c.Close()
		return
	}
	_ = c.SetReadDeadline(time.Time{})
	if q.Version == Version && q.Op == "dial" {
		s.dial(ctx, c, q)
		return
	}
	r := s.answer(ctx, q)
	r.Version = Version
	_ = c.writeLine(r)
	if r.Ending {
		s.finish(c)
		return
	}
	_ = c.Close()
}

func (s *server) answer(ctx context.Context, q request) response {
	bad := func(code Code, format string, args ...any) response {
		return response{Error: fail(q.Op, code, format, args...)}
	}
	if q.Version != Version && q.Op != "stop" { // stop is for ever: how else to be rid of an old one
		return bad(WrongServer, "it speaks version %d, not %d", Version, q.Version)
	}
	s.mu.Lock()
	ending := s.ending
	s.mu.Unlock()
	if ending {
		return bad(Ending, "it is about to end")
	}
	switch q.Op {
	case "status":
		return response{Status: s.status()}
	case "set":
		if q.Network == nil {
			return bad(Invalid, "no network given")
		}
		if err := s.set(ctx, *q.Network); err != nil {
			return response{Error: err}
		}
		return response{}
	case "remove":
		return s.remove(q.Name)
	case "shell":
		if q.Shell == nil {
			return bad(Invalid, "no machine given")
		}
		if err := s.shell(*q.Shell); err != nil {
			return response{Error: err}
		}
		return response{}
	case "stop":
		return response{Ending: true}
	}
	return bad(Invalid, "unknown request")
}

func (s *server) status() *Status {
	st := &Status{Version: Version, PID: os.Getpid(), Started: s.started}
	for _, l := range s.all() {
		st.Networks = append(st.Networks, l.status())
	}
	slices.SortFunc(st.Networks, func(a, b NetworkStatus) int { return cmp.Compare(a.Network.Name, b.Network.Name) })
	return st
}

func (s *server) all() []*lan {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*lan
	for _, l := range s.lans {
		all = append(all, l)
	}
	return all
}

func (s *server) lan(name string) *lan {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lans[name]
}

// set makes or changes a network.
func (s *server) set(ctx context.Context, n Network) *Error {
	if err := n.Check(); err != nil {
		return fail("set", Invalid, "%v", err)
	}
	s.change.Lock()
	defer s.change.Unlock()
	for _, o := range s.all() {
		if c := o.status().Network; c.Key == n.Key && c.Name != n.Name || c.Name == n.Name && c.Key != n.Key {
			return fail("set", Invalid, "network %s with key %s does not go with network %s with key %s", n.Name, n.Key, c.Name, c.Key)
		}
	}
	s.mu.Lock()
	ending := s.ending
	s.mu.Unlock()
	if ending {
		return fail("set", Ending, "it is about to end")
	}
	for _, f := range n.Forward { // a port moves with one of its networks; the other is told later, or was
		for _, o := range s.all() {
			if o.name() != n.Name {
				o.yield(f.Listen)
			}
		}
	}
	if l := s.lan(n.Name); l != nil {
		if err := l.set(ctx, s.root, n); err != nil {
			return failed(n, err)
		}
		s.log.Info("network changed", "network", n.Name)
		return nil
	}
	l, err := newLAN(ctx, s.root, s.give, n, s.log)
	if err != nil {
		return failed(n, err)
	}
	s.mu.Lock()
	s.lans[n.Name], s.had = l, true
	s.mu.Unlock()
	s.log.Info("network made", "network", n.Name)
	return nil
}

// failed is why a network could not be set.
func failed(n Network, err error) *Error {
	if e, ok := err.(*Error); ok {
		return e
	}
	return fail("set", Failed, "network %s: %v", n.Name, err)
}

// remove ends a network; with the last one the process ends.
func (s *server) remove(name string) response {
	s.change.Lock()
	defer s.change.Unlock()
	s.mu.Lock()
	l := s.lans[name]
	delete(s.lans, name)
	last := len(s.lans) == 0 && s.had
	s.ending = s.ending || last // from now on nothing is added
	s.mu.Unlock()
	if l != nil {
		l.close()
		s.log.Info("network removed", "network", name)
	}
	return response{Ending: last}
}

// finish has the process end. The connections of those who asked for it stay open and end with it: that is what
// they wait for.
func (s *server) finish(askers ...*Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending = true
	s.askers = append(s.askers, askers...)
	select {
	case <-s.end:
	default:
		close(s.end)
	}
}

// empty says whether there is no network.
func (s *server) empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.lans) == 0
}

// close ends all networks.
func (s *server) close() {
	s.change.Lock()
	defer s.change.Unlock()
	s.finish()
	for _, l := range s.all() {
		l.close()
	}
}

// dial answers a dial, and then is the wire between client and machine.
func (s *server) dial(ctx context.Context, c *Conn, q request) {
	stream, err := s.connect(ctx, c, q)
	if err != nil {
		_ = c.writeLine(response{Version: Version, Error: err})
		_ = c.Close()
		return
	}
	if err := c.writeLine(response{Version: Version}); err != nil {
		_ = c.Close()
		_ = stream.Close()
		return
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	gateway.Relay(c, stream)
}

func (s *server) connect(ctx context.Context, c *Conn, q request) (gateway.Stream, *Error) {
	if q.Dial == nil {
		return nil, fail("dial", Invalid, "nothing to dial given")
	}
	l := s.lan(q.Dial.Network)
	if l == nil {
		return nil, fail("dial", NoNetwork, "there is no network %s", q.Dial.Network)
	}
	within := time.Duration(q.Within) * time.Millisecond
	if within <= 0 || within > maxDial {
		within = maxDial
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	// A client that leaves does not wait: reading sees it go. It must not speak before it is answered.
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if _, err := c.buf.Peek(1); err != nil {
			cancel()
		}
	}()
	stream, err := l.dial(ctx, *q.Dial)
	_ = c.SetReadDeadline(time.Unix(1, 0))
	<-gone
	_ = c.SetReadDeadline(time.Time{})
	if err != nil {
		return nil, fail("dial", CodeOf(err), "%s", text(err))
	}
	return stream, nil
}

// text is what err says, without the words that every *Error begins with.
func text(err error) string {
	if e, ok := err.(*Error); ok {
		return e.Text
	}
	return err.Error()
}

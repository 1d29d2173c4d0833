// Package inside reaches the inside of a lab's machines over ssh, through the provider's way in: it is what the engine
// knows as Guests.
//
// It must not know which provider that is, nor who asks.
package inside

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/labctl-dev/labctl/access"
	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// Guests implements engine.Guests.
type Guests struct {
	Lab    lab.Lab
	Dialer provider.Dialer // nil: the target's provider has no way in, and only external machines can be reached
	// Identity is asked for at each login: the lab may get its key only when the first change is about to be made.
	Identity func() (access.Identity, error)
	// Pack has at hand what labctl brings into machines.
	Pack guest.Packer
	// Keep takes what commands inside machines printed that labctl is to keep.
	Keep func(name string, value []byte) error
}

// Wait implements engine.Guests.
func (g *Guests) Wait(ctx context.Context, m lab.Machine, p provider.Progress) error {
	sh := g.Shell(m, p)
	defer sh.Close()
	_, err := guest.Wait(ctx, sh, m, steps(p))
	return err
}

// Converge implements engine.Guests.
func (g *Guests) Converge(ctx context.Context, m lab.Machine, s lab.Seed, p provider.Progress) error {
	sh := g.Shell(m, p)
	defer sh.Close()
	err := guest.Converge(ctx, sh, s, m, g.Pack, steps(p))
	if ctx.Err() != nil {
		return err
	}
	// Whatever failed beside it: what was told once is not left in the machine.
	if lost := guest.Collect(ctx, sh, m, g.Keep); lost != nil && err != nil {
		return fmt.Errorf("%w; %w", err, lost)
	} else if lost != nil {
		return lost
	}
	return err
}

// answering is how long a machine that is up may take to let labctl in.
const answering = 15 * time.Second

// Answers implements engine.Guests.
func (g *Guests) Answers(ctx context.Context, m lab.Machine) bool {
	ctx, cancel := context.WithTimeout(ctx, answering)
	defer cancel()
	s, err := g.Session(ctx, m, guest.Account, provider.Silent)
	if err != nil {
		return false
	}
	s.Close()
	return true
}

// Check implements engine.Guests.
func (g *Guests) Check(ctx context.Context, m lab.Machine, s lab.Seed) ([]guest.Difference, error) {
	sh := g.Shell(m, provider.Silent)
	defer sh.Close()
	return guest.Check(ctx, sh, s, m)
}

// steps turns a guest's signs of life into a provider's, whose numbers are bytes.
func steps(p provider.Progress) guest.Progress {
	return func(phase string, done, total int64) {
		if total > 0 {
			phase = fmt.Sprintf("%s (%d of %d)", phase, min(done+1, total), total)
		}
		p(provider.Step{Phase: phase})
	}
}

// Session opens a connection to m as user, trying again until ctx ends.
func (g *Guests) Session(ctx context.Context, m lab.Machine, user string, p provider.Progress) (*access.Session, error) {
	id, err := g.Identity()
	if err != nil {
		return nil, fmt.Errorf("cannot log in to %s: %w", m.Name, err)
	}
	p(provider.Step{Phase: "waiting for ssh"})
	o := access.Options{
		Dial:    func(ctx context.Context) (io.ReadWriteCloser, error) { return g.Dial(ctx, m, 22) },
		Machine: m.Name, User: user, Identity: id,
		Final: func(err error) bool {
			return provider.CodeOf(err) == provider.NotFound || provider.CodeOf(err) == provider.Unsupported
		},
		Progress: func(text string) { p(provider.Step{Phase: "waiting for ssh: " + text}) },
	}
	if m.Ours() {
		o.HostKey = id.HostPublic(m.Name)
		return access.Open(ctx, o)
	}
	return g.external(ctx, m, id, o)
}

// Over opens a connection to m as user by way of another machine, into which people log in as its own user, trying again
// until ctx ends.
func (g *Guests) Over(ctx context.Context, jump Login, m lab.Machine, user string) (*access.Session, error) {
	first, err := g.Session(ctx, jump.Machine, jump.User, provider.Silent)
	if err != nil {
		return nil, err
	}
	id, err := g.Identity()
	if err == nil {
		var s *access.Session
		s, err = access.Open(ctx, access.Options{
			Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
				return first.Dial(ctx, g.Lab.FQDN(m.Name)+":22")
			},
			Machine: m.Name, User: user, Identity: id, HostKey: id.HostPublic(m.Name), Under: first,
		})
		if err == nil {
			return s, nil
		}
	}
	first.Close()
	return nil, fmt.Errorf("over %s: %w", jump.Machine.Name, err)
}

// Login is a machine and as whom people log in to it.
type Login struct {
	Machine lab.Machine
	User    string
}

// external opens a connection to a machine that others made: it is there already, so a login that is refused is final.
func (g *Guests) external(ctx context.Context, m lab.Machine, id access.Identity, o access.Options) (*access.Session, error) {
	if m.SSH == nil {
		return nil, fmt.Errorf("cannot log in to %s: labctl has no account in it", m.Name)
	}
	key, err := access.ParseHostKey(m.SSH.HostKey)
	if err != nil {
		return nil, fmt.Errorf("cannot log in to %s: %s.ssh.host_key: %w", m.Name, m.Path(), err)
	}
	o.HostKey, o.Given, o.Denied = key, true, time.Second
	s, err := access.Open(ctx, o)
	var denied *access.DeniedError
	if errors.As(err, &denied) {
		return nil, fmt.Errorf("%w: its authorized_keys need the lab's key: %s", err, id.Authorized("labctl@"+g.Lab.Name))
	}
	return s, err
}

// Dial connects to a TCP port of m: through the provider's way in, or straight to an external machine. Port 22 means
// where that one's sshd listens.
func (g *Guests) Dial(ctx context.Context, m lab.Machine, port int) (io.ReadWriteCloser, error) {
	if !m.External.IsValid() {
		return g.Dialer.Dial(ctx, provider.Endpoint{Lab: g.Lab.Within(), Machine: m.Name, Port: port})
	}
	if port == 22 && m.SSH != nil {
		port = m.SSH.Port
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", netip.AddrPortFrom(m.External, uint16(port)).String())
}

// Shell runs commands in m as labctl's own user, or in an external machine as the one it is let in as. Close must be
// called.
func (g *Guests) Shell(m lab.Machine, p provider.Progress) *Shell {
	user := guest.Account
	if m.SSH != nil {
		user = m.SSH.User
	}
	return &Shell{open: func(ctx context.Context) (*access.Session, error) { return g.Session(ctx, m, user, p) }}
}

// Shell is a guest.Shell that connects when it is first used, and anew after it lost the machine.
type Shell struct {
	open   func(context.Context) (*access.Session, error)
	mu     sync.Mutex
	now    *access.Session
	before bool // there was a connection: the machine is up
}

// reconnect is how long a machine that was reached before may take to be reached again.
const reconnect = 20 * time.Second

// Run implements guest.Shell.
func (s *Shell) Run(ctx context.Context, cmd string, stdin io.Reader) (guest.Output, error) {
	session, err := s.session(ctx)
	if err != nil {
		return guest.Output{}, err
	}
	out, errs, exit, err := session.Output(ctx, cmd, stdin)
	if err != nil {
		s.Close()
		return guest.Output{}, err
	}
	return guest.Output{Stdout: out, Stderr: errs, Exit: exit}, nil
}

func (s *Shell) session(ctx context.Context) (*access.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now != nil {
		return s.now, nil
	}
	if s.before {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, reconnect)
		defer cancel()
	}
	session, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	s.now, s.before = session, true
	return session, nil
}

// Close ends the connection.
func (s *Shell) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now != nil {
		_ = s.now.Close() // there is nothing left to lose
		s.now = nil
	}
}

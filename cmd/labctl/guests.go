package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/labctl-dev/labctl/access"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/secret"
	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// inside implements engine.Guests over ssh, through the provider's way in.
type inside struct {
	lab     lab.Lab
	dialer  provider.Dialer
	secrets string // folder of the lab's key
}

func newInside(l lab.Lab, secrets string, d provider.Dialer) *inside {
	return &inside{lab: l, dialer: d, secrets: secrets}
}

// Wait implements engine.Guests.
func (g *inside) Wait(ctx context.Context, m lab.Machine, p provider.Progress) error {
	sh := g.shell(m, p)
	defer sh.close()
	_, err := guest.Wait(ctx, sh, m, steps(p))
	return err
}

// Converge implements engine.Guests.
func (g *inside) Converge(ctx context.Context, m lab.Machine, s lab.Seed, p provider.Progress) error {
	sh := g.shell(m, p)
	defer sh.close()
	return guest.Converge(ctx, sh, s, m, steps(p))
}

// Check implements engine.Guests.
func (g *inside) Check(ctx context.Context, m lab.Machine, s lab.Seed) ([]guest.Difference, error) {
	sh := g.shell(m, provider.Silent)
	defer sh.close()
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

// session opens a connection to m, trying again until ctx ends.
func (g *inside) session(ctx context.Context, m lab.Machine, p provider.Progress) (*access.Session, error) {
	if _, err := os.Stat(filepath.Join(g.secrets, "lab.key")); err != nil {
		return nil, fmt.Errorf("cannot log in to %s: lab %s has no key on this host, so it was not applied from here", m.Name, g.lab.Name)
	}
	id, err := access.LoadIdentity(g.secrets)
	if err != nil {
		return nil, err
	}
	p(provider.Step{Phase: "waiting for ssh"})
	return access.Open(ctx, access.Options{
		Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
			return g.dialer.Dial(ctx, provider.Endpoint{Lab: g.lab, Machine: m.Name, Port: 22})
		},
		Machine: m.Name, User: guest.Account, Identity: id, HostKey: id.HostPublic(m.Name),
		Progress: func(text string) { p(provider.Step{Phase: "waiting for ssh: " + text}) },
	})
}

func (g *inside) shell(m lab.Machine, p provider.Progress) *shell {
	return &shell{open: func(ctx context.Context) (*access.Session, error) { return g.session(ctx, m, p) }}
}

// shell is a guest.Shell that connects when it is first used, and anew after it lost the machine.
type shell struct {
	open   func(context.Context) (*access.Session, error)
	mu     sync.Mutex
	now    *access.Session
	before bool // there was a connection: the machine is up
}

// reconnect is how long a machine that was reached before may take to be reached again.
const reconnect = 20 * time.Second

// Run implements guest.Shell.
func (s *shell) Run(ctx context.Context, cmd string, stdin io.Reader) (guest.Output, error) {
	session, err := s.session(ctx)
	if err != nil {
		return guest.Output{}, err
	}
	out, errs, exit, err := session.Output(ctx, cmd, stdin)
	if err != nil {
		s.close()
		return guest.Output{}, err
	}
	return guest.Output{Stdout: out, Stderr: errs, Exit: exit}, nil
}

func (s *shell) session(ctx context.Context) (*access.Session, error) {
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

func (s *shell) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now != nil {
		_ = s.now.Close() // there is nothing left to lose
		s.now = nil
	}
}

// keys makes or reads the lab's keys.
func (r *road) keys() (guest.Keys, error) {
	id, err := access.LoadIdentity(r.secretsFolder())
	if err != nil {
		return guest.Keys{}, err
	}
	k := guest.Keys{Authorized: []string{id.Authorized("labctl@" + r.lab.Name)}, Host: map[string]guest.HostKey{}}
	for _, m := range r.lab.Machines {
		private, public := id.HostKey(m.Name)
		k.Host[m.Name] = guest.HostKey{Private: private, Public: public}
	}
	return k, nil
}

// secrets are the values of the secrets that the lab's machines use; readOnly makes none.
func (r *road) secrets(readOnly bool) (map[string]string, error) {
	used := map[string]bool{}
	for _, m := range r.lab.Machines {
		for _, f := range m.Guest.Files {
			used[f.Secret] = true
		}
	}
	var list []lab.Secret
	for _, s := range r.lab.Secrets {
		if used[s.Name] {
			list = append(list, s)
		}
	}
	return secret.Sources{Env: os.LookupEnv, Folder: r.flags.folder(), Store: r.secretsFolder(), ReadOnly: readOnly}.Values(list)
}

// machine finds a machine of the lab by name.
func (r *road) machine(name string) (lab.Machine, error) { return machineOf(r.lab, name) }

func machineOf(l lab.Lab, name string) (lab.Machine, error) {
	m, ok := l.Machine(name)
	if ok {
		return m, nil
	}
	if len(l.Machines) == 0 {
		return m, fmt.Errorf("lab %s has no machines", l.Name)
	}
	var names []string
	for _, m := range l.Machines {
		names = append(names, m.Name)
	}
	return m, fmt.Errorf("lab %s has no machine %q; it has %s", l.Name, name, strings.Join(names, ", "))
}

// reach opens a session for a verb whose target must be able to dial.
func (r *road) reach(ctx context.Context, machine string, wait time.Duration) (*access.Session, error) {
	m, err := r.machine(machine)
	if err != nil {
		return nil, err
	}
	g, ok := r.engine.Guests.(*inside)
	if !ok {
		return nil, r.cannot(provider.Dials)
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return g.session(ctx, m, provider.Silent)
}

// cannot says that the target's provider lacks an ability.
func (r *road) cannot(a provider.Ability) error {
	what := map[provider.Ability]string{provider.Dials: "reach the inside of machines", provider.Consoles: "show consoles", provider.Diagnoses: "diagnose its host"}[a]
	return &provider.Error{Code: provider.Unsupported, Text: fmt.Sprintf("target %s: provider %s cannot %s", r.lab.Target, r.engine.Description.Name, what)}
}

// keysIfAny are the lab's keys if it has any on this host, else none.
func (r *road) keysIfAny() (guest.Keys, error) {
	if _, err := os.Stat(filepath.Join(r.secretsFolder(), "lab.key")); err != nil {
		return guest.Keys{}, nil
	}
	return r.keys()
}

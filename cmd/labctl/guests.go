package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/labctl-dev/labctl/access"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/inside"
	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// keys makes or reads the lab's keys.
func (r *road) keys() (guest.Keys, error) {
	id, err := access.LoadIdentity(r.secretsFolder())
	if err != nil {
		return guest.Keys{}, err
	}
	k := guest.Keys{Authorized: []string{id.Authorized("labctl@" + r.lab.Name)}, Host: map[string]guest.HostKey{}}
	for _, m := range r.lab.Machines {
		if !m.Ours() {
			continue
		}
		private, public := id.HostKey(m.Name)
		k.Host[m.Name] = guest.HostKey{Private: private, Public: public}
	}
	return k, nil
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

// reach opens a session for a verb whose target must be able to dial: as people come, over the lab's jumpbox where it has
// one, unless direct.
func (r *road) reach(ctx context.Context, machine string, wait time.Duration, direct bool) (*access.Session, error) {
	m, err := r.machine(machine)
	if err != nil {
		return nil, err
	}
	if err := entered(m); err != nil {
		return nil, err
	}
	if r.guests.Dialer == nil && m.Ours() {
		return nil, r.cannot(provider.Dials)
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	jump, ok := jumpTo(r.lab, m)
	if !ok || direct {
		return r.guests.Session(ctx, m, login(m), provider.Silent)
	}
	s, err := r.guests.Over(ctx, inside.Login{Machine: jump, User: login(jump)}, m, login(m))
	if err != nil {
		return nil, fmt.Errorf("%w; --direct goes past the jumpbox %s", err, jump.Name)
	}
	return s, nil
}

// jumpTo is the machine over which people come to m; false if they come straight.
func jumpTo(l lab.Lab, m lab.Machine) (lab.Machine, bool) {
	jumps := l.Jumps()
	if len(jumps) == 0 || slices.Contains(jumps, m.Name) || !m.Ours() {
		return lab.Machine{}, false
	}
	return l.Machine(jumps[0])
}

// login is the user that people log in to m as.
func login(m lab.Machine) string {
	if m.SSH != nil {
		return m.SSH.User
	}
	return m.Guest.User
}

// entered refuses machines that labctl has no account in.
func entered(m lab.Machine) error {
	if m.Enters() {
		return nil
	}
	if m.External.IsValid() {
		return fmt.Errorf("machine %s is external, and %s.ssh does not say how labctl gets in", m.Name, m.Path())
	}
	return fmt.Errorf("machine %s is adopted (%s on its host): labctl has no account in it; with one of yours, "+
		"ssh -o ProxyCommand='labctl proxy LAB %s 22' USER@%s", m.Name, m.Adopted, m.Name, m.Name)
}

// cannot says that the target's provider lacks an ability.
func (r *road) cannot(a provider.Ability) error {
	what := map[provider.Ability]string{provider.Dials: "reach the inside of machines", provider.Consoles: "show consoles", provider.Diagnoses: "diagnose its host",
		provider.Adopts: "adopt what others made", provider.Snapshots: "take snapshots", provider.Starts: "start a machine from something else than its lab says"}[a]
	return &provider.Error{Code: provider.Unsupported, Text: fmt.Sprintf("target %s: provider %s cannot %s", r.lab.Target, r.engine.Description.Name, what)}
}

// keysIfAny are the lab's keys if it has any on this host, else none.
func (r *road) keysIfAny() (guest.Keys, error) {
	if !r.ours() {
		return guest.Keys{}, nil
	}
	return r.keys()
}

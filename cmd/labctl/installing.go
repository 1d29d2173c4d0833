package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/labctl-dev/labctl/access"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// netbootTime is how long a machine of the lab that installs others may take to say how far they are.
const netbootTime = 10 * time.Second

// installing is what was heard of the lab's machines that install themselves: by the provider, and by machines of the lab
// that install others. Some of it may be known although there is an error.
func (r *road) installing(ctx context.Context, p provider.Provider, l lab.Lab) ([]provider.Installation, error) {
	var all []provider.Installation
	var errs []error
	asked := map[string]bool{}
	for _, i := range l.Installs() {
		if asked[i.Server] {
			continue
		}
		asked[i.Server] = true
		var some []provider.Installation
		var err error
		if i.Server != "" {
			some, err = r.askServer(ctx, i.Server)
		} else if x, ok := p.(provider.Installer); ok && r.plugin.Description.Has(provider.Installs) {
			some, err = x.Installations(ctx, l.Within())
		}
		all, errs = append(all, some...), append(errs, err)
	}
	return all, errors.Join(errs...)
}

// servers are sessions on machines of the lab that install others, kept open while somebody waits: they are asked every few
// seconds, over ssh, for a packet filter lets labctl in nowhere else.
type servers struct {
	mu   sync.Mutex
	open map[string]*access.Session
}

// close hangs up.
func (s *servers) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.open {
		s.drop(name)
	}
}

// drop hangs up one; mu is held.
func (s *servers) drop(name string) {
	if x := s.open[name]; x != nil {
		_ = x.Close()
	}
	delete(s.open, name)
}

// askServer asks a machine of the lab that installs others.
func (r *road) askServer(ctx context.Context, server string) (all []provider.Installation, err error) {
	ctx, cancel := context.WithTimeout(ctx, netbootTime)
	defer cancel()
	m, err := r.machine(server)
	if err != nil {
		return nil, err
	}
	if r.guests.Dialer == nil {
		return nil, r.cannot(provider.Dials)
	}
	r.servers.mu.Lock()
	defer r.servers.mu.Unlock()
	if r.servers.open == nil {
		r.servers.open = map[string]*access.Session{}
	}
	session := r.servers.open[server]
	if session == nil {
		if session, err = r.guests.Session(ctx, m, guest.Account, provider.Silent); err != nil {
			return nil, err
		}
		r.servers.open[server] = session
	}
	if all, err = askStatus(ctx, session, installPort(m)); err != nil {
		r.servers.drop(server)
		return nil, fmt.Errorf("cannot ask %s how far installations are: %w", server, err)
	}
	return all, nil
}

// askStatus asks what answers at a port of the machine itself.
func askStatus(ctx context.Context, s *access.Session, port int) ([]provider.Installation, error) {
	at := fmt.Sprintf("127.0.0.1:%d", port)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return s.Dial(ctx, at)
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+"/status", nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(resp.Status)
	}
	var all []provider.Installation
	err = json.NewDecoder(io.LimitReader(resp.Body, 16<<20)).Decode(&all)
	return all, err
}

// netbootPort is the name of the port at which a role that installs machines answers over HTTP.
const netbootPort = "netboot"

// installPort is where a machine that installs others answers.
func installPort(m lab.Machine) int {
	for _, role := range m.Roles {
		for _, p := range role.Ports {
			if role.Installs && p.Name == netbootPort && len(p.Services) > 0 {
				return int(p.Services[0].From)
			}
		}
	}
	return 80
}

// installs fills in how far machines are that install themselves. One that was healthy since is no matter of an installer's
// any more: what is known of its inside says so, unless an installer is at work again.
func (r *road) installs(ctx context.Context, machines []view.MachineStatus, observed []provider.Observed) {
	if len(r.lab.Installs()) == 0 {
		return
	}
	all, _ := r.engine.Installing(ctx, r.lab) // who cannot be asked has nothing to show
	for i := range machines {
		s := &machines[i]
		if m, ok := r.lab.Machine(s.Name); !ok || !m.Networked() || s.Power != "on" {
			continue
		}
		for _, x := range all {
			if x.Machine == s.Name && (x.AtWork(time.Now()) || !r.converged(s.Name, observed)) {
				s.Install, s.Health = &x, "installing"
			}
		}
	}
}

// converged says whether a machine's inside was once what its seed said.
func (r *road) converged(machine string, observed []provider.Observed) bool {
	for _, o := range observed {
		if k, _ := r.engine.Description.Kind(o.Addr.Kind); k.Guest && o.Machine == machine {
			return true
		}
	}
	return false
}

// installs says whether an installer is at work in the machine, so that it need not be asked itself.
func installs(s view.MachineStatus) bool {
	return s.Install != nil && !s.Install.Done && (s.Install.Error != "" || time.Since(s.Install.When) < provider.Recent)
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

const (
	// netbootTime is how long a machine of the lab that installs others may take to say how far they are.
	netbootTime = 10 * time.Second
	// recent is how old the news of an installer may be for nobody to ask the machine itself: it says something every
	// second while it writes.
	recent = time.Minute
)

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

// askServer asks a machine of the lab that installs others.
func (r *road) askServer(ctx context.Context, server string) ([]provider.Installation, error) {
	ctx, cancel := context.WithTimeout(ctx, netbootTime)
	defer cancel()
	m, err := r.machine(server)
	if err != nil {
		return nil, err
	}
	if r.guests.Dialer == nil {
		return nil, r.cannot(provider.Dials)
	}
	port := installPort(m)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := r.guests.Dial(ctx, m, port)
		if err != nil {
			return nil, err
		}
		return stream{c}, nil
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+server+"/status", nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("cannot ask %s how far installations are: %w", server, err)
	}
	defer resp.Body.Close()
	var all []provider.Installation
	if resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	} else {
		err = json.NewDecoder(io.LimitReader(resp.Body, 16<<20)).Decode(&all)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot ask %s how far installations are: %w", server, err)
	}
	return all, nil
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

// stream is a byte stream as a connection, whose deadlines are those of the request that it is for.
type stream struct{ io.ReadWriteCloser }

func (stream) LocalAddr() net.Addr              { return &net.UnixAddr{Name: "labctl"} }
func (stream) RemoteAddr() net.Addr             { return &net.UnixAddr{Name: "machine"} }
func (stream) SetDeadline(time.Time) error      { return nil }
func (stream) SetReadDeadline(time.Time) error  { return nil }
func (stream) SetWriteDeadline(time.Time) error { return nil }

// installs fills in how far machines are that install themselves. One that was healthy since is no matter of an installer's
// any more: what is known of its inside says so.
func (r *road) installs(ctx context.Context, machines []view.MachineStatus, observed []provider.Observed) {
	if len(r.lab.Installs()) == 0 {
		return
	}
	all, _ := r.engine.Installing(ctx, r.lab) // who cannot be asked has nothing to show
	for i := range machines {
		s := &machines[i]
		if m, ok := r.lab.Machine(s.Name); !ok || !m.Networked() || s.Power != "on" || r.converged(s.Name, observed) {
			continue
		}
		for _, x := range all {
			if x.Machine == s.Name {
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
	return s.Install != nil && !s.Install.Done && (s.Install.Error != "" || time.Since(s.Install.When) < recent)
}

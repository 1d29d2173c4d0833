package probe

import (
	"context"
	"io"
	"net/netip"
	"time"

	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/lab"
)

// Posts is where a machine shall listen.
type Posts struct {
	Machine   string
	Addresses []netip.Addr
	Leases    []string      // MACs of interfaces whose IPv4 address is known only inside
	Ports     []lab.Service // of TCP and UDP, one port each
	Token     string        // the word that listeners and askers of one run share; nobody else is answered
	Lifetime  time.Duration // after which listeners end by themselves
}

// Place is one address of one port.
type Place struct {
	Proto lab.Proto  `json:"proto"`
	Addr  netip.Addr `json:"addr"`
	Port  uint16     `json:"port"`
}

// Listening is a machine that listens until Stop.
type Listening struct {
	Held   map[Place]bool        // ports that others hold
	Failed map[Place]string      // where nobody can listen, and why
	Leases map[string]netip.Addr // by MAC
	Count  int                   // ports listened on

	stdin *io.PipeWriter
	stop  context.CancelFunc
	ended chan error
}

// Listen lets a machine listen on every port that nothing else holds. The listeners end with Stop, with the connection,
// with labctl, or when their lifetime is over, whichever is first. ctx is for starting and for listening.
func Listen(ctx context.Context, sh guest.Shell, p Posts) (*Listening, error) {
	what := "listen in " + p.Machine
	ctx, cancel := context.WithCancel(ctx)
	r, w := io.Pipe()
	l := &Listening{stdin: w, stop: cancel, ended: make(chan error, 1)}
	go func() {
		err := run(ctx, sh, what, map[string]any{
			"do": "listen", "name": p.Machine, "token": p.Token, "lifetime": p.Lifetime.Seconds(),
			"addresses": texts(p.Addresses), "leases": append([]string{}, p.Leases...), "ports": pairs(p.Ports),
		}, r, nil)
		r.CloseWithError(io.ErrClosedPipe)
		l.ended <- err
		cancel()
	}()
	var told struct {
		Listening int
		Held      []Place
		Failed    []struct {
			Place
			Why string
		}
		Leases map[string]netip.Addr
	}
	err := run(ctx, sh, what, map[string]any{"do": "report", "token": p.Token, "patience": patience.Seconds()}, nil, &told)
	if err != nil {
		if other := l.Stop(); other != nil { // why there is nothing to be told
			err = other
		}
		return nil, err
	}
	l.Count, l.Leases, l.Held, l.Failed = told.Listening, told.Leases, map[Place]bool{}, map[Place]string{}
	for _, p := range told.Held {
		l.Held[p] = true
	}
	for _, f := range told.Failed {
		l.Failed[f.Place] = f.Why
	}
	return l, nil
}

// patience is how long a listener may take to be there once its program was sent. A machine under emulation on a busy
// host takes seconds to start Python.
const patience = 60 * time.Second

// Alive says whether the listeners still stand.
func (l *Listening) Alive() bool { return len(l.ended) == 0 }

// Stop ends the listeners and returns when they have ended, with the error that ended them before.
func (l *Listening) Stop() error {
	l.stdin.Close()
	select {
	case err := <-l.ended:
		l.stop()
		l.ended <- nil
		return err
	case <-time.After(5 * time.Second):
	}
	l.stop()
	err := <-l.ended
	l.ended <- nil
	return err
}

func texts(all []netip.Addr) []string {
	out := make([]string, len(all))
	for i, a := range all {
		out[i] = a.String()
	}
	return out
}

func pairs(ports []lab.Service) [][2]any {
	out := make([][2]any, len(ports))
	for i, p := range ports {
		out[i] = [2]any{p.Proto, p.From}
	}
	return out
}

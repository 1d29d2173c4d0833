// Package replay asks the questions of a proof in a running lab: it lets all machines listen that are asked, then lets
// all ask, then asks again, alone, what came out otherwise than proven, and looks at the counters on its way meanwhile.
//
// It must not know how machines are reached, which hypervisor runs them, or who wants to know.
package replay

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/labctl-dev/labctl/check/live"
	"github.com/labctl-dev/labctl/check/reach"
	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/guest/probe"
	"github.com/labctl-dev/labctl/lab"
)

// Options are what a replay needs.
type Options struct {
	Lab   lab.Lab
	Proof *reach.Proof
	Set   live.Set
	// Shell is a way into a machine; it is asked for once and used by several goroutines. An error of its first command
	// means that the machine cannot be reached.
	Shell func(machine string) guest.Shell
	Away  map[string]string // machines that are known not to be there, and why
	Jobs  int               // machines that start or ask at once, at least 1
	Tell  func(Event)       // may be called from several goroutines; nil for nobody
}

// Event says what a machine is doing.
type Event struct {
	Machine string
	Phase   string // in the present: "asking 312 questions"
	Way     bool   // it is only about the way into the machine
	End     bool   // of what the machine was doing
	Err     error  // with End: it could not
}

// Result is what came of a replay.
type Result struct {
	Verdicts []live.Verdict
	Away     map[string]string // machines that could not be asked, and why
	Ports    int               // listened on, over all machines and addresses
}

// How long things may take. Under emulation on a busy host an answer takes up to a second and starting Python several.
const (
	reachTime  = 90 * time.Second // until a machine listens
	answerTime = 6 * time.Second  // for an answer that should come
	againTime  = 12 * time.Second // for the same, asked alone
	quietTime  = 3 * time.Second  // for one that is asked only to be counted
	parallel   = 128              // questions of one machine at once
	examined   = 20               // disagreements for which counters are looked at
)

// Run asks everything in o.Set. An error means that nothing was asked; what could not be asked is in the verdicts.
func Run(ctx context.Context, o Options) (Result, error) {
	if o.Tell == nil {
		o.Tell = func(Event) {}
	}
	r := &run{
		Options: o, token: "labctl-" + strings.ToLower(rand.Text()[:16]), answers: make([]live.Answer, len(o.Set.Questions)),
		shells: map[string]guest.Shell{}, away: map[string]string{}, posts: map[string]*probe.Listening{}, real: map[netip.Addr]netip.Addr{},
	}
	for m, why := range o.Away {
		r.away[m] = why
	}
	defer r.stop()
	r.listen(ctx)
	r.ask(ctx)
	r.again(ctx)
	verdicts := live.Compare(o.Set, r.answers)
	r.examine(ctx, verdicts)
	result := Result{Verdicts: verdicts, Away: r.away}
	for _, l := range r.posts {
		result.Ports += l.Count
	}
	return result, ctx.Err()
}

// run is one replay.
type run struct {
	Options
	token   string
	answers []live.Answer // by question
	mu      sync.Mutex    // for what follows
	shells  map[string]guest.Shell
	away    map[string]string
	posts   map[string]*probe.Listening
	real    map[netip.Addr]netip.Addr // what the proof's stand-ins are
}

func (r *run) shell(m string) guest.Shell {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shells[m] == nil {
		r.shells[m] = r.Shell(m)
	}
	return r.shells[m]
}

// machines are those that have a part in the questions, in name order.
func (r *run) machines() []string {
	var out []string
	seen := map[string]bool{"": true}
	for _, q := range r.Set.Questions {
		for _, m := range []string{q.From, q.To, q.By} {
			if !seen[m] {
				seen[m] = true
				out = append(out, m)
			}
		}
	}
	slices.Sort(out)
	return out
}

// each does something for several machines, as many at once as may be.
func (r *run) each(machines []string, do func(machine string)) {
	var g errgroup.Group
	g.SetLimit(max(r.Jobs, 1))
	for _, m := range machines {
		g.Go(func() error {
			do(m)
			return nil
		})
	}
	_ = g.Wait() // what goes wrong is told with the machine
}

// listen lets every machine listen that can be reached.
func (r *run) listen(ctx context.Context) {
	r.each(r.machines(), func(name string) {
		r.mu.Lock()
		why := r.away[name]
		r.mu.Unlock()
		if why != "" {
			return
		}
		r.Tell(Event{Machine: name, Phase: "listening"})
		l, err := r.post(ctx, name)
		r.mu.Lock()
		defer r.mu.Unlock()
		if err != nil {
			r.away[name] = err.Error()
			r.Tell(Event{Machine: name, End: true, Err: err})
			return
		}
		r.posts[name] = l
	})
}

// post lets one machine listen.
func (r *run) post(ctx context.Context, name string) (*probe.Listening, error) {
	m, _ := r.Lab.Machine(name)
	p := probe.Posts{Machine: name, Token: r.token, Ports: live.Listeners(r.Lab, r.Set, name), Lifetime: time.Hour}
	if end, ok := ctx.Deadline(); ok {
		p.Lifetime = time.Until(end) + 10*time.Second
	}
	standIns := map[string]netip.Addr{} // by MAC
	for _, nic := range m.NICs {
		for _, v6 := range []bool{false, true} {
			switch a, standIn, ok := r.Proof.Address(name, nic.Network, v6); {
			case !ok:
			case standIn:
				p.Leases = append(p.Leases, nic.MAC)
				standIns[nic.MAC] = a
			default:
				p.Addresses = append(p.Addresses, a)
			}
		}
	}
	l, err := r.start(ctx, name, p)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for mac, a := range l.Leases {
		r.real[standIns[mac]] = a
	}
	return l, nil
}

// start waits at most reachTime for listeners that then stay until ctx ends.
func (r *run) start(ctx context.Context, name string, p probe.Posts) (*probe.Listening, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	late := time.AfterFunc(reachTime, func() { cancel(fmt.Errorf("%s does not listen after %s", name, reachTime)) })
	l, err := probe.Listen(ctx, r.shell(name), p)
	late.Stop()
	if err != nil && context.Cause(ctx) != nil {
		err = fmt.Errorf("%w: %v", context.Cause(ctx), err)
	}
	if err != nil {
		cancel(nil)
	}
	return l, err
}

// stop ends all listeners.
func (r *run) stop() {
	var all sync.WaitGroup
	for _, l := range r.posts {
		all.Go(func() { _ = l.Stop() }) // what ended one before has been noticed
	}
	all.Wait()
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/lock"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/engine"
	"github.com/labctl-dev/labctl/engine/apply"
	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// lock makes this the only labctl on this host that changes the lab.
func (r *road) lock(ctx context.Context, verb string, wait time.Duration) (*lock.Lock, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	h := lock.Holder{Verb: verb, PID: os.Getpid(), User: fmt.Sprint(os.Getuid()), Since: time.Now()}
	if u, err := user.Current(); err == nil {
		h.User = u.Username
	}
	return lock.Take(ctx, r.labFolder(), r.lab.Name, h)
}

// execute makes p, which was planned with o, true, and shows progress meanwhile. The first SIGINT or SIGTERM lets it
// come to a good end. An error means that nothing was done.
func (r *road) execute(ctx context.Context, p plan.Plan, o engine.PlanOptions, rf runFlags) (apply.Report, error) {
	seeds := &lastMoment{road: r}
	if refused := p.Refusals(); len(refused) == 0 && r.needsSeeds(p) {
		if err := r.owned(ctx, p); err != nil {
			return apply.Report{}, err
		}
		if _, err := seeds.all(); err != nil { // before anything is changed
			return apply.Report{}, err
		}
	}
	ao := engine.ApplyOptions{
		Options: apply.Options{Parallel: rf.parallel, Stop: r.signals.graceful()},
		Seed:    seeds.seed, Timeout: rf.timeout, Again: o,
	}
	if !r.quiet {
		progress := view.NewProgress(r.err, r.progressOptions())
		defer progress.Close()
		defer r.signals.speak(func(text string) { progress.Note("labctl: " + text) })()
		ao.Events = progress.Event
	}
	report, err := r.engine.Apply(ctx, r.lab, p, ao)
	for i, x := range report.Results {
		if word := x.Error[strings.LastIndex(x.Error, " ")+1:]; x.Code == provider.Missing && strings.HasSuffix(x.Error, ": "+word) {
			report.Results[i].Error += " is not installed" // the text of this code is a program's name
		}
	}
	return report, err
}

func (c *cli) progressOptions() view.ProgressOptions {
	f, ok := c.err.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || c.debug || os.Getenv("TERM") == "dumb" {
		return view.ProgressOptions{}
	}
	return view.ProgressOptions{Terminal: true, Color: colours(true), Width: func() int { return columns(f) }}
}

// needsSeeds says whether a change of p gets a seed.
func (r *road) needsSeeds(p plan.Plan) bool {
	for _, c := range p.Changes {
		k, _ := r.engine.Description.Kind(c.Addr.Kind)
		if c.Action.Puts() && !c.After.Adopted && (k.Seeded || k.Guest) {
			return true
		}
	}
	return false
}

// lastMoment makes the seeds with keys and secrets' values when the first of them is asked for.
type lastMoment struct {
	road  *road
	mu    sync.Mutex
	seeds map[string]lab.Seed
}

func (s *lastMoment) all() (map[string]lab.Seed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seeds != nil {
		return s.seeds, nil
	}
	keys, err := s.road.keys()
	if err != nil {
		return nil, err
	}
	secrets, err := s.road.secrets(false)
	if err != nil {
		return nil, err
	}
	s.seeds, err = guest.Seeds(s.road.lab, keys, secrets)
	return s.seeds, err
}

func (s *lastMoment) seed(machine string) (lab.Seed, error) {
	all, err := s.all()
	if err != nil {
		return lab.Seed{}, err
	}
	one, ok := all[machine]
	if !ok {
		return lab.Seed{}, fmt.Errorf("lab %s has no machine %q to make a seed for", s.road.lab.Name, machine)
	}
	return one, nil
}

// failedError sums up a report that is no success. The report itself has been shown.
type failedError struct {
	report apply.Report
	cause  error
	again  string // what goes on from here; "" is the same command
}

func (e *failedError) Error() string {
	failed, skipped := 0, 0
	for _, x := range e.report.Results {
		switch x.State {
		case apply.Failed:
			failed++
		case apply.Skipped:
			skipped++
		}
	}
	var parts []string
	if failed > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d changes failed", failed, len(e.report.Results)))
	}
	if skipped > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d were not started", skipped, len(e.report.Results)))
	}
	again := e.again
	if again == "" {
		again = "the same command again goes on from here"
	}
	return strings.Join(parts, ", ") + "; " + again
}

func (e *failedError) Unwrap() error { return e.cause }

// verdict is nil if everything in the report was done and held.
func verdict(r apply.Report) error {
	if err := r.Err(); err != nil {
		return &failedError{report: r, cause: err}
	}
	if len(r.Unsettled) == 0 {
		return nil
	}
	var names []string
	for _, a := range r.Unsettled {
		names = append(names, a.String())
	}
	return errors.New("all was done, but it does not hold; a new plan would change again: " + strings.Join(names, ", "))
}

// Package apply executes a plan: in graph order, bounded parallel, with a deadline for every change, events while it
// works, and a report at the end.
//
// It must not know what the changes are made of; a Worker makes them.
package apply

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-multierror"

	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/provider"
)

// Worker makes single changes. Its methods are called in parallel.
type Worker interface {
	// Put creates or updates c.After; for a replacement it is called after Remove.
	Put(ctx context.Context, c plan.Change, p provider.Progress) error
	// Remove deletes c.Before.
	Remove(ctx context.Context, c plan.Change, p provider.Progress) error
	// Deadline is how long the change may take, each of its steps by itself.
	Deadline(c plan.Change) time.Duration
}

// Options say how to execute.
type Options struct {
	Parallel int             // steps at once; at least 1
	Stop     <-chan struct{} // when closed: start nothing new, finish what runs; nil never stops
	Events   func(Event)     // called one at a time; nil for nobody
	Backoff  time.Duration   // pause before the second try of what may be tried again, doubled each time; 0 is 500 ms
}

// Event is one thing that happened.
type Event struct {
	Addr    provider.Addr   `json:"addr"`
	Machine string          `json:"machine,omitempty"`
	Action  plan.Action     `json:"action"`
	Impact  provider.Impact `json:"impact,omitempty"`
	State   State           `json:"state"`
	Step    *provider.Step  `json:"step,omitempty"`  // with Running
	Error   string          `json:"error,omitempty"` // with Failed, Skipped and a Running that is tried again
	Elapsed time.Duration   `json:"elapsed_ns,omitempty"`
}

// State is how far a change is.
type State string

// The states of a change.
const (
	Started State = "started"
	Running State = "running" // a sign of life
	Done    State = "done"
	Failed  State = "failed"
	Skipped State = "skipped" // not tried: what it needs failed, or the run was stopped
)

// Report is what became of each change, in the plan's order.
type Report struct {
	Lab     string   `json:"lab"`
	Target  string   `json:"target"`
	Results []Result `json:"results"`
	// Unsettled are changes that a new plan would still make although everything was done: a broken promise of the
	// provider, or someone else at work.
	Unsettled []provider.Addr `json:"unsettled,omitempty"`
}

// Result is what became of one change.
type Result struct {
	Addr    provider.Addr   `json:"addr"`
	Machine string          `json:"machine,omitempty"`
	Action  plan.Action     `json:"action"`
	Impact  provider.Impact `json:"impact,omitempty"`
	State   State           `json:"state"` // Done, Failed or Skipped
	Code    provider.Code   `json:"code,omitempty"`
	Error   string          `json:"error,omitempty"`
	err     error
}

// Err is nil if every change is done, else all the failures (not what was skipped because of them); if there was
// only skipping, it says so.
func (r Report) Err() error {
	var all *multierror.Error
	skipped := 0
	for _, x := range r.Results {
		switch x.State {
		case Failed:
			all = multierror.Append(all, x.err)
		case Skipped:
			skipped++
		}
	}
	if all == nil && skipped > 0 {
		return &provider.Error{Code: provider.Canceled, Text: fmt.Sprintf("stopped: %d of %d changes were not started", skipped, len(r.Results))}
	}
	if all == nil {
		return nil
	}
	all.ErrorFormat = func(es []error) string {
		text := ""
		for i, e := range es {
			if i > 0 {
				text += "\n"
			}
			text += e.Error()
		}
		return text
	}
	return all
}

// Run executes p. An error means that p cannot be executed at all and nothing was done; what fails on the way is in
// the report. Canceling ctx also cancels what runs.
func Run(ctx context.Context, w Worker, p plan.Plan, o Options) (Report, error) {
	s, err := schedule(p)
	if err != nil {
		return Report{}, err
	}
	r := newRun(w, p, o, s)
	r.loop(ctx)
	rep := Report{Lab: p.Lab, Target: p.Target, Results: r.results}
	return rep, nil
}

// attempt makes one step of one change, trying again what may be tried again, within its deadline.
func attempt(ctx context.Context, w Worker, st step, backoff time.Duration, events func(Event)) error {
	limit := w.Deadline(st.change)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	last := &phase{}
	progress := func(s provider.Step) {
		last.set(s.Phase)
		events(st.event(Event{State: Running, Step: &s}))
	}
	do := w.Put
	if st.remove {
		do = w.Remove
	}
	if backoff <= 0 {
		backoff = 500 * time.Millisecond
	}
	for try := 1; ; try++ {
		err := do(ctx, st.change, progress)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil && errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
			text := fmt.Sprintf("not done after %s", limit)
			if was := last.get(); was != "" {
				text += "; it was " + was
			}
			return &provider.Error{Op: st.op(), Addr: st.change.Addr, Code: provider.Timeout, Text: text + ": " + bare(err)}
		}
		if !provider.CodeOf(err).Retry() || try == 5 {
			return provider.Wrap(st.op(), st.change.Addr, err)
		}
		again := provider.Step{Phase: "trying again"}
		events(st.event(Event{State: Running, Step: &again, Error: err.Error()}))
		select {
		case <-time.After(backoff << (try - 1)):
		case <-ctx.Done():
		}
	}
}

// bare is an error's text without the operation and address that the caller names itself.
func bare(err error) string {
	var e *provider.Error
	if errors.As(err, &e) {
		return e.Text
	}
	return err.Error()
}

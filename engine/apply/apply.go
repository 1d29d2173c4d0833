// Package apply executes a plan: in graph order, bounded parallel, with a deadline for every change, events while it
// works, and a report at the end.
//
// It must not know what the changes are made of; a Worker makes them.
package apply

import (
	"context"
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
	Skipped State = "skipped" // not tried, or of a replacement only half: what it needs failed, or the run was stopped
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
	Notes   []string        `json:"notes,omitempty"` // of the provider, see provider.Step
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

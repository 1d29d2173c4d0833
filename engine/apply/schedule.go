package apply

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/labctl-dev/labctl/engine/graph"
	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/provider"
)

// step is one call of the worker: a replacement has two, every other change one.
type step struct {
	change plan.Change
	index  int // of the change in the plan
	remove bool
	last   bool // when it is done, so is the change
}

func (s step) op() string {
	switch {
	case s.remove:
		return "delete"
	case s.change.Action == plan.Update:
		return "update"
	}
	return "create"
}

func (s step) event(e Event) Event {
	e.Addr, e.Machine, e.Action, e.Impact = s.change.Addr, s.change.Machine, s.change.Action, s.change.Impact
	return e
}

// steps is the plan as a graph of steps.
type steps struct {
	graph.Graph
	list []step
}

// schedule orders the steps: a thing is made after what it needs, deleted after what held on to it, and made again
// after it was deleted.
func schedule(p plan.Plan) (*steps, error) {
	s := &steps{}
	put, remove := map[provider.Addr]int{}, map[provider.Addr]int{}
	for i, c := range p.Changes {
		if c.Action == plan.Delete || c.Action == plan.Replace {
			remove[c.Addr] = s.Add()
			s.list = append(s.list, step{change: c, index: i, remove: true, last: c.Action == plan.Delete})
		}
		if c.Action != plan.Delete {
			put[c.Addr] = s.Add()
			s.list = append(s.list, step{change: c, index: i, last: true})
		}
	}
	for _, c := range p.Changes {
		putC, puts := put[c.Addr]
		removeC, removes := remove[c.Addr]
		if puts && removes {
			s.Edge(removeC, putC)
		}
		if c.After != nil {
			for _, n := range c.After.Needs {
				if putN, ok := put[n]; ok {
					s.Edge(putN, putC)
				}
			}
		}
		if c.Before != nil {
			for _, n := range c.Before.Needs {
				removeN, ok := remove[n]
				switch {
				case !ok:
				case removes:
					s.Edge(removeC, removeN)
				case !needs(c.After, n): // c lets go of n
					s.Edge(putC, removeN)
				}
			}
		}
	}
	if _, err := s.Order(); err != nil {
		return nil, s.explain(err)
	}
	return s, nil
}

func needs(r *provider.Resource, a provider.Addr) bool {
	for _, n := range r.Needs {
		if n == a {
			return true
		}
	}
	return false
}

// explain names the things of a cycle.
func (s *steps) explain(err error) error {
	var cycle *graph.CycleError
	if !errors.As(err, &cycle) {
		return err
	}
	var names []string
	for _, i := range cycle.Steps {
		names = append(names, s.list[i].op()+" "+s.list[i].change.Addr.String())
	}
	sort.Strings(names)
	return &provider.Error{Op: "order the changes", Code: provider.Internal, Text: "they wait for each other: " + strings.Join(names, ", ")}
}

// run is one execution.
type run struct {
	w       Worker
	o       Options
	steps   *steps
	results []Result
	began   []time.Time
	events  sync.Mutex
}

func newRun(w Worker, p plan.Plan, o Options, s *steps) *run {
	if o.Parallel < 1 {
		o.Parallel = 1
	}
	r := &run{w: w, o: o, steps: s, results: make([]Result, len(p.Changes)), began: make([]time.Time, len(p.Changes))}
	for i, c := range p.Changes {
		r.results[i] = Result{Addr: c.Addr, Machine: c.Machine, Action: c.Action, Impact: c.Impact}
	}
	return r
}

// outcome is a finished step.
type outcome struct {
	step int
	err  error
}

// loop starts ready steps while there is room, and takes the finished ones, until none is left.
func (r *run) loop(ctx context.Context) {
	walk := r.steps.Walk()
	ready, running := walk.Start(), 0
	finished := make(chan outcome)
	stopped := ""
	stop := r.o.Stop
	for {
		for stopped == "" && len(ready) > 0 && running < r.o.Parallel {
			if ctx.Err() != nil {
				stopped = "canceled"
				break
			}
			i := ready[0]
			ready = ready[1:]
			if r.results[r.steps.list[i].index].State != "" {
				continue // skipped meanwhile
			}
			if n := r.steps.list[i].index; r.began[n].IsZero() {
				r.began[n] = time.Now()
			}
			running++
			go func() { finished <- outcome{i, r.do(ctx, i)} }()
		}
		if running == 0 {
			break
		}
		select {
		case f := <-finished:
			running--
			if r.settle(f) {
				ready = append(ready, walk.Done(f.step)...)
			}
		case <-stop:
			stopped, stop = "stopped", nil
		}
	}
	for i := range r.steps.list {
		r.skip(i, "not started: "+stopped)
	}
}

// do makes step i.
func (r *run) do(ctx context.Context, i int) error {
	st := r.steps.list[i]
	r.emit(st.event(Event{State: Started}))
	return attempt(ctx, r.w, st, r.o.Backoff, r.emit)
}

// settle records a finished step and says whether others may build on it.
func (r *run) settle(f outcome) bool {
	st := r.steps.list[f.step]
	res := &r.results[st.index]
	elapsed := time.Since(r.began[st.index])
	if f.err != nil {
		res.State, res.Code, res.Error, res.err = Failed, provider.CodeOf(f.err), f.err.Error(), f.err
		r.emit(st.event(Event{State: Failed, Error: res.Error, Elapsed: elapsed}))
		for _, j := range r.steps.Behind(f.step) {
			r.skip(j, fmt.Sprintf("not started: %s failed", st.change.Addr))
		}
		return false
	}
	if st.last {
		res.State = Done
		r.emit(st.event(Event{State: Done, Elapsed: elapsed}))
	}
	return true
}

// skip marks the change of step i as skipped unless it has come to an end.
func (r *run) skip(i int, why string) {
	st := r.steps.list[i]
	res := &r.results[st.index]
	if res.State != "" {
		return
	}
	res.State, res.Error = Skipped, why
	r.emit(st.event(Event{State: Skipped, Error: why}))
}

func (r *run) emit(e Event) {
	r.events.Lock()
	defer r.events.Unlock()
	if r.o.Events != nil {
		r.o.Events(e)
	}
}

// phase is the last sign of life of a step.
type phase struct {
	mu   sync.Mutex
	text string
}

func (p *phase) set(s string) { p.mu.Lock(); defer p.mu.Unlock(); p.text = s }
func (p *phase) get() string  { p.mu.Lock(); defer p.mu.Unlock(); return p.text }

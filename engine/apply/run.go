package apply

import (
	"context"
	"sync"
	"time"

	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/provider"
)

// run is one execution.
type run struct {
	w       Worker
	o       Options
	steps   *steps
	results []Result
	halves  []half // by change, as results
	events  sync.Mutex
}

// half is what is known of a change while it is under way.
type half struct {
	began   time.Time
	running bool   // a step of it is at work
	removed bool   // the first half of a replacement is done
	doomed  string // why the second half will not be started
}

func newRun(w Worker, p plan.Plan, o Options, s *steps) *run {
	if o.Parallel < 1 {
		o.Parallel = 1
	}
	r := &run{w: w, o: o, steps: s, results: make([]Result, len(p.Changes)), halves: make([]half, len(p.Changes))}
	for i, c := range p.Changes {
		r.results[i] = Result{Addr: c.Addr, Machine: c.Machine, Action: c.Action, Impact: c.Impact}
	}
	return r
}

// outcome is a finished step.
type outcome struct {
	step  int
	err   error
	notes []string
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
			if stopped = r.stopped(ctx); stopped != "" {
				break
			}
			i := ready[0]
			ready = ready[1:]
			if r.results[r.steps.list[i].index].State != "" {
				continue // skipped meanwhile
			}
			h := &r.halves[r.steps.list[i].index]
			if h.began.IsZero() {
				h.began = time.Now()
			}
			h.running = true
			running++
			go func() { finished <- r.do(ctx, i) }()
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
		r.skip(i, stopped)
	}
}

// stopped says why nothing new may be started, "" if it may.
func (r *run) stopped(ctx context.Context) string {
	select {
	case <-r.o.Stop:
		return "stopped"
	default:
	}
	if ctx.Err() != nil {
		return "canceled"
	}
	return ""
}

// do makes step i.
func (r *run) do(ctx context.Context, i int) outcome {
	st := r.steps.list[i]
	r.emit(st.event(Event{State: Started}))
	var notes []string // guarded by mu: whoever makes progress may do so from anywhere
	var mu sync.Mutex
	err := attempt(ctx, r.w, st, r.o.Backoff, func(e Event) {
		if e.Step != nil && e.Step.Note != "" {
			mu.Lock()
			notes = append(notes, e.Step.Note)
			mu.Unlock()
		}
		r.emit(e)
	})
	mu.Lock()
	defer mu.Unlock()
	return outcome{i, err, notes}
}

// settle records a finished step and says whether others may build on it.
func (r *run) settle(f outcome) bool {
	st := r.steps.list[f.step]
	res := &r.results[st.index]
	h := &r.halves[st.index]
	elapsed := time.Since(h.began)
	h.running = false
	res.Notes = append(res.Notes, f.notes...)
	if f.err != nil {
		res.State, res.Code, res.Error, res.err = Failed, provider.CodeOf(f.err), f.err.Error(), f.err
		r.emit(st.event(Event{State: Failed, Error: res.Error, Elapsed: elapsed}))
		for _, j := range r.steps.Behind(f.step) {
			r.skip(j, st.change.Addr.String()+" failed")
		}
		return false
	}
	h.removed = st.remove
	switch {
	case st.last:
		res.State = Done
		r.emit(st.event(Event{State: Done, Elapsed: elapsed}))
	case h.doomed != "":
		r.skip(f.step, h.doomed)
	}
	return true
}

// skip marks the change of step i as skipped unless it has come to an end. Half a replacement is no change that was
// not started: what it stood for is gone.
func (r *run) skip(i int, why string) {
	st := r.steps.list[i]
	res, h := &r.results[st.index], &r.halves[st.index]
	if res.State != "" {
		return
	}
	if h.running { // its first half is at work; what to say is known when that has ended
		h.doomed = why
		return
	}
	if h.removed {
		why = "deleted, but not made again: " + why
	} else {
		why = "not started: " + why
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

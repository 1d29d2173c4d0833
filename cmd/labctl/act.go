package main

import (
	"context"
	"sync"
	"time"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/engine/apply"
	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/provider"
)

// act runs f, which is about the thing at a and stands in no plan, shows its progress, and returns its notes.
func (r *road) act(ctx context.Context, a provider.Addr, what plan.Action, timeout time.Duration, f func(context.Context, provider.Progress) error) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	x := apply.Event{Addr: a, Action: what}
	event := func(e apply.Event) {}
	if !r.quiet {
		progress := view.NewProgress(r.err, r.progressOptions())
		defer progress.Close()
		defer r.signals.speak(func(text string) { progress.Note("labctl: " + text) })()
		event = progress.Event
	}
	begun := time.Now()
	x.State = apply.Started
	event(x)
	var mu sync.Mutex // progress may come from any goroutine
	var notes []string
	err := f(ctx, func(s provider.Step) {
		e := x
		e.State, e.Step = apply.Running, &s
		event(e)
		if s.Note != "" {
			mu.Lock()
			defer mu.Unlock()
			notes = append(notes, s.Note)
		}
	})
	x.State, x.Elapsed = apply.Done, time.Since(begun)
	if err != nil {
		x.State, x.Error = apply.Failed, err.Error()
	}
	event(x)
	mu.Lock()
	defer mu.Unlock()
	return notes, err
}

package apply

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/labctl-dev/labctl/provider"
)

// tries is how often a step is tried that may be tried again.
const tries = 5

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
		switch {
		case err == nil:
			return nil
		case late(ctx):
			return st.timeout(limit, last.get(), err)
		case !provider.CodeOf(err).Retry():
			return provider.Wrap(st.op(), st.change.Addr, err)
		case try == tries:
			return &provider.Error{Op: st.op(), Addr: st.change.Addr, Code: provider.CodeOf(err), Text: fmt.Sprintf("%s (tried %d times)", bare(err), tries)}
		}
		again := provider.Step{Phase: "trying again"}
		events(st.event(Event{State: Running, Step: &again, Error: err.Error()}))
		select {
		case <-time.After(backoff << (try - 1)):
		case <-ctx.Done():
			if late(ctx) {
				return st.timeout(limit, last.get(), err)
			}
			return &provider.Error{Op: st.op(), Addr: st.change.Addr, Code: provider.Canceled, Text: "canceled before another try: " + bare(err)}
		}
	}
}

// late says whether ctx has ended because its time was over.
func late(ctx context.Context) bool { return errors.Is(ctx.Err(), context.DeadlineExceeded) }

// timeout is the error of a step that was not done in time: it says what was waited for.
func (s step) timeout(limit time.Duration, was string, err error) error {
	text := fmt.Sprintf("not done after %s", limit)
	if was != "" {
		text += "; it was " + was
	}
	if !errors.Is(err, context.DeadlineExceeded) { // that says nothing new
		text += ": " + bare(err)
	}
	return &provider.Error{Op: s.op(), Addr: s.change.Addr, Code: provider.Timeout, Text: text}
}

// bare is an error's text without the operation and address that the caller names itself.
func bare(err error) string {
	var e *provider.Error
	if errors.As(err, &e) {
		return e.Text
	}
	return err.Error()
}

// phase is the last sign of life of a step.
type phase struct {
	mu   sync.Mutex
	text string
}

func (p *phase) set(s string) { p.mu.Lock(); defer p.mu.Unlock(); p.text = s }
func (p *phase) get() string  { p.mu.Lock(); defer p.mu.Unlock(); return p.text }

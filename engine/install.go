package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

const (
	// installLook is how often installations are asked for while somebody waits for one.
	installLook = 2 * time.Second
	// installSilence is how long nothing may be heard of a machine that was there before this run, until it counts as stuck
	// and is started over: installers say something every second while they write, and a firmware that found nobody to
	// start from waits for ever.
	installSilence = 90 * time.Second
)

// InstallError is an installer that has ended without success.
type InstallError struct {
	Machine      string
	Installation provider.Installation
}

func (e *InstallError) Error() string {
	i := e.Installation
	text := fmt.Sprintf("%s: %s: %s", e.Machine, i, i.Error)
	if len(i.Log) > 0 {
		text += "; last lines of its installer:\n    " + strings.Join(i.Log, "\n    ")
	}
	return text
}

// installWatch tells how far a machine is that installs itself from the network, while somebody waits for its inside.
type installWatch struct {
	w     worker
	m     lab.Machine
	p     provider.Progress
	fresh bool // the machine has started over in this run: what is known at first was heard before
	live  bool // its installer has said something since

	before time.Time // when what was heard before it was started over, last: a failure of then is none of now

	mu   sync.Mutex
	last provider.Installation // zero: nothing
	why  error                 // why nothing could be asked, last
	busy bool                  // the installer is at work: nothing else has anything to say
}

// whileInstalling runs do, which waits for the inside of a machine that installs itself, and breaks it off when the installer
// fails.
func (w worker) whileInstalling(ctx context.Context, m lab.Machine, p provider.Progress, do func(context.Context, provider.Progress) error) error {
	watch := &installWatch{w: w, m: m, p: p, fresh: w.fresh[m.Name]}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var watching sync.WaitGroup
	watching.Go(func() {
		if err := watch.run(ctx); err != nil {
			stop(err)
		}
	})
	err := do(ctx, watch.pass)
	stop(nil)
	watching.Wait()
	var failed *InstallError
	switch {
	case errors.As(context.Cause(ctx), &failed):
		return failed
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w; %s", err, watch.heard())
	}
	return err
}

// pass lets through what is said of the inside, unless there is none yet.
func (i *installWatch) pass(s provider.Step) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.busy {
		i.p(s)
	}
}

// heard is what is known of the installation, for an error.
func (i *installWatch) heard() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.last.Of > 0:
		return fmt.Sprintf("the last that was heard of its installer, at %s: %s", i.last.When.UTC().Format(time.RFC3339), i.last)
	case i.why != nil:
		return "nothing was heard of its installer: " + i.why.Error()
	}
	return "nothing was heard of its installer: it got no lease, is not known to who installs others, or did not start from the network; 'labctl console' shows its screen"
}

// run looks until ctx ends or the installer fails.
func (i *installWatch) run(ctx context.Context) error {
	tick := time.NewTicker(i.w.o.Look)
	defer tick.Stop()
	began, news, answered := false, time.Now(), time.Now()
	for {
		now, err := i.ask(ctx)
		if err == nil {
			answered = time.Now()
		}
		switch {
		case err != nil && i.atWork() && time.Since(answered) > 2*i.w.o.Silence && ctx.Err() == nil:
			return i.failed("who installs it has not answered for %s: %v", 2*i.w.o.Silence, err)
		case err != nil:
			news = time.Now() // it cannot be told from silence
		case !began:
			began = true
			if i.fresh || now.Error == "" && now.Done {
				i.know(now, false, false)
				break
			}
			if now.Error != "" {
				i.over(ctx, "its installer had failed")
			}
			i.know(now, now.Of > 0 && now.Error == "", true)
		case !now.When.Equal(i.last.When) || now.Error != i.last.Error:
			news = time.Now()
			i.live = true
			if now.Error != "" && now.When.After(i.before) {
				return &InstallError{i.m.Name, now}
			}
			i.know(now, !now.Done && now.Error == "", true)
		case time.Since(news) > i.silence():
			i.quiet()
			switch {
			case i.last.Done || i.fresh && !i.atWork() || i.w.e.Guests.Answers(ctx, i.m) || ctx.Err() != nil:
			case i.fresh:
				return i.failed("nothing was heard of its installer for %s: 'labctl console' shows its screen", i.silence())
			default:
				i.over(ctx, "nothing was heard of its installer for "+i.silence().String())
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// atWork says whether the installer has said something in this run, and not that it is done. It does so more often than
// engine.Silence as long as it runs; before its first word a slow machine may take its time.
// In its last phase it restarts the machine, and what it says then may be lost.
func (i *installWatch) atWork() bool {
	return i.live && i.last.Number > 0 && i.last.Number < i.last.Of && !i.last.Done
}

// silence is how long nothing may be heard: of a distribution's installer much longer, which says something at the few places
// where it can be told to.
func (i *installWatch) silence() time.Duration {
	if i.m.Installer != nil {
		return 20 * i.w.o.Silence
	}
	return i.w.o.Silence
}

// failed is the error of an installer that did not say itself that it had failed.
func (i *installWatch) failed(format string, args ...any) error {
	at := i.last
	at.Error = fmt.Sprintf(format, args...)
	return &InstallError{i.m.Name, at}
}

// ask is what was last heard of the machine; zero is nothing.
func (i *installWatch) ask(ctx context.Context) (provider.Installation, error) {
	all, err := i.w.e.Installing(ctx, i.w.lab)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.why = err
	for _, x := range all {
		if x.Machine == i.m.Name {
			return x, nil
		}
	}
	return provider.Installation{}, err
}

// know remembers what was heard, and tells it where it is news.
func (i *installWatch) know(now provider.Installation, busy, news bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.last, i.busy = now, busy
	switch {
	case busy:
		i.p(provider.Step{Phase: fmt.Sprintf("installing %d/%d (%s)", now.Number, now.Of, now.Phase), Done: int64(now.Percent), Total: 100, Share: true})
	case now.Done && news:
		i.p(provider.Step{Phase: "installed, starting from its disk"})
	}
}

// quiet lets others speak: the installer says nothing.
func (i *installWatch) quiet() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.busy = false
}

// over starts the machine over from the network, once in a run and where the provider can.
func (i *installWatch) over(ctx context.Context, why string) {
	i.fresh, i.live = true, false
	s, ok := i.w.e.Provider.(provider.Starter)
	if !ok || !i.w.e.Description.Has(provider.Starts) {
		return
	}
	x, ok := i.w.lab.Install(i.m)
	if !ok {
		return
	}
	i.p(provider.Step{Phase: "starting over from the network: " + why})
	start := provider.Start{Machine: i.m.Name, From: lab.FromNetwork + ":" + lab.Boot(x.Network)}
	if err := s.StartOnce(ctx, i.w.lab.Within(), start, i.p); err != nil {
		i.p(provider.Step{Phase: "cannot be started over: " + err.Error()})
	}
	if now, err := i.ask(ctx); err == nil {
		i.before = now.When
	}
}

// withoutRewritten leaves out what was once true inside of machines that a machine of the lab is installing anew at this
// moment, because their disks were wiped: who makes the machines does not hear of that. Who cannot be asked tells nothing.
func (e Engine) withoutRewritten(ctx context.Context, l lab.Lab, observed []provider.Observed) []provider.Observed {
	inside := func(o provider.Observed) bool {
		k, _ := e.Description.Kind(o.Addr.Kind)
		return k.Guest
	}
	known := map[string]bool{}
	for _, o := range observed {
		known[o.Machine] = known[o.Machine] || inside(o)
	}
	if e.Installing == nil || !slices.ContainsFunc(l.Installs(), func(i lab.Install) bool { return known[i.Server] && known[i.Machine] }) {
		return observed
	}
	all, _ := e.Installing(ctx, l)
	return slices.DeleteFunc(observed, func(o provider.Observed) bool {
		return inside(o) && slices.ContainsFunc(all, func(i provider.Installation) bool { return i.Machine == o.Machine && i.AtWork(time.Now()) })
	})
}

// started are the machines that p makes, or starts over.
func started(d provider.Description, p plan.Plan) map[string]bool {
	out := map[string]bool{}
	for _, c := range p.Changes {
		k, _ := d.Kind(c.Addr.Kind)
		if k.Machine && c.Action.Puts() && (c.Action != plan.Update || c.Impact.Rank() >= provider.Reboot.Rank()) {
			out[c.Machine] = true
		}
	}
	return out
}

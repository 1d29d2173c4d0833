package providertest

import (
	"context"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

func (o Options) world(t *testing.T) (world, provider.Options) {
	t.Helper()
	options := o.fresh(t)
	return world{o, o.open(t, options), o.Lab}, options
}

// empty checks a world in which nothing was made.
func empty(t *testing.T, o Options) {
	w, options := o.world(t)
	for _, x := range w.observed(t) {
		if !x.Shared {
			t.Errorf("nothing is observed where nothing was made: %s", x.Addr)
		}
	}
	o.gone(t, options)
}

// life makes the lab, repeats every step, and deletes it.
func life(t *testing.T, o Options) {
	w, options := o.world(t)
	t.Cleanup(func() { w.clear(t) })
	want := w.desired(t)
	w.create(t, want...)
	w.law(t, "after creating everything", want)
	for range 2 {
		for _, r := range want {
			w.call(t, "repeating Create is no error", func(ctx context.Context) error { return w.p.Create(ctx, r, provider.Silent) })
		}
	}
	w.law(t, "after creating everything again", want)
	for _, c := range w.converge(t).updates {
		t.Errorf("the law: there is nothing to change: %s, %v", c.after.Addr, c.attrs)
	}

	stranger := world{o, o.open(t, options), o.Lab}
	stranger.law(t, "by another provider for the same world", want)
	other := w.l
	other.Name = "another"
	for _, x := range (world{o, w.p, other}).observed(t) {
		if !x.Shared {
			t.Errorf("Observe returns what is owned for the lab's name: %s for a lab that was never made", x.Addr)
		}
	}

	all := w.observed(t)
	bare := lab.Lab{Name: w.l.Name, Domain: w.l.Domain, Target: w.l.Target}
	owned := map[provider.Addr]bool{}
	for _, x := range (world{o, w.p, bare}).observed(t) {
		owned[x.Addr] = true
	}
	for _, x := range all {
		if !x.Shared && !owned[x.Addr] {
			t.Errorf("Observe returns also what is no longer in the spec: not %s", x.Addr)
		}
	}

	w.clear(t)
	o.gone(t, options)
	w.remove(t, all...) // absent already is success
	o.gone(t, options)
}

// strangers checks names that do not exist.
func strangers(t *testing.T, o Options) {
	w, options := o.world(t)
	want := w.desired(t)
	for _, r := range want {
		gone := provider.Observed{Addr: r.Addr, Lab: r.Lab, Attrs: r.Attrs, Needs: r.Needs, Machine: r.Machine}
		w.call(t, "Delete of what is absent is success", func(ctx context.Context) error { return w.p.Delete(ctx, gone, provider.Silent) })
	}
	o.gone(t, options)
	for _, r := range want {
		if k, _ := o.Plugin.Description.Kind(r.Addr.Kind); !k.Machine {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), o.Deadline)
		err := w.p.Update(ctx, provider.Observed{Addr: r.Addr, Lab: r.Lab, Attrs: r.Attrs, Machine: r.Machine}, r, provider.Silent)
		cancel()
		if provider.CodeOf(err) != provider.NotFound {
			t.Errorf("Update of a machine that is absent is not-found: %s: %v", r.Addr, err)
		}
	}
}

// canceled checks that every call gives up when its context has ended.
func canceled(t *testing.T, o Options) {
	w, _ := o.world(t)
	t.Cleanup(func() { w.clear(t) })
	want := w.desired(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	calls := map[string]func() error{
		"Observe": func() error { _, err := w.p.Observe(ctx, w.l); return err },
	}
	for _, r := range want {
		calls["Create of "+r.Addr.String()] = func() error { return w.p.Create(ctx, r, provider.Silent) }
	}
	for name, f := range calls {
		begin := time.Now()
		err := f()
		if provider.CodeOf(err) != provider.Canceled {
			t.Errorf("a canceled call says so: %s: %v", name, err)
		}
		if took := time.Since(begin); took > soon {
			t.Errorf("a canceled call returns soon: %s took %v", name, took)
		}
	}
}

// interrupted leaves off in the middle of creating and of deleting, as if killed there, and goes on with a new provider.
func interrupted(t *testing.T, o Options) {
	w, options := o.world(t)
	t.Cleanup(func() { w.clear(t) })
	want := w.desired(t)
	points := []int{len(want) / 2}
	if !o.Slow {
		points = points[:0]
		for i := 1; i < len(want); i++ {
			points = append(points, i)
		}
	}
	for _, n := range points {
		w.create(t, want[:n]...)
		w.p = o.open(t, options)
		w.law(t, "after an interrupted creation", want[:n])
		w.createAtOnce(t, want)
		w.law(t, "after an interrupted creation was completed", want)

		w.p = o.open(t, options)
		left := w.observed(t)
		doomed := map[provider.Addr]bool{}
		for _, r := range want[n:] {
			doomed[r.Addr] = true
		}
		var some []provider.Observed
		for _, x := range left {
			if doomed[x.Addr] {
				some = append(some, x)
			}
		}
		w.remove(t, some...)
		w.p = o.open(t, options)
		w.converge(t)
		w.law(t, "after an interrupted deletion was taken back", want)
		w.clear(t)
		o.gone(t, options)
	}
}

package providertest

import (
	"context"
	"sort"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// world is a provider at work on a lab.
type world struct {
	o Options
	p provider.Provider
	l lab.Lab
}

// call runs f with the deadline of a call.
func (w world) call(t *testing.T, what string, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), w.o.Deadline)
	defer cancel()
	if err := f(ctx); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// desired is what Expand says, in creation order, each with the seed that the engine would give it.
func (w world) desired(t *testing.T) []provider.Resource {
	t.Helper()
	seeds := w.o.seeds(w.l)
	rs, err := w.p.Expand(w.l, seeds)
	if err != nil {
		t.Fatalf("Expand knows this lab: %v", err)
	}
	d := w.o.Plugin.Description
	sort.SliceStable(rs, func(i, j int) bool { return d.Rank(rs[i].Addr.Kind) < d.Rank(rs[j].Addr.Kind) })
	for i := range rs {
		if k, _ := d.Kind(rs[i].Addr.Kind); k.Seeded {
			s := seeds[rs[i].Machine]
			rs[i].Seed = &s
		}
	}
	return rs
}

// observed is what Observe says.
func (w world) observed(t *testing.T) []provider.Observed {
	t.Helper()
	var found []provider.Observed
	w.call(t, "Observe answers", func(ctx context.Context) (err error) {
		found, err = w.p.Observe(ctx, w.l)
		return err
	})
	if !sort.SliceIsSorted(found, func(i, j int) bool { return found[i].Addr.Compare(found[j].Addr) < 0 }) {
		t.Errorf("what is observed is sorted by address: %v", addrs(found))
	}
	for _, o := range found {
		normal(t, o.Addr, o.Attrs)
	}
	return found
}

// create makes resources, one after the other.
func (w world) create(t *testing.T, rs ...provider.Resource) {
	t.Helper()
	for _, r := range rs {
		w.call(t, "Create makes what is missing", func(ctx context.Context) error { return w.p.Create(ctx, r, provider.Silent) })
	}
}

// createAtOnce makes resources, those of one kind at the same time: they do not need each other.
func (w world) createAtOnce(t *testing.T, rs []provider.Resource) {
	t.Helper()
	for len(rs) > 0 {
		n := 1
		for n < len(rs) && rs[n].Addr.Kind == rs[0].Addr.Kind {
			n++
		}
		errs := make([]error, n)
		var wg sync.WaitGroup
		for i, r := range rs[:n] {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), w.o.Deadline)
				defer cancel()
				errs[i] = w.p.Create(ctx, r, provider.Silent)
			})
		}
		wg.Wait()
		for _, err := range errs {
			if err != nil {
				t.Fatalf("Create is safe at the same time for things that do not need each other: %v", err)
			}
		}
		rs = rs[n:]
	}
}

// remove deletes things, last of creation first; what is shared stays.
func (w world) remove(t *testing.T, found ...provider.Observed) {
	t.Helper()
	d := w.o.Plugin.Description
	sort.SliceStable(found, func(i, j int) bool { return d.Rank(found[i].Addr.Kind) > d.Rank(found[j].Addr.Kind) })
	for _, o := range found {
		if !o.Shared {
			w.call(t, "Delete removes what exists", func(ctx context.Context) error { return w.p.Delete(ctx, o, provider.Silent) })
		}
	}
}

// clear deletes everything and checks that.
func (w world) clear(t *testing.T) {
	t.Helper()
	w.remove(t, w.observed(t)...)
	for _, o := range w.observed(t) {
		if !o.Shared {
			t.Errorf("a thing is gone when Delete returns: %s is observed", o.Addr)
		}
	}
}

// law checks that what is observed is what is desired, no more and no less.
func (w world) law(t *testing.T, when string, want []provider.Resource) {
	t.Helper()
	type fact struct {
		Lab     string
		Attrs   provider.Attrs
		Machine string
	}
	desired, observed := map[string]fact{}, map[string]fact{}
	for _, r := range want {
		desired[r.Addr.String()] = fact{r.Lab, r.Attrs, r.Machine}
	}
	for _, o := range w.observed(t) {
		if _, ok := desired[o.Addr.String()]; ok || !o.Shared {
			observed[o.Addr.String()] = fact{o.Lab, o.Attrs, o.Machine}
		}
	}
	if d := cmp.Diff(desired, observed); d != "" {
		t.Errorf("the law: %s, observe again and there is nothing to do (-desired +observed):\n%s", when, d)
	}
}

func addrs(os []provider.Observed) []string {
	var s []string
	for _, o := range os {
		s = append(s, o.Addr.String())
	}
	return s
}

// soon is how long a call may take to notice that it is canceled.
const soon = 10 * time.Second

package apply

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"testing"

	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/provider"
)

// layers is a hypervisor whose kinds need those before them.
func layers() provider.Description {
	attrs := map[string]provider.Attr{
		"live": {Impact: provider.Live}, "reboot": {Impact: provider.Reboot}, "replace": {Impact: provider.Replace},
		"size": {Impact: provider.Live, Lower: provider.Reinstall}, "holds": {Impact: provider.Live}}
	return provider.Description{Name: "toy", Kinds: []provider.Kind{
		{Name: "a", Attrs: attrs}, {Name: "b", Attrs: attrs, Data: true}, {Name: "c", Attrs: attrs, Machine: true, RemadeWith: []string{"b"}},
		{Name: "d", Attrs: attrs, RemadeWith: []string{"c", "a"}},
	}}
}

// random is a small world of few names, so that two of them have much in common.
func random(r *rand.Rand) []provider.Resource {
	var rs []provider.Resource
	for _, kind := range []string{"a", "b", "c", "d"} {
		for i := range 4 {
			if r.Intn(3) == 0 {
				continue
			}
			x := provider.Resource{Addr: at(fmt.Sprintf("%s/%d", kind, i)), Machine: fmt.Sprint(i), Attrs: provider.Attrs{}}
			for _, attr := range []string{"live", "reboot", "replace", "size"} {
				if v := r.Intn(4); v > 1 {
					x.Attrs[attr] = float64(v)
				}
			}
			for _, n := range rs {
				if n.Addr.Kind != kind && r.Intn(4) == 0 {
					x.Needs = append(x.Needs, n.Addr)
				}
			}
			x.Attrs["holds"] = fmt.Sprint(x.Needs) // as a machine's attributes name its networks
			rs = append(rs, x)
		}
	}
	return rs
}

// TestConverges makes random worlds into random others: the plan keeps all rules of order while it is executed, and
// afterwards there is nothing to do; also when it was torn off anywhere and another plan finished the work.
func TestConverges(t *testing.T) {
	const worlds = 400
	dropped := 0
	for seed := range int64(worlds) {
		r := rand.New(rand.NewSource(seed))
		from, to := random(r), random(r)
		w := newToy()
		for _, x := range from {
			w.things[x.Addr] = provider.Observed{Addr: x.Addr, Attrs: x.Attrs, Needs: x.Needs, Machine: x.Machine}
		}
		if seed%2 == 1 {
			left := r.Intn(10)
			w.before = func(context.Context, string, provider.Progress) error {
				if left--; left < 0 {
					return errors.New("torn off")
				}
				return nil
			}
			if _, err := Run(context.Background(), w, planTo(t, w, to), Options{Parallel: 1}); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			w.before, w.wrong = nil, nil
		}
		p := planTo(t, w, to)
		rep, err := Run(context.Background(), w, p, Options{Parallel: 1 + int(seed%4)})
		if err != nil || rep.Err() != nil {
			t.Fatalf("seed %d: %v %v", seed, err, rep.Err())
		}
		if s, err := schedule(p); err != nil || s.dropped > 0 {
			dropped++
		} else if len(w.wrong) > 0 {
			t.Fatalf("seed %d: %v", seed, w.wrong)
		}
		if p := planTo(t, w, to); !p.Empty() {
			t.Fatalf("seed %d: still to do: %+v", seed, p.Changes)
		}
	}
	if dropped > worlds/10 {
		t.Errorf("in %d of %d worlds a thing was deleted while something held on to it", dropped, worlds)
	}
}

func planTo(t *testing.T, w *toy, to []provider.Resource) plan.Plan {
	t.Helper()
	p, err := plan.Compute(plan.Input{Description: layers(), Desired: to, Observed: w.observed()})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

package providertest

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/labctl-dev/labctl/provider"
)

// change is what has to happen to a resource that exists.
type change struct {
	before provider.Observed
	after  provider.Resource
	impact provider.Impact
	attrs  []string
}

// work is what converge does.
type work struct {
	updates  []change
	remade   map[provider.Addr]bool
	machines map[string]bool // lab machines that were made or made again
	early    []provider.Observed
	late     []provider.Observed // deleted when those who held on to them have let go
}

// converge brings the lab about from whatever there is.
func (w world) converge(t *testing.T) work {
	t.Helper()
	want := w.desired(t)
	have := map[provider.Addr]provider.Observed{}
	for _, o := range w.observed(t) {
		have[o.Addr] = o
	}
	job := w.plan(want, have)
	w.remove(t, job.early...)
	for _, r := range want {
		o, ok := have[r.Addr]
		if !ok || job.remade[r.Addr] {
			w.create(t, r)
			continue
		}
		for _, c := range job.updates {
			if c.after.Addr == r.Addr {
				w.call(t, "Update changes in place whatever costs less than a reinstall", func(ctx context.Context) error {
					return w.p.Update(ctx, o, r, provider.Silent)
				})
			}
		}
	}
	w.remove(t, job.late...)
	return job
}

// plan says what to do, by the description alone. want is in creation order.
func (w world) plan(want []provider.Resource, have map[provider.Addr]provider.Observed) work {
	d := w.o.Plugin.Description
	job := work{remade: map[provider.Addr]bool{}, machines: map[string]bool{}}
	wanted := map[provider.Addr]bool{}
	for _, r := range want {
		wanted[r.Addr] = true
		k, _ := d.Kind(r.Addr.Kind)
		o, ok := have[r.Addr]
		c := change{}
		if ok {
			c = compare(k, o, r)
			job.remade[r.Addr] = c.impact.Rank() >= provider.Reinstall.Rank() || remakes(k, r, job.remade)
		}
		switch {
		case job.remade[r.Addr]:
			job.early = append(job.early, o)
		case ok && c.impact != provider.None:
			job.updates = append(job.updates, c)
		}
		if k.Machine && (!ok || job.remade[r.Addr]) {
			job.machines[r.Machine] = true
		}
	}
	for a, o := range have {
		switch {
		case wanted[a]:
		case holdsRemade(o, have, job.remade):
			job.early = append(job.early, o)
		default:
			job.late = append(job.late, o)
		}
	}
	return job
}

// cost is the highest impact that a machine was told of, and of what.
func (j work) cost(machine string) (provider.Impact, string) {
	impact, why := provider.None, []string{}
	for _, c := range j.updates {
		if c.after.Machine == machine {
			why = append(why, fmt.Sprintf("a change of %s", strings.Join(c.attrs, ", ")))
			if c.impact.Rank() > impact.Rank() {
				impact = c.impact
			}
		}
	}
	return impact, strings.Join(why, " and ")
}

// compare says what changing o into r costs.
func compare(k provider.Kind, o provider.Observed, r provider.Resource) change {
	c := change{before: o, after: r}
	for name, a := range k.Attrs {
		before, after := o.Attrs[name], r.Attrs[name]
		if reflect.DeepEqual(before, after) {
			continue
		}
		if impact := a.Cost(before, after); impact.Rank() > c.impact.Rank() {
			c.impact = impact
		}
		c.attrs = append(c.attrs, k.Name+"."+name)
	}
	return c
}

// remakes says whether r is remade because something it needs is.
func remakes(k provider.Kind, r provider.Resource, remade map[provider.Addr]bool) bool {
	for _, n := range r.Needs {
		for _, kind := range k.RemadeWith {
			if n.Kind == kind && remade[n] {
				return true
			}
		}
	}
	return false
}

// holdsRemade says whether o holds on to something that is deleted to be made again.
func holdsRemade(o provider.Observed, have map[provider.Addr]provider.Observed, remade map[provider.Addr]bool) bool {
	for _, n := range o.Needs {
		if remade[n] || n != o.Addr && holdsRemade(have[n], have, remade) {
			return true
		}
	}
	return false
}

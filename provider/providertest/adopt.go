package providertest

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// adoptedAttr is the attribute that names on the host what is adopted, of kinds that can be.
const adoptedAttr = "adopted"

// adopts checks that what others made is taken into a lab as it is, managed, and given back.
func adopts(t *testing.T, o Options) {
	if o.Foreign == nil {
		if o.Plugin.Description.Has(provider.Adopts) {
			t.Error("a provider that adopts is judged with Options.Foreign")
		}
		return
	}
	w, options := o.world(t)
	o.Foreign(t, options)
	w.l = lab.Lab{Name: o.Lab.Name, Domain: o.Lab.Domain, Target: o.Lab.Target}
	before := w.adoptable(t)
	for _, c := range before {
		if c.Refused != "" {
			t.Fatalf("%s should be there to be adopted: %s", c.Host(), c.Refused)
		}
	}
	w.l = takeIn(w.l, before)
	want := w.desired(t)
	for _, r := range want {
		if !r.Adopted {
			t.Errorf("what is adopted is expanded as such: not %s", r.Addr)
		}
	}
	w.create(t, want...)
	w.create(t, want...) // repeating it is no error
	w.law(t, "after it was adopted as it is", want)
	for _, x := range w.observed(t) {
		if !x.Adopted && !x.Shared { // storage may be left by a lab before
			t.Errorf("what is adopted is observed as such: not %s", x.Addr)
		}
	}
	if left := w.adoptable(t); len(left) > 0 {
		t.Errorf("what is adopted is nobody else's to adopt: %d are listed", len(left))
	}
	w.othersAdopt(t, before)
	w.manages(t)
	w.clear(t)
	if diff := cmp.Diff(hosts(before), hosts(w.adoptable(t))); diff != "" {
		t.Errorf("Delete gives back what was adopted (-before +after):\n%s", diff)
	}
}

func (w world) adoptable(t *testing.T) []provider.Candidate {
	t.Helper()
	var all []provider.Candidate
	w.call(t, "Adoptable lists what is nobody's", func(ctx context.Context) (err error) {
		all, err = w.p.(provider.Adopter).Adoptable(ctx, w.l)
		return err
	})
	return all
}

func hosts(all []provider.Candidate) []string {
	var out []string
	for _, c := range all {
		out = append(out, c.Host())
	}
	return out
}

// takeIn is l with everything adopted; names on the host must be labels here.
func takeIn(l lab.Lab, all []provider.Candidate) lab.Lab {
	wires := map[string]bool{}
	for _, c := range all {
		if c.Network != nil {
			l.Networks, wires[c.Host()] = append(l.Networks, *c.Network), true
			continue
		}
		m := *c.Machine
		m.NICs = nil
		for i, n := range c.Machine.NICs {
			if n.Network = c.On[i]; wires[n.Network] {
				m.NICs = append(m.NICs, n)
			}
		}
		l.Machines = append(l.Machines, m)
	}
	return lab.Complete(l)
}

// othersAdopt checks that no other lab can adopt the same.
func (w world) othersAdopt(t *testing.T, all []provider.Candidate) {
	t.Helper()
	w.l = takeIn(lab.Lab{Name: w.l.Name + "-other", Domain: w.l.Domain, Target: w.l.Target}, all)
	ctx, cancel := context.WithTimeout(context.Background(), w.o.Deadline)
	defer cancel()
	for _, r := range w.desired(t) {
		if err := w.p.Create(ctx, r, provider.Silent); provider.CodeOf(err) != provider.Foreign {
			t.Errorf("what one lab has adopted another cannot: %s gets foreign: %v", r.Addr, err)
		}
	}
	for _, x := range w.observed(t) {
		if !x.Shared {
			t.Errorf("a lab that could not adopt owns nothing: %s", x.Addr)
		}
	}
}

// manages checks that memory and CPUs of adopted machines follow the lab.
func (w world) manages(t *testing.T) {
	t.Helper()
	for i := range w.l.Machines {
		w.l.Machines[i].Memory += 64 * lab.MiB
		w.l.Machines[i].CPUs++
		w.l.Machines[i].Protect = true
	}
	want := w.desired(t)
	w.converge(t)
	w.law(t, "after a change of what was adopted", want)
}

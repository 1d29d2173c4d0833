package providertest

import (
	"context"
	"slices"
	"testing"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// measured checks the measurement of a host: before the lab is made, with its machines running, and after it is gone.
func (w world) measured(t *testing.T) {
	m := w.p.(provider.Measurer) // that it is one was checked
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := m.Capacity(ctx, w.l); provider.CodeOf(err) != provider.Canceled {
		t.Errorf("a canceled call says so: Capacity: %v", err)
	}
	before := w.capacity(t, m)
	if len(w.uses(before)) > 0 {
		t.Errorf("what does not run takes nothing from its host: %+v", w.uses(before))
	}
	if before.CPUs <= 0 || before.Memory == 0 {
		t.Errorf("a host that is measured has processors and memory: %d, %s", before.CPUs, before.Memory)
	}
	w.converge(t)
	uses := w.uses(w.capacity(t, m))
	for _, x := range w.l.Machines {
		i := slices.IndexFunc(uses, func(u provider.Use) bool { return u.Machine == x.Name })
		switch {
		case x.Power != lab.On && i >= 0:
			t.Errorf("what does not run takes nothing from its host: %+v", uses[i])
		case x.Power != lab.On:
		case i < 0:
			t.Errorf("a machine that runs is among those that take from their host: %s is not in %+v", x.Name, uses)
		case uses[i].CPUs != x.CPUs || uses[i].Memory != x.Memory:
			t.Errorf("a machine takes from its host what the lab gives it, %d processors and %s: %+v", x.CPUs, x.Memory, uses[i])
		case uses[i].Name == "":
			t.Errorf("what takes from a host has a name: %+v", uses[i])
		}
	}
	w.remove(t, w.observed(t)...)
	if after := w.uses(w.capacity(t, m)); len(after) > 0 {
		t.Errorf("what is gone takes nothing from its host: %+v", after)
	}
}

// capacity measures, and checks what holds of every measurement.
func (w world) capacity(t *testing.T, m provider.Measurer) provider.Capacity {
	t.Helper()
	var c provider.Capacity
	w.call(t, "Capacity answers", func(ctx context.Context) (err error) {
		c, err = m.Capacity(ctx, w.l)
		return err
	})
	if c.Free > c.Memory {
		t.Errorf("no more memory is free than there is: %s of %s", c.Free, c.Memory)
	}
	for _, s := range c.Stores {
		if s.Path == "" || s.Device == "" || s.Size > 0 && s.Free > s.Size {
			t.Errorf("a store has a path and a device, and no more is free than there is: %+v", s)
		}
	}
	return c
}

// uses are those of the world's lab.
func (w world) uses(c provider.Capacity) []provider.Use {
	var own []provider.Use
	for _, u := range c.Uses {
		if u.Lab == w.l.Name && u.Target == w.l.Target {
			own = append(own, u)
		}
	}
	return own
}

package engine

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// worker makes single changes for apply: it joins the provider, which owns the outside of machines, with the
// guests' inside.
type worker struct {
	e        Engine
	lab      lab.Lab
	machines map[string]lab.Machine // of the lab, by name
	fresh    map[string]bool        // machines that start over in this run
	o        ApplyOptions
}

func newWorker(e Engine, l lab.Lab, p plan.Plan, o ApplyOptions) worker {
	if o.Look <= 0 {
		o.Look = installLook
	}
	if o.Silence <= 0 {
		o.Silence = installSilence
	}
	w := worker{e, l, map[string]lab.Machine{}, started(e.Description, p), o}
	for _, m := range l.Machines {
		w.machines[m.Name] = m
	}
	return w
}

// Put creates or updates, and returns when what was touched is healthy again.
func (w worker) Put(ctx context.Context, c plan.Change, p provider.Progress) error {
	kind, _ := w.e.Description.Kind(c.Addr.Kind)
	r := *c.After
	if (kind.Seeded || kind.Guest) && !r.Adopted {
		s, err := w.seed(c.Machine)
		if err != nil {
			return err
		}
		if kind.Seeded {
			r.Seed = &s
		}
		if kind.Guest {
			if err := w.doubt(ctx, kind, c, p); err != nil {
				return err
			}
			if err := w.converge(ctx, c, s, p); err != nil {
				return err
			}
		}
	}
	if c.Action == plan.Update {
		if err := w.e.Provider.Update(ctx, *c.Before, r, p); err != nil {
			return err
		}
		return w.wait(ctx, kind, c, p)
	}
	return w.e.Provider.Create(ctx, r, p)
}

// changing stands in place of the digest of a machine whose inside is being changed.
const changing = "half changed"

// doubt has the provider record that a machine's inside is being changed: where that ends halfway, neither the older file nor
// the newer one says what is there, and a plan of either has it converge.
func (w worker) doubt(ctx context.Context, k provider.Kind, c plan.Change, p provider.Progress) error {
	if _, ok := k.Attrs["digest"]; !ok || c.Action != plan.Update || w.e.Guests == nil || c.Before.Attrs["digest"] == changing {
		return nil
	}
	r := *c.After
	r.Attrs = maps.Clone(c.Before.Attrs)
	r.Attrs["digest"] = changing
	return w.e.Provider.Update(ctx, *c.Before, r, p)
}

// Remove deletes.
func (w worker) Remove(ctx context.Context, c plan.Change, p provider.Progress) error {
	return w.e.Provider.Delete(ctx, *c.Before, p)
}

// Deadline is the machine's own where a guest is waited for.
func (w worker) Deadline(c plan.Change) time.Duration {
	kind, _ := w.e.Description.Kind(c.Addr.Kind)
	if m, ok := w.machines[c.Machine]; ok && (kind.Machine || kind.Guest) {
		return w.o.Timeout + time.Duration(m.Ready)
	}
	return w.o.Timeout
}

func (w worker) seed(machine string) (lab.Seed, error) {
	if w.o.Seed == nil {
		return lab.Seed{}, errors.New("labctl has no seed for machine " + machine)
	}
	return w.o.Seed(machine)
}

func (w worker) converge(ctx context.Context, c plan.Change, s lab.Seed, p provider.Progress) error {
	m, ok := w.machines[c.Machine]
	if !ok || w.e.Guests == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(m.Ready))
	defer cancel()
	converge := func(ctx context.Context, p provider.Progress) error { return w.e.Guests.Converge(ctx, m, s, p) }
	if m.Networked() && w.e.Installing != nil && c.Action != plan.Update { // one that was converged before was installed
		return w.whileInstalling(ctx, m, p, converge)
	}
	return w.leave(m, converge(ctx, p), p)
}

// leave lets the inside of a machine be that this target has no way into, as that of a provider without the ability: only
// servers for tests are such. A machine without an interface is an error all the same.
func (w worker) leave(m lab.Machine, err error, p provider.Progress) error {
	if provider.CodeOf(err) != provider.Unsupported || len(m.NICs) == 0 {
		return err
	}
	p(provider.Step{Phase: "left alone", Note: "what is inside was left alone: " + err.Error()})
	return nil
}

// wait holds what needs a machine back until the machine has come up again, or goes on where it stood still.
func (w worker) wait(ctx context.Context, k provider.Kind, c plan.Change, p provider.Progress) error {
	m, ok := w.machines[c.Machine]
	was, _ := c.Before.Attrs["power"].(string)
	power, _ := c.After.Attrs["power"].(string)
	if !ok || !m.Ours() || w.e.Guests == nil || !k.Machine || c.Impact.Rank() < provider.Reboot.Rank() && was == power || !lab.Power(power).Answers() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(m.Ready))
	defer cancel()
	return w.leave(m, w.e.Guests.Wait(ctx, m, p), p)
}

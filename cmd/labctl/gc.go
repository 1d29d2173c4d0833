package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/engine"
	"github.com/labctl-dev/labctl/engine/apply"
	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

func (c *cli) gcCommand() *cobra.Command {
	var f labFlags
	var rf runFlags
	var yes bool
	cmd := &cobra.Command{
		Use:   "gc [LAB]",
		Short: "Remove what labs have left whose time was up",
		Long: `Where a target says ttl: "8h" its machines end by themselves after that time; their networks, addresses and disks
stay, and some of them cost money. Look in the place that the lab's target names for all labs that ended so, whoever made
them and from whichever file, list what is left of them, ask, and remove it, the way 'labctl destroy' does.

A lab with a machine that may still run is left alone, and so is one with something protected: 'labctl destroy' with
--allow removes that.`,
		Args: between(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := rf.check(cmd); err != nil {
				return err
			}
			if err := f.one(args); err != nil {
				return err
			}
			return c.gc(cmd.Context(), f, rf, yes)
		},
	}
	f.add(cmd)
	rf.add(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// expired is a lab whose time was up, on its way.
type expired struct {
	provider.Remnant
	Things []provider.Addr `json:"things"`
	Kept   string          `json:"kept,omitempty"` // why it is left alone
	Report *apply.Report   `json:"report,omitempty"`

	road *road
}

func (c *cli) gc(ctx context.Context, f labFlags, rf runFlags, yes bool) error {
	r, err := c.open(ctx, f)
	if err != nil {
		return err
	}
	defer r.close()
	all, err := r.expired(ctx)
	if err != nil {
		return err
	}
	if !c.json() {
		if err := tellExpired(c.out, all); err != nil {
			return err
		}
	}
	n := 0
	for _, x := range all {
		if x.Kept == "" {
			n++
		}
	}
	if n == 0 {
		return c.show(all, func(io.Writer, view.Options) error { return nil })
	}
	if err := c.confirm(yes, fmt.Sprintf("Remove what is left of %d of them?", n)); err != nil {
		return err
	}
	var failed error
	for i := range all {
		if all[i].Kept == "" && failed == nil {
			failed = all[i].remove(ctx, rf)
		}
	}
	if err := c.show(all, func(w io.Writer, o view.Options) error { return tellRemoved(w, all, o) }); err != nil {
		return err
	}
	return failed
}

// expired finds the labs whose time was up, and plans the end of each.
func (r *road) expired(ctx context.Context) ([]expired, error) {
	e, ok := r.engine.Provider.(provider.Expirer)
	if !ok || !r.engine.Description.Has(provider.Expires) {
		return nil, fmt.Errorf("no lab ends by itself on target %s: machines of the provider %s have no time to live", r.lab.Target, r.engine.Description.Name)
	}
	remnants, err := e.Expired(ctx, r.now)
	if err != nil {
		return nil, err
	}
	out := make([]expired, 0, len(remnants))
	for _, x := range remnants {
		other, err := r.of(x.Lab, x.Target)
		if err != nil {
			return nil, err
		}
		p, err := other.end(ctx)
		if err != nil {
			return nil, err
		}
		g := expired{Remnant: x, road: other}
		for _, change := range p.Changes {
			g.Things = append(g.Things, change.Addr)
		}
		var protected []string
		for _, change := range p.Refusals() {
			protected = append(protected, change.Addr.String())
		}
		if len(protected) > 0 {
			g.Kept = "protected: " + strings.Join(protected, ", ")
		}
		if !p.Empty() {
			out = append(out, g)
		}
	}
	return out, nil
}

// of is the road of another lab in the same place: its name and its target's are all that is known of it.
func (r *road) of(name, target string) (*road, error) {
	t, err := r.flags.choose(r.spec.Lab)
	if err != nil {
		return nil, err
	}
	t.Name = target
	p, err := provide(r.spec, r.plugin, r.home, t)
	if err != nil {
		return nil, err
	}
	return &road{
		cli: r.cli, flags: r.flags, spec: r.spec, lab: lab.Lab{Name: name, Target: target}, home: r.home, plugin: r.plugin,
		engine: engine.Engine{Description: r.engine.Description, Provider: p},
	}, nil
}

// end is the plan for an empty lab.
func (r *road) end(ctx context.Context) (plan.Plan, error) {
	return r.engine.Plan(ctx, r.lab, engine.PlanOptions{Destroy: true})
}

// remove takes away what is left. It is planned again under the lock, for the world may have moved while somebody read.
func (x *expired) remove(ctx context.Context, rf runFlags) error {
	l, err := x.road.lock(ctx, "gc", rf.wait)
	if err != nil {
		return err
	}
	defer l.Release()
	p, err := x.road.end(ctx)
	if err != nil {
		return err
	}
	report, err := x.road.execute(ctx, p, engine.PlanOptions{Destroy: true}, rf)
	if err != nil {
		return err
	}
	x.Report = &report
	if err := verdict(report); err != nil {
		return err
	}
	return x.road.forget(ctx, l, &destroyed{Lab: x.Lab, Target: x.Target})
}

// tellExpired lists what will be asked about.
func tellExpired(w io.Writer, all []expired) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "Nothing is left of labs whose time was up.")
		return err
	}
	for _, x := range all {
		line := fmt.Sprintf("lab %s on target %s ended %s:", x.Lab, x.Target, x.Ended.UTC().Format(time.RFC3339))
		if x.Kept != "" {
			line += " left alone, " + x.Kept
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
		for _, a := range x.Things {
			if _, err := fmt.Fprintln(w, "  "+a.String()); err != nil {
				return err
			}
		}
	}
	return nil
}

func tellRemoved(w io.Writer, all []expired, o view.Options) error {
	for _, x := range all {
		if x.Report == nil {
			continue
		}
		if err := view.Report(w, *x.Report, o); err != nil {
			return err
		}
	}
	return nil
}

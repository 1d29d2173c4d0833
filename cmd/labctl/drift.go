package main

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

func (c *cli) driftCommand() *cobra.Command {
	var f labFlags
	var pf planFlags
	var deep bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "drift [LAB]",
		Short: "Has the world moved?",
		Long: `Compare the lab with what exists; with --deep also look into each running machine. Nothing is changed.
Exit code: 0 nothing has moved, 2 something has, 1 an error.`,
		Args:        between(0, 1),
		Annotations: more(markdown, junit, sarif),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.one(args); err != nil {
				return err
			}
			if timeout <= 0 {
				return usage(cmd, "--timeout %s: more than nothing", timeout)
			}
			return c.drift(cmd.Context(), f, pf, deep, timeout)
		},
	}
	f.add(cmd)
	cmd.Flags().StringSliceVar(&pf.only, "only", nil, "only what has this `name` (machine, resource or address) and what it needs; repeatable")
	completeMachineFlags(cmd, "only")
	cmd.Flags().BoolVar(&deep, "deep", false, "also ask inside each running machine what differs")
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "how long --deep may take for one machine")
	return cmd
}

func (c *cli) drift(ctx context.Context, f labFlags, pf planFlags, deep bool, timeout time.Duration) error {
	r, err := c.openProven(ctx, f)
	if err != nil {
		return err
	}
	defer r.close()
	o, err := r.planOptions(ctx, pf)
	if err != nil {
		return err
	}
	p, err := r.engine.Plan(ctx, r.lab, o)
	if err != nil {
		return err
	}
	facts := view.DriftFacts{Plan: p}
	if deep {
		if facts.Inside, err = r.differences(ctx, timeout); err != nil {
			return err
		}
	}
	err = c.showAs(facts, func(w io.Writer, o view.Options) error { return view.Drift(w, p, facts.Inside, o) }, writers{
		markdown: func(w io.Writer) error { return view.DriftMarkdown(w, facts) },
		junit:    func(w io.Writer) error { return view.DriftJUnit(w, facts) },
		sarif:    func(w io.Writer) error { return view.DriftSARIF(w, provider.ThisProgram().String(), facts, r.where) },
	})
	if err != nil {
		return err
	}
	moved := !p.Empty()
	for _, ds := range facts.Inside {
		moved = moved || len(ds) > 0
	}
	if moved {
		return &exitError{2}
	}
	return nil
}

// where is the place in the lab's files of what a change is about: its machine or network, else the lab.
func (r *road) where(c plan.Change) view.Location {
	places := r.spec.Start()
	path := lab.Path("networks", c.Addr.Name)
	if m, ok := r.lab.Machine(c.Machine); ok {
		path = m.Path()
	}
	if at := r.spec.Pos(path); len(at) > 0 {
		places = at
	}
	return place(places).Location
}

// differences asks inside every machine of the lab that runs.
func (r *road) differences(ctx context.Context, timeout time.Duration) (map[string][]guest.Difference, error) {
	if r.engine.Guests == nil {
		return nil, r.cannot(provider.Dials)
	}
	running, err := r.running(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := r.keysIfAny()
	if err != nil {
		return nil, err
	}
	secrets, err := r.secrets(true)
	if err != nil {
		return nil, err
	}
	seeds, err := guest.Seeds(r.lab, keys, secrets)
	if err != nil {
		return nil, err
	}
	out := map[string][]guest.Difference{}
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(10)
	for _, m := range running {
		g.Go(func() error {
			ds := r.differencesIn(ctx, m, seeds[m.Name], timeout)
			mu.Lock()
			defer mu.Unlock()
			out[m.Name] = ds
			return nil
		})
	}
	_ = g.Wait() // what goes wrong is told as a difference
	return out, ctx.Err()
}

// differencesIn is what differs inside one machine. That it cannot be asked is a difference as well.
func (r *road) differencesIn(ctx context.Context, m lab.Machine, s lab.Seed, timeout time.Duration) []guest.Difference {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ds, err := r.engine.Guests.Check(ctx, m, s)
	if err != nil {
		ds = append(ds, guest.Difference{Item: "machine " + m.Name, What: err.Error()})
	}
	return ds
}

// running lists the machines of the lab that exist and are on, but for those that labctl has no way into.
func (r *road) running(ctx context.Context) ([]lab.Machine, error) {
	observed, err := r.engine.Observe(ctx, r.lab)
	if err != nil {
		return nil, err
	}
	var out []lab.Machine
	for _, o := range observed {
		k, _ := r.engine.Description.Kind(o.Addr.Kind)
		m, ok := r.lab.Machine(o.Machine)
		if ok && m.Ours() && k.Machine && power(o) == "on" {
			out = append(out, m)
		}
	}
	return out, nil
}

// power is the power state of an observed machine.
func power(o provider.Observed) string {
	if p, ok := o.Attrs["power"].(string); ok {
		return p
	}
	return "on"
}

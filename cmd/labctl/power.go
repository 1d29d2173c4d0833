package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/lab"
)

// startCommand and stopCommand are the plan with another power state and nothing else.
func (c *cli) startCommand() *cobra.Command {
	return c.powerCommand("start", lab.On, "Switch machines on, and wait until they are healthy")
}

func (c *cli) stopCommand() *cobra.Command {
	return c.powerCommand("stop", lab.Off, "Shut machines down; their disks stay")
}

func (c *cli) powerCommand(verb string, to lab.Power, short string) *cobra.Command {
	var f labFlags
	var rf runFlags
	cmd := &cobra.Command{
		Use:   verb + " [LAB] [MACHINE...]",
		Short: short,
		Long: short + `.
Without names all machines of the lab are meant. Nothing but power is changed; if the spec says otherwise, the next
apply follows the spec.`,
		Args: between(0, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := rf.check(cmd); err != nil {
				return err
			}
			names, err := f.first(args)
			if err != nil {
				return err
			}
			return c.power(cmd.Context(), f, rf, verb, to, names)
		},
	}
	f.add(cmd)
	rf.add(cmd)
	c.completeMachines(cmd, &f, true)
	return cmd
}

func (c *cli) power(ctx context.Context, f labFlags, rf runFlags, verb string, to lab.Power, names []string) error {
	r, err := c.open(ctx, f)
	if err != nil {
		return err
	}
	defer r.close()
	l, err := r.lock(ctx, verb, rf.wait)
	if err != nil {
		return err
	}
	defer l.Release()
	if names, err = r.existing(ctx, names); err != nil {
		return err
	}
	r.setPower(names, to)
	o, err := r.planOptions(planFlags{only: names})
	if err != nil {
		return err
	}
	o.Attr = "power"
	p, err := r.engine.Plan(ctx, r.lab, o)
	if err != nil {
		return err
	}
	report, err := r.execute(ctx, p, o, rf)
	if err != nil {
		return err
	}
	if err := c.show(report, func(w io.Writer, vo view.Options) error {
		if p.Empty() {
			_, err := fmt.Fprintf(w, "Nothing to do: %s already %s.\n", strings.Join(names, ", "), to)
			return err
		}
		return view.Report(w, report, vo)
	}); err != nil {
		return err
	}
	return verdict(report)
}

// existing returns the machines of the lab that exist, or an error if one of names does not.
func (r *road) existing(ctx context.Context, names []string) ([]string, error) {
	observed, err := r.engine.Observe(ctx, r.lab)
	if err != nil {
		return nil, err
	}
	there := map[string]bool{}
	for _, o := range observed {
		if k, _ := r.engine.Description.Kind(o.Addr.Kind); k.Machine {
			there[o.Machine] = true
		}
	}
	for _, n := range names {
		if _, err := r.machine(n); err != nil {
			return nil, err
		}
		if !there[n] {
			return nil, fmt.Errorf("machine %s of lab %s has not been made yet: apply does that", n, r.lab.Name)
		}
	}
	if len(names) > 0 {
		return names, nil
	}
	for _, m := range r.lab.Machines {
		if there[m.Name] {
			names = append(names, m.Name)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no machine of lab %s has been made yet: apply does that", r.lab.Name)
	}
	return names, nil
}

func (r *road) setPower(names []string, to lab.Power) {
	machines := append([]lab.Machine(nil), r.lab.Machines...)
	for i := range machines {
		if slices.Contains(names, machines[i].Name) {
			machines[i].Power = to
		}
	}
	r.lab.Machines = machines
}

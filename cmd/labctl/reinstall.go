package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/engine/plan"
)

func (c *cli) reinstallCommand() *cobra.Command {
	var f labFlags
	var rf runFlags
	var allow []string
	var yes bool
	cmd := &cobra.Command{
		Use:   "reinstall [LAB] MACHINE...",
		Short: "Make machines' root disks anew, and all that was on them",
		Long: `Plan that the root disks of these machines are made again from their images, show what that costs, ask, and make it so:
they come up as after their first apply, with their names, addresses and host keys. Machines that install themselves from
the network do so again. Data disks stay as they are.
What else differs of these machines, and of what they need, is made so too; nothing of the other machines is touched.
A protected machine has to be allowed by name (--allow).

Interrupted, 'labctl apply' goes on from there: as long as the old disk had not been deleted the machine comes up as it
was, and from then on with the new one.`,
		Args: between(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := rf.check(cmd); err != nil {
				return err
			}
			names, err := f.first(args)
			if err != nil {
				return err
			}
			if len(names) == 0 {
				return usage(cmd, "usage is '%s'", cmd.UseLine())
			}
			return c.reinstall(cmd.Context(), f, planFlags{only: names, allow: allow}, rf, yes)
		},
	}
	f.add(cmd)
	rf.add(cmd)
	cmd.Flags().StringSliceVar(&allow, "allow", nil, "also what is protected, or would lose more than its root disk, and has this `name`; repeatable")
	completeMachineFlags(cmd, "allow")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&rf.noTest, "no-test", false, "do not test what was changed")
	c.completeMachines(cmd, &f, true)
	return cmd
}

func (c *cli) reinstall(ctx context.Context, f labFlags, pf planFlags, rf runFlags, yes bool) error {
	r, err := c.openProven(ctx, f)
	if err != nil {
		return err
	}
	defer r.close()
	for _, n := range pf.only {
		if _, err := r.machine(n); err != nil {
			return err
		}
	}
	l, err := r.lock(ctx, "reinstall", rf.wait)
	if err != nil {
		return err
	}
	defer l.Release()
	o, err := r.planOptions(ctx, pf)
	if err != nil {
		return err
	}
	o.Reinstall, o.Measure = slices.Compact(slices.Sorted(slices.Values(pf.only))), true
	p, err := r.engine.Plan(ctx, r.lab, o)
	if err != nil {
		return err
	}
	if !r.json() {
		if err := view.Plan(r.out, p, screen(r.out)); err != nil {
			return err
		}
	}
	if len(p.Refusals()) == 0 { // else there is nothing to ask: it is not done
		if err := c.confirm(yes, lostBy(p, o.Reinstall)); err != nil {
			return err
		}
	}
	err = r.makePlan(ctx, p, o, rf)
	var failed *failedError
	if errors.As(err, &failed) {
		failed.again = "'labctl apply' goes on from here"
	}
	return err
}

// lostBy is what is asked before machines are reinstalled.
func lostBy(p plan.Plan, machines []string) string {
	var lost []string
	for _, c := range p.Changes {
		if c.DataLoss {
			lost = append(lost, c.Addr.String())
		}
	}
	if len(lost) == 0 {
		return fmt.Sprintf("Reinstall %s?", strings.Join(machines, ", "))
	}
	return fmt.Sprintf("Reinstall %s? What is on %s is lost.", strings.Join(machines, ", "), strings.Join(lost, ", "))
}

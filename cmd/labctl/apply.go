package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/engine"
	"github.com/labctl-dev/labctl/engine/apply"
	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/provider"
)

func (c *cli) applyCommand() *cobra.Command {
	var f labFlags
	var pf planFlags
	var rf runFlags
	cmd := &cobra.Command{
		Use:   "apply [LAB | PLAN]",
		Short: "Make the lab so, and wait until it is healthy",
		Long: `Plan, and make the plan true. Returns when every machine that was touched lets labctl in and is configured.

PLAN is a file that 'labctl plan --out' saved; it is refused if the lab or the world has moved since.
Ctrl-C once: start nothing new, finish what runs. Twice: abandon. Either way the next apply goes on from there.
With --deep what differs inside machines is mended, too: what drift --deep tells.
At the end what was changed is tested, as 'labctl test' does it: its checks, and what was proven of it.
What would reinstall, replace or delete something protected is refused unless told by name (--allow).`,
		Args: between(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := rf.check(cmd); err != nil {
				return err
			}
			if err := f.one(args); err != nil {
				return err
			}
			saved, err := readSaved(f.path)
			if err != nil {
				return err
			}
			if saved != nil {
				if len(f.tags)+len(f.target)+len(pf.only)+len(pf.allow) > 0 || pf.deep {
					return usage(cmd, "a saved plan knows its -D, -t, --only, --allow and --deep")
				}
				from := f.path
				f = labFlags{path: saved.Spec, tags: saved.Tags, target: saved.Target}
				pf = planFlags{only: saved.Only, allow: saved.Allow, deep: saved.Deep}
				return c.apply(cmd.Context(), f, pf, rf, func(now plan.Plan) error { return moved(from, saved.Plan, now) })
			}
			return c.apply(cmd.Context(), f, pf, rf, func(plan.Plan) error { return nil })
		},
	}
	f.add(cmd)
	pf.add(cmd)
	pf.addDeep(cmd)
	rf.add(cmd)
	cmd.Flags().BoolVar(&rf.noTest, "no-test", false, "do not test what was changed")
	return cmd
}

func moved(path string, saved, now plan.Plan) error {
	if why := plan.Moved(saved, now); why != "" {
		return fmt.Errorf("the plan in %s is not applied: %s; plan again", path, why)
	}
	return nil
}

// applied is the result of apply.
type applied struct {
	Plan   plan.Plan        `json:"plan"`
	Report apply.Report     `json:"report"`
	Status *view.LabStatus  `json:"status,omitempty"` // after a success
	Test   *view.TestResult `json:"test,omitempty"`   // of what was changed, where there was something to ask
}

// apply plans, lets accept refuse the plan, executes it, and shows all of it.
func (c *cli) apply(ctx context.Context, f labFlags, pf planFlags, rf runFlags, accept func(plan.Plan) error) error {
	r, err := c.openProven(ctx, f)
	if err != nil {
		return err
	}
	defer r.close()
	l, err := r.lock(ctx, "apply", rf.wait)
	if err != nil {
		return err
	}
	defer l.Release()
	p, o, err := r.plan(ctx, pf)
	if err != nil {
		return err
	}
	if err := accept(p); err != nil {
		return err
	}
	return r.applyPlan(ctx, p, o, rf)
}

func (r *road) applyPlan(ctx context.Context, p plan.Plan, o engine.PlanOptions, rf runFlags) error {
	if !r.json() {
		if err := view.Plan(r.out, p, screen(r.out)); err != nil {
			return err
		}
	}
	return r.makePlan(ctx, p, o, rf)
}

// makePlan executes a plan that has been shown, tests what it changed, and shows what became of it.
func (r *road) makePlan(ctx context.Context, p plan.Plan, o engine.PlanOptions, rf runFlags) error {
	report, err := r.execute(ctx, p, o, rf)
	if err != nil {
		return err
	}
	result := applied{Plan: p, Report: report}
	failed := verdict(report)
	var untested error
	if failed == nil {
		s, err := r.status(ctx, false)
		if err != nil {
			return err
		}
		vouch(report, r.engine.Description, s.Machines)
		result.Status = &s
		result.Test, untested = r.testApplied(ctx, report, rf)
	}
	if err := r.show(result, func(w io.Writer, vo view.Options) error { return r.tellApplied(w, vo, result) }); err != nil {
		return err
	}
	if untested != nil {
		return fmt.Errorf("lab %s was made as the plan says, but not tested: %w", r.lab.Name, untested)
	}
	if result.Test != nil && !result.Test.OK {
		return fmt.Errorf("lab %s was made as the plan says, but does not do what it should: %s", r.lab.Name, result.Test.Wrong())
	}
	return failed
}

// tellApplied says what became of the plan, and how to get in.
func (r *road) tellApplied(w io.Writer, vo view.Options, a applied) error {
	if !a.Plan.Empty() {
		if err := view.Report(w, a.Report, vo); err != nil {
			return err
		}
	}
	if a.Status == nil {
		return nil
	}
	if err := view.Status(w, *a.Status, vo); err != nil {
		return err
	}
	if a.Test != nil {
		fmt.Fprintln(w)
		if err := view.Test(w, *a.Test, vo); err != nil {
			return err
		}
	}
	m, ok := entrance(*a.Status)
	if !ok || r.engine.Guests == nil {
		return nil
	}
	_, err := fmt.Fprintf(w, "\nLog in: labctl ssh %s %s\n", r.flags.path, m)
	return err
}

// vouch marks the machines that the report has just found converged.
func vouch(report apply.Report, d provider.Description, machines []view.MachineStatus) {
	for _, x := range report.Results {
		k, _ := d.Kind(x.Addr.Kind)
		for i := range machines {
			if k.Guest && machines[i].Name == x.Machine && machines[i].Power == "on" {
				machines[i].Health = "healthy"
			}
		}
	}
}

// entrance is the running machine that a newcomer would log in to: the one with most addresses.
func entrance(s view.LabStatus) (string, bool) {
	best, most := "", -1
	for _, m := range s.Machines {
		if m.Power == "on" && m.Adopted == "" && m.External == "" && len(m.Addresses) > most {
			best, most = m.Name, len(m.Addresses)
		}
	}
	return best, most >= 0
}

package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/engine/apply"
	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// powerVerb is the plan with another power state, and nothing else.
type powerVerb struct {
	name  string
	to    lab.Power
	from  []lab.Power // the states that it changes; nil: whatever there is
	short string
	long  string // more than short says
}

func (c *cli) startCommand() *cobra.Command {
	return c.powerCommand(powerVerb{name: "start", to: lab.On, short: "Switch machines on, and wait until they are healthy",
		long: "A machine that is suspended or saved goes on where it was.\n"})
}

func (c *cli) stopCommand() *cobra.Command {
	return c.powerCommand(powerVerb{name: "stop", to: lab.Off, short: "Shut machines down; their disks stay",
		long: "A machine that is suspended or saved is woken first, so that it can shut down in order.\n"})
}

func (c *cli) suspendCommand() *cobra.Command {
	return c.powerCommand(powerVerb{name: "suspend", to: lab.Suspended, from: []lab.Power{lab.On}, short: "Hold machines still in memory; they use no processor time",
		long: "They keep their memory, and nothing survives a restart of their host; 'labctl save' does.\n"})
}

func (c *cli) resumeCommand() *cobra.Command {
	return c.powerCommand(powerVerb{name: "resume", to: lab.On, from: []lab.Power{lab.Suspended}, short: "Let suspended machines go on where they were",
		long: behind})
}

func (c *cli) saveCommand() *cobra.Command {
	return c.powerCommand(powerVerb{name: "save", to: lab.Saved, from: []lab.Power{lab.On, lab.Suspended}, short: "Write machines' memory to the disk and end them, to be restored later",
		long: "They use neither processor time nor memory meanwhile, and survive a restart of their host.\n"})
}

func (c *cli) restoreCommand() *cobra.Command {
	return c.powerCommand(powerVerb{name: "restore", to: lab.On, from: []lab.Power{lab.Saved}, short: "Bring saved machines back to where they were",
		long: behind})
}

// behind is what those should know who let machines go on.
const behind = `Their clocks are behind by the time that they stood still, until time service inside has set them; connections that
others had to them may be gone.
`

func (c *cli) powerCommand(v powerVerb) *cobra.Command {
	var f labFlags
	var rf runFlags
	order := "Routers come up before the machines behind them."
	if v.to != lab.On {
		order = "Routers go down after the machines behind them."
	}
	cmd := &cobra.Command{
		Use:   v.name + " [LAB] [MACHINE...]",
		Short: v.short,
		Long: v.short + ".\n" + v.long + `Without names all machines of the lab are meant` + v.except() + `. ` + order + `
Nothing but power is changed; if the spec says otherwise, the next apply follows the spec.`,
		Args: between(0, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := rf.check(cmd); err != nil {
				return err
			}
			names, err := f.first(args)
			if err != nil {
				return err
			}
			return c.power(cmd.Context(), f, rf, v, names)
		},
	}
	f.add(cmd)
	rf.add(cmd)
	c.completeMachines(cmd, &f, true)
	return cmd
}

// except says which machines a verb without names is about.
func (v powerVerb) except() string {
	if v.from == nil {
		return ""
	}
	var from []string
	for _, p := range v.from {
		from = append(from, string(p))
	}
	return " that are " + strings.Join(from, " or ")
}

func (c *cli) power(ctx context.Context, f labFlags, rf runFlags, v powerVerb, names []string) error {
	r, err := c.open(ctx, f)
	if err != nil {
		return err
	}
	defer r.close()
	if err := r.knowsPower(v.to); err != nil {
		return err
	}
	l, err := r.lock(ctx, v.name, rf.wait)
	if err != nil {
		return err
	}
	defer l.Release()
	names, others, err := r.meant(ctx, v, names)
	if err != nil {
		return err
	}
	r.setPower(names, v.to)
	p, report, err := r.runPower(ctx, names, v.to == lab.On, rf)
	if err != nil {
		return err
	}
	if err := c.show(report, func(w io.Writer, vo view.Options) error {
		if len(others) > 0 {
			fmt.Fprintf(w, "Left alone: %s.\n", strings.Join(others, ", "))
		}
		if p.Empty() {
			_, err := fmt.Fprintf(w, "Nothing to do: %s already %s.\n", strings.Join(names, ", "), v.to)
			return err
		}
		return view.Report(w, report, vo)
	}); err != nil {
		return err
	}
	return verdict(report)
}

// knowsPower is an error if the target's provider cannot bring machines into a state. That it knows on and off is part
// of the contract.
func (r *road) knowsPower(p lab.Power) error {
	if p == lab.On || p == lab.Off {
		return nil
	}
	for _, k := range r.engine.Description.Kinds {
		if k.Machine && slices.Contains(k.Attrs["power"].Alike, string(p)) {
			return nil
		}
	}
	return &provider.Error{Code: provider.Unsupported, Text: fmt.Sprintf("target %s: provider %s knows no machine that is %s", r.lab.Target, r.engine.Description.Name, p)}
}

// meant are the machines that a verb is to change or that are as it wants them already, and those of a whole lab that
// it has no business with, each with its state. A machine that was named and cannot be changed is an error.
func (r *road) meant(ctx context.Context, v powerVerb, names []string) (meant, others []string, err error) {
	state, err := r.powers(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, n := range names {
		if _, err := r.machine(n); err != nil {
			return nil, nil, err
		}
		if state[n] == "" {
			return nil, nil, fmt.Errorf("machine %s of lab %s has not been made yet: apply does that", n, r.lab.Name)
		}
	}
	all := names
	for _, m := range r.lab.Machines {
		if len(names) == 0 && state[m.Name] != "" {
			all = append(all, m.Name)
		}
	}
	if len(all) == 0 {
		return nil, nil, fmt.Errorf("no machine of lab %s has been made yet: apply does that", r.lab.Name)
	}
	var refused error
	for _, n := range all {
		s := state[n]
		if v.from == nil || s == v.to || slices.Contains(v.from, s) {
			meant = append(meant, n)
			continue
		}
		if refused == nil {
			refused = v.refusal(n, s)
		}
		others = append(others, fmt.Sprintf("%s (%s)", n, s))
	}
	if refused != nil && (len(names) > 0 || len(meant) == 0) {
		return nil, nil, refused
	}
	return meant, others, nil
}

// refusal says why a machine in a state is not for the verb, and which one is.
func (v powerVerb) refusal(name string, is lab.Power) error {
	other := map[lab.Power]string{
		lab.Suspended: "'labctl resume' lets it go on", lab.Saved: "'labctl restore' brings it back", lab.Off: "'labctl start' switches it on",
	}[is]
	if other == "" {
		other = "'labctl plan' tells what apply would do about it"
	}
	return fmt.Errorf("cannot %s machine %s, which is %s: %s", v.name, name, is, other)
}

// powers are the states of the lab's machines that exist.
func (r *road) powers(ctx context.Context) (map[string]lab.Power, error) {
	observed, err := r.engine.Observe(ctx, r.lab)
	if err != nil {
		return nil, err
	}
	state := map[string]lab.Power{}
	for _, o := range observed {
		if k, _ := r.engine.Description.Kind(o.Addr.Kind); k.Machine {
			state[o.Machine] = lab.Power(power(o))
		}
	}
	return state, nil
}

// runPower plans the power of the machines and nothing else, and makes it so. on says that they start, for which their
// host must have room.
func (r *road) runPower(ctx context.Context, names []string, on bool, rf runFlags) (plan.Plan, apply.Report, error) {
	o, err := r.planOptions(ctx, planFlags{only: names})
	if err != nil {
		return plan.Plan{}, apply.Report{}, err
	}
	o.Attr, o.Measure = "power", on
	p, err := r.engine.Plan(ctx, r.lab, o)
	if err != nil {
		return plan.Plan{}, apply.Report{}, err
	}
	report, err := r.execute(ctx, p, o, rf)
	return p, report, err
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

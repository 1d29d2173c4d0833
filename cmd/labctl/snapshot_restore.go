package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/engine/apply"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

func (c *cli) snapshotRestoreCommand() *cobra.Command {
	var f labFlags
	var rf runFlags
	var allow []string
	cmd := &cobra.Command{
		Use:   "restore [LAB] NAME",
		Short: "Make the lab's disks what they were, and start it again",
		Long: `Power all machines off, make their disks and UEFI variables what the snapshot holds, start what the spec says is on,
and wait until it is healthy. What was written since is lost, so that has to be allowed by name: the lab's for all
machines, a machine's own for one that is protected. Disks and machines that were made since stay as they are.
The spec may have moved on since, too: what differs then is told, and the next apply makes it so.
An interrupted restore is to be repeated.`,
		Args: between(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := rf.check(cmd); err != nil {
				return err
			}
			rest, err := f.before(1, args)
			if err != nil {
				return err
			}
			return c.restoreSnapshot(cmd.Context(), f, rf, rest[0], allow)
		},
	}
	f.add(cmd)
	rf.add(cmd)
	cmd.Flags().StringSliceVar(&allow, "allow", nil, "let what the machine, or all of the lab, of this `name` has written since be lost; repeatable")
	completeMachineFlags(cmd, "allow")
	return cmd
}

// restoredLab is the result of snapshot restore.
type restoredLab struct {
	Lab      string            `json:"lab"`
	Target   string            `json:"target"`
	Snapshot provider.Snapshot `json:"snapshot"`
	Notes    []string          `json:"notes,omitempty"` // what the provider has to say: what was left alone
	Report   apply.Report      `json:"report"`          // of starting the machines
	// Differences is how many changes the next apply would make: the spec may have moved on since the snapshot.
	Differences int `json:"differences"`
}

func (c *cli) restoreSnapshot(ctx context.Context, f labFlags, rf runFlags, name string, allow []string) error {
	r, s, done, err := c.snapshotting(ctx, f, "restore", rf)
	if err != nil {
		return err
	}
	defer done()
	one, err := r.findSnapshot(ctx, s, name)
	if err != nil {
		return err
	}
	if err := r.allowed(ctx, one, allow); err != nil {
		return err
	}
	result := restoredLab{Lab: r.lab.Name, Target: r.lab.Target, Snapshot: one}
	r.signals.graceful() // the first signal lets disks come to what they were, and starts nothing
	result.Notes, err = r.onSnapshot(ctx, name, view.Restore, rf.timeout, func(ctx context.Context, p provider.Progress) error {
		return s.RestoreSnapshot(ctx, r.lab.Within(), name, p)
	})
	if err != nil {
		return err
	}
	if result.Report, err = r.startAgain(ctx, rf); err != nil {
		return fmt.Errorf("snapshot %s was restored, but nothing was started: %w", name, err)
	}
	failed := verdict(result.Report)
	if failed == nil {
		p, _, err := r.plan(ctx, planFlags{})
		if err != nil {
			return fmt.Errorf("snapshot %s was restored, but how the lab is now cannot be told: %w", name, err)
		}
		result.Differences = len(p.Changes)
	}
	if err := c.show(result, func(w io.Writer, vo view.Options) error { return tellRestored(w, vo, result, failed) }); err != nil {
		return err
	}
	return failed
}

// allowed refuses to lose what machines have written since, unless that was said by name.
func (r *road) allowed(ctx context.Context, s provider.Snapshot, allow []string) error {
	for _, a := range allow {
		if _, ok := r.lab.Machine(a); !ok && a != r.lab.Name && !slices.Contains(s.Machines, a) {
			return fmt.Errorf("--allow %s: that is neither lab %s nor a machine of it", a, r.lab.Name)
		}
	}
	observed, err := r.engine.Observe(ctx, r.lab)
	if err != nil {
		return err
	}
	protected := map[string]bool{}
	for _, o := range observed {
		protected[o.Machine] = protected[o.Machine] || o.Attrs["protect"] == true
	}
	refused := &lossError{snapshot: s, lab: r.lab.Name}
	for _, m := range s.Machines {
		switch {
		case slices.Contains(allow, m):
		case protected[m]:
			refused.protected = append(refused.protected, m)
		case !slices.Contains(allow, r.lab.Name):
			refused.machines = append(refused.machines, m)
		}
	}
	if len(refused.machines)+len(refused.protected) == 0 {
		return nil
	}
	return refused
}

// lossError is a restore that was not allowed.
type lossError struct {
	lab                 string
	snapshot            provider.Snapshot
	machines, protected []string
}

func (e *lossError) Error() string {
	text := fmt.Sprintf("refused: what %s wrote since snapshot %s was taken, %s, would be lost",
		strings.Join(append(slices.Clone(e.machines), e.protected...), ", "), e.snapshot.Name, e.snapshot.Taken.Local().Format(time.DateTime))
	if len(e.protected) > 0 {
		text += "; protected: " + strings.Join(e.protected, ", ")
	}
	return text
}

// names are what has to be allowed.
func (e *lossError) names() string {
	names := e.protected
	if len(e.machines) > 0 {
		names = append([]string{e.lab}, names...)
	}
	return strings.Join(names, ",")
}

// startAgain is the plan for the power of all machines that exist, and nothing else.
func (r *road) startAgain(ctx context.Context, rf runFlags) (apply.Report, error) {
	state, err := r.powers(ctx)
	if err != nil {
		return apply.Report{}, err
	}
	var names []string
	for _, m := range r.lab.Machines {
		if state[m.Name] != "" && m.Power == lab.On {
			names = append(names, m.Name)
		}
	}
	if len(names) == 0 {
		return apply.Report{Lab: r.lab.Name, Target: r.lab.Target}, nil
	}
	_, report, err := r.runPower(ctx, names, true, rf)
	return report, err
}

func tellRestored(w io.Writer, vo view.Options, x restoredLab, failed error) error {
	fmt.Fprintf(w, "Restored snapshot %s of lab %s, taken %s: %s.\n", x.Snapshot.Name, x.Lab, x.Snapshot.Taken.Local().Format(time.DateTime),
		strings.Join(x.Snapshot.Machines, ", "))
	if err := tell(w, x.Notes); err != nil {
		return err
	}
	var up []string
	for _, y := range x.Report.Results {
		if y.State == apply.Done {
			up = append(up, y.Machine)
		}
	}
	var err error
	switch {
	case failed != nil:
		return view.Report(w, x.Report, vo)
	case len(up) > 0:
		_, err = fmt.Fprintf(w, "On and healthy again: %s.\n", strings.Join(up, ", "))
	default:
		_, err = fmt.Fprintln(w, "No machine is to be on.")
	}
	if err != nil || x.Differences == 0 {
		return err
	}
	_, err = fmt.Fprintf(w, "The spec says otherwise than the snapshot (%d to change): labctl plan shows it, labctl apply makes it so.\n", x.Differences)
	return err
}

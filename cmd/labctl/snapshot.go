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
	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/provider"
)

func (c *cli) snapshotCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "Keep the disks of the whole lab as they are at one moment, and bring them back",
		Long: `A snapshot holds the disks and UEFI variables of all machines of a lab at one moment: running machines are held still
together while it is taken, for a second or so. Memory is not kept, so what was running is as after a power cut, and a
machine that is restored boots ('labctl save' keeps memory, of machines where they are). Snapshots are kept by the
target, inside the disks or beside them: inside, reinstalling a machine takes its part away. Destroy takes them all.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage(cmd, "unknown command %q", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return usage(cmd, "say take, ls, restore or rm") },
	}
	cmd.AddCommand(c.snapshotTakeCommand(), c.snapshotLsCommand(), c.snapshotRestoreCommand(), c.snapshotRmCommand())
	return cmd
}

func (c *cli) snapshotTakeCommand() *cobra.Command {
	var f labFlags
	var rf runFlags
	var note string
	cmd := &cobra.Command{
		Use:   "take [LAB] NAME",
		Short: "Keep the lab's disks as they are now",
		Args:  between(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := snapshotName(cmd, &f, &rf, args)
			if err != nil {
				return err
			}
			return c.takeSnapshot(cmd.Context(), f, rf, name, note)
		},
	}
	f.add(cmd)
	rf.addTimes(cmd)
	cmd.Flags().StringVar(&note, "note", "", "`text` to remember it by")
	return cmd
}

func (c *cli) snapshotLsCommand() *cobra.Command {
	var f labFlags
	cmd := &cobra.Command{
		Use:   "ls [LAB]",
		Short: "List the lab's snapshots, oldest first",
		Args:  between(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.one(args); err != nil {
				return err
			}
			return c.listSnapshots(cmd.Context(), f)
		},
	}
	f.add(cmd)
	return cmd
}

func (c *cli) snapshotRmCommand() *cobra.Command {
	var f labFlags
	var rf runFlags
	cmd := &cobra.Command{
		Use:   "rm [LAB] NAME",
		Short: "Remove a snapshot; the lab stays as it is",
		Args:  between(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := snapshotName(cmd, &f, &rf, args)
			if err != nil {
				return err
			}
			return c.removeSnapshot(cmd.Context(), f, rf, name)
		},
	}
	f.add(cmd)
	rf.addTimes(cmd)
	return cmd
}

// snapshotName is the snapshot's name among the arguments of a verb that has no changes to run at the same time.
func snapshotName(cmd *cobra.Command, f *labFlags, rf *runFlags, args []string) (string, error) {
	rf.parallel = 1
	if err := rf.check(cmd); err != nil {
		return "", err
	}
	rest, err := f.before(1, args)
	if err != nil {
		return "", err
	}
	return rest[0], nil
}

// snapshotting opens a lab whose target can take snapshots, for a verb that has it to itself until done is called.
func (c *cli) snapshotting(ctx context.Context, f labFlags, verb string, rf runFlags) (r *road, s provider.Snapshotter, done func(), err error) {
	r, s, err = c.snapshotter(ctx, f)
	if err != nil {
		return nil, nil, nil, err
	}
	l, err := r.lock(ctx, "snapshot "+verb, rf.wait)
	if err != nil {
		r.close()
		return nil, nil, nil, err
	}
	return r, s, func() { l.Release(); r.close() }, nil
}

// snapshotter opens a lab whose target can take snapshots.
func (c *cli) snapshotter(ctx context.Context, f labFlags) (*road, provider.Snapshotter, error) {
	r, err := c.open(ctx, f)
	if err != nil {
		return nil, nil, err
	}
	s, ok := r.engine.Provider.(provider.Snapshotter)
	if !ok || !r.engine.Description.Has(provider.Snapshots) {
		r.close()
		return nil, nil, r.cannot(provider.Snapshots)
	}
	return r, s, nil
}

func (c *cli) takeSnapshot(ctx context.Context, f labFlags, rf runFlags, name, note string) error {
	r, s, done, err := c.snapshotting(ctx, f, "take", rf)
	if err != nil {
		return err
	}
	defer done()
	one := provider.Snapshot{Name: name, Taken: time.Now().UTC().Truncate(time.Millisecond), Note: note}
	notes, err := r.onSnapshot(ctx, name, view.Take, rf.timeout, func(ctx context.Context, p provider.Progress) error {
		return s.TakeSnapshot(ctx, r.lab.Within(), one, p)
	})
	if err != nil {
		return err
	}
	one, err = r.findSnapshot(ctx, s, name)
	if err != nil {
		return err
	}
	if err := c.show(one, func(w io.Writer, _ view.Options) error {
		fmt.Fprintf(w, "Took snapshot %s of lab %s: %s.\n", one.Name, r.lab.Name, strings.Join(one.Machines, ", "))
		return tell(w, notes)
	}); err != nil {
		return err
	}
	if !one.Complete {
		return fmt.Errorf("snapshot %s was taken, but is not complete: somebody else is at work on the lab", name)
	}
	return nil
}

// labSnapshots is the result of snapshot ls.
type labSnapshots struct {
	Lab       string              `json:"lab"`
	Target    string              `json:"target"`
	Snapshots []provider.Snapshot `json:"snapshots"`
}

func (c *cli) listSnapshots(ctx context.Context, f labFlags) error {
	r, s, err := c.snapshotter(ctx, f)
	if err != nil {
		return err
	}
	defer r.close()
	all, err := s.Snapshots(ctx, r.lab.Within())
	if err != nil {
		return err
	}
	result := labSnapshots{r.lab.Name, r.lab.Target, append([]provider.Snapshot{}, all...)}
	return c.show(result, func(w io.Writer, vo view.Options) error {
		for i := range all {
			all[i].Taken = all[i].Taken.Local()
		}
		return view.Snapshots(w, r.lab.Name, all, vo)
	})
}

// removedSnapshot is the result of snapshot rm.
type removedSnapshot struct {
	Lab     string `json:"lab"`
	Target  string `json:"target"`
	Name    string `json:"name"`
	Nothing bool   `json:"nothing"` // there was none of that name
}

func (c *cli) removeSnapshot(ctx context.Context, f labFlags, rf runFlags, name string) error {
	r, s, done, err := c.snapshotting(ctx, f, "rm", rf)
	if err != nil {
		return err
	}
	defer done()
	all, err := s.Snapshots(ctx, r.lab.Within())
	if err != nil {
		return err
	}
	result := removedSnapshot{Lab: r.lab.Name, Target: r.lab.Target, Name: name}
	result.Nothing = !slices.ContainsFunc(all, func(x provider.Snapshot) bool { return x.Name == name })
	notes, err := r.onSnapshot(ctx, name, view.Remove, rf.timeout, func(ctx context.Context, p provider.Progress) error {
		return s.RemoveSnapshot(ctx, r.lab.Within(), name, p)
	})
	if err != nil {
		return err
	}
	return c.show(result, func(w io.Writer, _ view.Options) error {
		if result.Nothing {
			fmt.Fprintf(w, "Nothing to remove: lab %s has no snapshot %s.\n", r.lab.Name, name)
		} else {
			fmt.Fprintf(w, "Removed snapshot %s of lab %s.\n", name, r.lab.Name)
		}
		return tell(w, notes)
	})
}

// findSnapshot is the lab's snapshot of a name; none is an error that names those there are.
func (r *road) findSnapshot(ctx context.Context, s provider.Snapshotter, name string) (provider.Snapshot, error) {
	all, err := s.Snapshots(ctx, r.lab.Within())
	if err != nil {
		return provider.Snapshot{}, err
	}
	var names []string
	for _, x := range all {
		if x.Name == name {
			return x, nil
		}
		names = append(names, x.Name)
	}
	if len(names) == 0 {
		return provider.Snapshot{}, fmt.Errorf("lab %s has no snapshots on target %s", r.lab.Name, r.lab.Target)
	}
	return provider.Snapshot{}, fmt.Errorf("lab %s has no snapshot %q on target %s; it has %s", r.lab.Name, name, r.lab.Target, strings.Join(names, ", "))
}

// onSnapshot runs f, shows its progress, and returns its notes.
func (r *road) onSnapshot(ctx context.Context, name string, what plan.Action, timeout time.Duration, f func(context.Context, provider.Progress) error) ([]string, error) {
	return r.act(ctx, provider.Addr{Provider: r.engine.Description.Name, Kind: "snapshot", Name: name}, what, timeout, f)
}

// tell writes notes, each a line.
func tell(w io.Writer, notes []string) error {
	for _, n := range notes {
		if _, err := fmt.Fprintln(w, n); err != nil {
			return err
		}
	}
	return nil
}

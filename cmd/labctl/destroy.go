package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/lock"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/engine"
	"github.com/labctl-dev/labctl/engine/apply"
	"github.com/labctl-dev/labctl/engine/plan"
)

func (c *cli) destroyCommand() *cobra.Command {
	var f labFlags
	var pf planFlags
	var rf runFlags
	cmd := &cobra.Command{
		Use:   "destroy [LAB]",
		Short: "Take the lab away, and verify that nothing is left",
		Long: `Delete everything that labctl made for the lab on the target; what labs share stays for the others.
What was adopted stays as it is, and is the lab's no longer.
When the lab is on no other target its keys and generated secrets go too. Repeating it is no error.
What is protected is refused unless told by name (--allow).`,
		Args: between(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := rf.check(cmd); err != nil {
				return err
			}
			if err := f.one(args); err != nil {
				return err
			}
			return c.destroy(cmd.Context(), f, pf, rf)
		},
	}
	f.add(cmd)
	pf.add(cmd)
	rf.add(cmd)
	return cmd
}

// destroyed is the result of destroy.
type destroyed struct {
	Lab    string       `json:"lab"`
	Target string       `json:"target"`
	Report apply.Report `json:"report"`
	// Litter is what the provider left in the target's folder although it says that nothing is there; it was removed.
	Litter []string `json:"litter,omitempty"`
	// Forgotten says that the lab's folder with its keys and generated secrets was removed.
	Forgotten bool `json:"forgotten"`
	Nothing   bool `json:"nothing"` // there was nothing to destroy
}

func (c *cli) destroy(ctx context.Context, f labFlags, pf planFlags, rf runFlags) error {
	r, err := c.open(ctx, f)
	if err != nil {
		return err
	}
	defer r.close()
	known := isFolder(r.labFolder())
	l, err := r.lock(ctx, "destroy", rf.wait)
	if err != nil {
		return err
	}
	defer l.Release()
	o := engine.PlanOptions{Destroy: true, Only: pf.only, Allow: pf.allow}
	p, err := r.engine.Plan(ctx, r.lab, o)
	if err != nil {
		return err
	}
	if !c.json() && !p.Empty() {
		if err := view.Plan(c.out, p, screen(c.out)); err != nil {
			return err
		}
	}
	d := destroyed{Lab: r.lab.Name, Target: r.lab.Target}
	if d.Report, err = r.execute(ctx, p, o, rf); err != nil {
		return err
	}
	failed := verdict(d.Report)
	if failed == nil && len(pf.only) == 0 {
		failed = r.forget(ctx, l, &d)
		d.Nothing = failed == nil && p.Empty() && !known
	}
	if err := c.show(d, func(w io.Writer, vo view.Options) error { return tellDestroyed(w, vo, d) }); err != nil {
		return err
	}
	return failed
}

// forget verifies that nothing is left and removes labctl's own files about the lab on this target.
func (r *road) forget(ctx context.Context, l *lock.Lock, d *destroyed) error {
	left, err := r.engine.Observe(ctx, r.lab)
	if err != nil {
		return err
	}
	var names []string
	for _, o := range left {
		if !o.Shared {
			names = append(names, o.Addr.String())
		}
	}
	if len(names) > 0 {
		return fmt.Errorf("lab %s is not destroyed; still there: %s", r.lab.Name, strings.Join(names, ", "))
	}
	if d.Litter, err = litter(r.targetFolder()); err != nil {
		return err
	}
	if err := os.RemoveAll(r.targetFolder()); err != nil {
		return fmt.Errorf("cannot remove what is left of the target: %w", err)
	}
	others, err := os.ReadDir(filepath.Dir(r.targetFolder()))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot look for other targets of the lab: %w", err)
	}
	if len(others) > 0 {
		return nil
	}
	d.Forgotten = true
	return l.Remove()
}

// litter lists the files in folder.
func litter(folder string) ([]string, error) {
	var all []string
	err := filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && !e.IsDir() {
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot look for what is left: %w", err)
	}
	return all, nil
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func tellDestroyed(w io.Writer, vo view.Options, d destroyed) error {
	if d.Nothing {
		_, err := fmt.Fprintf(w, "nothing to destroy: there is no lab %s on target %s\n", d.Lab, d.Target)
		return err
	}
	if len(d.Report.Results) > 0 {
		if err := view.Report(w, d.Report, vo); err != nil {
			return err
		}
	}
	for _, x := range d.Report.Results {
		if x.Action == plan.Release && x.State == apply.Done {
			if _, err := fmt.Fprintf(w, "%s was adopted: it stays as it is, and is the lab's no longer\n", x.Addr); err != nil {
				return err
			}
		}
	}
	for _, l := range d.Litter {
		if _, err := fmt.Fprintf(w, "removed a leftover: %s\n", l); err != nil {
			return err
		}
	}
	if !d.Forgotten {
		return nil
	}
	_, err := fmt.Fprintf(w, "Nothing is left of lab %s; its keys and generated secrets are gone too.\n", d.Lab)
	return err
}

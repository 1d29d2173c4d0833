package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/revision"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/schema"
)

func (c *cli) hookCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "hook",
		Short: "Check labs before each git commit",
		Long: `Check, before git makes a commit, that the .cue files in it are formatted and that every lab is sound that they are part
of. No hypervisor and no network is needed. Those who use the pre-commit framework take .pre-commit-hooks.yaml instead.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage(cmd, "unknown verb %q; there are 'hook install', 'hook uninstall' and 'hook run'", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return usage(cmd, "say install, uninstall or run") },
	}
	cmd.AddCommand(
		&cobra.Command{
			Use:   "install",
			Short: "Make git run 'labctl hook run' before each commit in this repository",
			Long: `Write a hook that runs 'labctl hook run' before each commit in this repository. A hook that somebody else wrote is left
as it is. 'git commit --no-verify' goes past hooks.`,
			Args: between(0, 0),
			RunE: func(cmd *cobra.Command, _ []string) error { return c.hookInstall(cmd.Context()) },
		},
		&cobra.Command{
			Use:   "uninstall",
			Short: "Take the hook away again",
			Args:  between(0, 0),
			RunE:  func(cmd *cobra.Command, _ []string) error { return c.hookUninstall(cmd.Context()) },
		},
		&cobra.Command{
			Use:   "run",
			Short: "Check the commit that is being made, as the hook does",
			Long: `Check what the next commit changes, as it will have it: whether its .cue files are formatted, and 'labctl vet --changed'.

Exit code: 0, or 1 if anything is wrong.`,
			Args: between(0, 0),
			RunE: func(cmd *cobra.Command, _ []string) error { return c.hookRun(cmd.Context()) },
		},
	)
	return cmd
}

// hookMark tells labctl's hook from anybody else's.
const hookMark = "# labctl: written by 'labctl hook install'"

// hookText is the hook; git's windows may have another PATH than the shell that installed it.
func hookText(exe string) []byte {
	return []byte(`#!/bin/sh
` + hookMark + `; 'labctl hook uninstall' takes it away.
labctl=$(command -v labctl) || labctl=` + shellWord(exe) + `
if ! [ -x "$labctl" ]; then
	echo "labctl is not installed any more, so the labs of this commit are not checked; 'git commit --no-verify' goes on without" >&2
	exit 1
fi
exec "$labctl" hook run
`)
}

// hookFile is the repository's pre-commit hook: its path, what is in it ("" is nothing), and whether it is labctl's.
func hookFile(ctx context.Context) (path string, text []byte, ours bool, err error) {
	r, err := repository(ctx)
	if err != nil {
		return "", nil, false, err
	}
	dir, own, err := r.Hooks(ctx)
	if err != nil {
		return "", nil, false, err
	}
	path = filepath.Join(dir, "pre-commit")
	if !own {
		return "", nil, false, fmt.Errorf("git takes this repository's hooks from %s (core.hooksPath), which is not the repository's own: add the line \"labctl hook run\" to the hook %s yourself", dir, path)
	}
	text, err = os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", nil, false, fmt.Errorf("cannot read the hook: %w", err)
	}
	return path, text, bytes.Contains(text, []byte(hookMark)), nil
}

func (c *cli) hookInstall(ctx context.Context) error {
	path, text, ours, err := hookFile(ctx)
	switch {
	case err != nil:
		return err
	case len(text) > 0 && !ours && bytes.Contains(text, []byte("pre-commit.com")):
		return fmt.Errorf("%s is the pre-commit framework's: name labctl-vet and labctl-fmt in .pre-commit-config.yaml (see docs/pre-commit.md)", path)
	case len(text) > 0 && !ours:
		return fmt.Errorf("there is a hook already, %s, and it is not labctl's: add the line \"labctl hook run || exit 1\" to it", path)
	}
	exe, err := filepath.Abs(executable())
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("cannot make the folder of hooks: %w", err)
	}
	if err := (labFile{path: path, name: path, text: hookText(exe)}).write(); err != nil {
		return err
	}
	if err := os.Chmod(path, 0o755); err != nil {
		return fmt.Errorf("cannot make the hook a program: %w", err)
	}
	return c.hookSaid(path, "installed", "From now on labctl checks every commit in this repository: "+path)
}

func (c *cli) hookUninstall(ctx context.Context) error {
	path, text, ours, err := hookFile(ctx)
	switch {
	case err != nil:
		return err
	case len(text) == 0:
		return c.hookSaid(path, "absent", "There is no hook: nothing to do.")
	case !ours:
		return fmt.Errorf("the hook %s is not labctl's, so it stays", path)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("cannot remove the hook: %w", err)
	}
	return c.hookSaid(path, "removed", "The hook is gone: "+path)
}

func (c *cli) hookSaid(path, state, text string) error {
	return c.show(map[string]string{"hook": path, "state": state}, func(w io.Writer, _ view.Options) error {
		_, err := fmt.Fprintln(w, text)
		return err
	})
}

// hookRun checks the commit that is being made.
func (c *cli) hookRun(ctx context.Context) error {
	r, err := repository(ctx)
	if err != nil {
		return err
	}
	changed, err := r.Changed(ctx)
	if err != nil {
		return err
	}
	changed = slices.DeleteFunc(changed, func(name string) bool { return filepath.Ext(name) != ".cue" })
	if len(changed) == 0 {
		return c.judged([]view.LocatedFinding{}, "the commit")
	}
	t, done, err := treeAt(ctx, r, revision.Index)
	if err != nil {
		return err
	}
	defer done()
	found, err := c.vetTree(ctx, labFlags{}, t, changed)
	if err != nil {
		return err
	}
	loose, err := unformatted(t, changed)
	if err != nil {
		return err
	}
	return c.judged(append(found, loose...), "the commit")
}

// unformatted are the changed files that are not as CUE's formatter writes them. What cannot be read is not among them.
func unformatted(t tree, changed []string) ([]view.LocatedFinding, error) {
	var out []view.LocatedFinding
	for _, name := range changed {
		text, err := os.ReadFile(filepath.Join(t.dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // the commit deletes it
		}
		if err != nil {
			return nil, err
		}
		next, err := schema.Format(name, text)
		if err == nil && !bytes.Equal(text, next) {
			at := view.Location{File: t.name(name), Line: firstDifference(text, next), Column: 1}
			out = append(out, view.LocatedFinding{Location: at, Text: "it is not formatted; 'labctl fmt " + t.name(name) + "' does that"})
		}
	}
	return out, nil
}

// firstDifference is the first line, counted from 1, in which two texts differ.
func firstDifference(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return 1 + bytes.Count(a[:n], []byte("\n"))
}

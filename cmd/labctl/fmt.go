package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/schema"
)

// fmtFlags say what becomes of files that are not formatted; without any they are rewritten.
type fmtFlags struct{ diff, check bool }

func (c *cli) fmtCommand() *cobra.Command {
	var g fmtFlags
	cmd := &cobra.Command{
		Use:   "fmt [FILE|FOLDER...]",
		Short: "Write CUE files as CUE's formatter does",
		Long: `Rewrite .cue files in CUE's standard format, as 'cue fmt' does, and print the names of those that changed. Of a folder
these are all in it and below, but for cue.mod and folders whose name begins with "." or "_". Without an argument it is
the working folder; "-" is stdin to stdout.

Exit code: 0, or 1 if a file cannot be read as CUE; with --diff and --check also if one is not formatted.`,
		Example: "  labctl fmt\n  labctl fmt --check labs\n  labctl fmt -d lab.cue",
		RunE: func(cmd *cobra.Command, args []string) error {
			if g.diff && g.check {
				return usage(cmd, "--diff and --check: one of them")
			}
			if len(args) == 1 && args[0] == "-" {
				return c.fmtStdin(g)
			}
			files, err := cueFiles(args)
			if err != nil {
				return err
			}
			return c.fmtFiles(files, g)
		},
	}
	cmd.Flags().BoolVarP(&g.diff, "diff", "d", false, "show what would change, and write nothing")
	cmd.Flags().BoolVarP(&g.check, "check", "l", false, "name the files that are not formatted, and write nothing")
	completeLabs(cmd)
	return cmd
}

// cueFiles are the files that arguments of fmt name.
func cueFiles(args []string) ([]string, error) {
	if len(args) == 0 {
		args = []string{"."}
	}
	var out []string
	for _, arg := range args {
		info, err := os.Stat(arg)
		var cause *fs.PathError
		switch {
		case errors.As(err, &cause):
			return nil, fmt.Errorf("cannot read %s: %w", arg, cause.Err)
		case !info.IsDir() && filepath.Ext(arg) != ".cue":
			return nil, fmt.Errorf("cannot format %s: it is no .cue file", arg)
		}
		err = filepath.WalkDir(arg, func(path string, d fs.DirEntry, err error) error {
			name := d.Name()
			switch {
			case err != nil:
				return err
			case d.IsDir() && path != arg && (name == "cue.mod" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")):
				return filepath.SkipDir
			case !d.IsDir() && filepath.Ext(name) == ".cue":
				out = append(out, path)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("cannot look for .cue files: %w", err)
		}
	}
	return out, nil
}

// fmtFiles formats files. One that cannot be read as CUE does not keep the others from that.
func (c *cli) fmtFiles(files []string, g fmtFlags) error {
	changed := []view.Formatted{}
	var bad schema.Errors
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		next, err := schema.Format(name, text)
		var es schema.Errors
		switch {
		case errors.As(err, &es):
			bad = append(bad, es...)
			continue
		case err != nil:
			return err
		case bytes.Equal(text, next):
			continue
		case !g.diff && !g.check:
			path, err := filepath.EvalSymlinks(name)
			if err != nil {
				return err
			}
			if err := (labFile{path: path, name: name, text: next}).write(); err != nil {
				return err
			}
		}
		f := view.Formatted{File: name}
		if g.diff {
			f.Diff = string(diff.Diff(name, text, name+" (formatted)", next))
		}
		changed = append(changed, f)
	}
	if err := c.show(changed, func(w io.Writer, o view.Options) error { return view.FormattedFiles(w, changed, o) }); err != nil {
		return err
	}
	if len(bad) > 0 {
		return bad
	}
	if len(changed) > 0 && (g.diff || g.check) {
		return &exitError{1}
	}
	return nil
}

// fmtStdin formats what an editor, or a pipe, hands over.
func (c *cli) fmtStdin(g fmtFlags) error {
	text, err := io.ReadAll(c.in)
	if err != nil {
		return fmt.Errorf("cannot read stdin: %w", err)
	}
	next, err := schema.Format("<stdin>", text)
	if err != nil {
		return err
	}
	same := bytes.Equal(text, next)
	switch {
	case g.diff:
		next = diff.Diff("<stdin>", text, "<stdin> (formatted)", next)
	case g.check:
		next = nil
	}
	if _, err := c.out.Write(next); err != nil {
		return err
	}
	if !same && (g.diff || g.check) {
		return &exitError{1}
	}
	return nil
}

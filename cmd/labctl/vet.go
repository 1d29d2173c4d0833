package main

import (
	"cmp"
	"io"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/provider"
)

func (c *cli) vetCommand() *cobra.Command {
	var f labFlags
	var changed bool
	cmd := &cobra.Command{
		Use:   "vet [LAB...]",
		Short: "Check labs without touching anything",
		Long: `Check types, names, addresses and secrets, and ask the plugins of the lab's targets whether they can make it.
Nothing outside the lab's files is read and nothing is written. A plugin that is not installed is a warning.
With -o sarif code scanning shows what is wrong beside the lines, with -o junit a CI server as tests.

With --changed the arguments are files of a git repository that were changed, and every lab is checked that one of them
is part of, by itself or by import. Without arguments they are the files of the commit that is being made, and read as
the commit will have them: what a hook before a commit wants ('labctl hook install').

Exit code: 0, or 1 if anything is wrong.`,
		Example:     "  labctl vet labs/deploy3.cue\n  labctl vet labs/*.cue\n  labctl vet --changed",
		Args:        between(0, -1),
		Annotations: more(markdown, junit, sarif),
		RunE: func(cmd *cobra.Command, args []string) error {
			if changed {
				found, err := c.vetChanged(cmd.Context(), f, args)
				if err != nil {
					return err
				}
				return c.judged(found, cmp.Or(strings.Join(args, " "), "the commit"))
			}
			if len(args) == 0 {
				path, err := findLab("")
				if err != nil {
					return err
				}
				args = []string{path}
			}
			found, err := c.vetAll(cmd.Context(), f, args)
			if err != nil {
				return err
			}
			return c.judged(found, strings.Join(args, " "))
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&changed, "changed", false, "check the labs that changed files are part of; without arguments those of the commit being made")
	return cmd
}

// judged shows findings about what, and is an error if there are not only warnings.
func (c *cli) judged(found []view.LocatedFinding, what string) error {
	err := c.showAs(found, func(w io.Writer, o view.Options) error { return view.Findings(w, found, o) }, writers{
		markdown: func(w io.Writer) error { return view.FindingsMarkdown(w, what, found) },
		junit:    func(w io.Writer) error { return view.FindingsJUnit(w, what, found) },
		sarif:    func(w io.Writer) error { return view.FindingsSARIF(w, provider.ThisProgram().String(), found) },
	})
	if err != nil {
		return err
	}
	if slices.ContainsFunc(found, func(x view.LocatedFinding) bool { return !x.Warning }) {
		return &exitError{1}
	}
	return nil
}

// same says whether two findings are one, which two labs have that share a file.
func same(a, b view.LocatedFinding) bool { return reflect.DeepEqual(a, b) }

package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
)

func (c *cli) vetCommand() *cobra.Command {
	var f labFlags
	cmd := &cobra.Command{
		Use:   "vet [LAB]",
		Short: "Check a lab without touching anything",
		Long: `Check types, names, addresses and secrets, and ask the plugins of the lab's targets whether they can make it.
Nothing outside the lab's files is read and nothing is written. A plugin that is not installed is a warning.
With -o sarif code scanning shows what is wrong beside the lines, with -o junit a CI server as tests.
Exit code: 0, or 1 if anything is wrong.`,
		Args:        between(0, 1),
		Annotations: more(markdown, junit, sarif),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.one(args); err != nil {
				return err
			}
			found, err := c.vet(cmd.Context(), f)
			if err != nil {
				return err
			}
			err = c.showAs(found, func(w io.Writer, o view.Options) error { return view.Findings(w, found, o) }, writers{
				markdown: func(w io.Writer) error { return view.FindingsMarkdown(w, f.path, found) },
				junit:    func(w io.Writer) error { return view.FindingsJUnit(w, f.path, found) },
				sarif:    func(w io.Writer) error { return view.FindingsSARIF(w, buildVersion(), found) },
			})
			if err != nil {
				return err
			}
			for _, x := range found {
				if !x.Warning {
					return &exitError{1}
				}
			}
			return nil
		},
	}
	f.add(cmd)
	return cmd
}

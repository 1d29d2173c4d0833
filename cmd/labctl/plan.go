package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
)

func (c *cli) planCommand() *cobra.Command {
	var f labFlags
	var pf planFlags
	var out, prices string
	var exitCode bool
	cmd := &cobra.Command{
		Use:   "plan [LAB]",
		Short: "Show what would change, and what each change costs",
		Long: `Compare the lab with what exists, and show what apply would do, and whether its host has room for that, and for a cloud
an estimate of what it will cost. Nothing is changed or written.

With --out the plan is saved; 'labctl apply FILE' executes it if neither the lab nor the world has moved since.
Exit code: 0, or with --exit-code 2 if there are changes.`,
		Args:        between(0, 1),
		Annotations: more(markdown),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.one(args); err != nil {
				return err
			}
			if prices != "" {
				var err error
				if pf.prices, err = os.ReadFile(prices); err != nil {
					return fmt.Errorf("cannot read the table of prices: %w", err)
				}
			}
			r, err := c.openProven(cmd.Context(), f)
			if err != nil {
				return err
			}
			defer r.close()
			p, _, err := r.plan(cmd.Context(), pf)
			if err != nil {
				return err
			}
			if out != "" {
				if err := save(out, f, pf, p); err != nil {
					return err
				}
			}
			err = c.showAs(p, func(w io.Writer, o view.Options) error { return view.Plan(w, p, o) }, writers{
				markdown: func(w io.Writer) error { return view.PlanMarkdown(w, p) },
			})
			if err == nil && exitCode && !p.Empty() {
				return &exitError{2}
			}
			return err
		},
	}
	f.add(cmd)
	pf.add(cmd)
	pf.addDeep(cmd)
	cmd.Flags().StringVar(&out, "out", "", "save the plan in `file`")
	cmd.Flags().StringVar(&prices, "price-file", "", "estimate costs by the table in this `file` and not by the one that the target's plugin brings")
	cmd.Flags().BoolVar(&exitCode, "exit-code", false, "exit with 2 if there are changes")
	return cmd
}

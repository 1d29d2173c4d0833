package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/schema"
)

func (c *cli) policyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Show who may open what to whom",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage(cmd, "unknown verb %q; there is 'policy show'", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return usage(cmd, "say show") },
	}
	cmd.AddCommand(c.policyShowCommand())
	return cmd
}

func (c *cli) policyShowCommand() *cobra.Command {
	var f labFlags
	var machine string
	var matrix bool
	cmd := &cobra.Command{
		Use:   "show [LAB]",
		Short: "Show the whole policy as it holds, what is implied included",
		Long: `Show every rule of the policy, every published port and everything that is implied, with where it stands in the
spec or why it is there, and on which machines it is compiled into rules. No machine is asked.

With -t it is the policy on that target: what its host filters itself, in front of each machine, is shown and proven, too.
With --nft the rules of one machine as nft reads them; with --matrix who reaches whom by what, as the rules prove it.`,
		Args: between(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if machine != "" && matrix {
				return usage(cmd, "--nft and --matrix: one of them")
			}
			if err := f.one(args); err != nil {
				return err
			}
			known, err := c.proof(cmd.Context(), f)
			if err != nil {
				return err
			}
			spec, p := known.spec, known.proof
			switch {
			case machine != "":
				return c.rulesOf(spec, p.Rulesets(), machine)
			case matrix:
				m := p.Matrix()
				return c.show(m, func(w io.Writer, o view.Options) error { return view.Matrix(w, spec.Lab.Name, m, o) })
			}
			facts := policyFacts(spec, p.Rulesets())
			if known.filter != nil {
				facts.Target, facts.Outside = known.target, known.filter.Rules
			}
			return c.show(facts, func(w io.Writer, o view.Options) error { return view.Policy(w, facts, o) })
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&machine, "nft", "", "print the rules of this `machine` as nft reads them; -o json: as values")
	must(cmd.RegisterFlagCompletionFunc("nft", f.completeNames(func(f labFlags) []string { return machineNames(f, f.path) })))
	cmd.Flags().BoolVar(&matrix, "matrix", false, "show who reaches whom by what")
	return cmd
}

// policyFacts are all statements of a lab with their places.
func policyFacts(spec *schema.Spec, sets map[string]nft.Ruleset) view.PolicyFacts {
	facts := view.PolicyFacts{Lab: spec.Lab.Name, Statements: nft.Statements(spec.Lab, sets), Filters: slices.Sorted(maps.Keys(sets))}
	var paths []string
	for _, s := range facts.Statements {
		paths = append(paths, s.Paths...)
	}
	facts.Places = placesOf(spec, paths)
	return facts
}

// rulesOf prints a machine's ruleset.
func (c *cli) rulesOf(spec *schema.Spec, sets map[string]nft.Ruleset, machine string) error {
	m, err := machineOf(spec.Lab, machine)
	if err != nil {
		return err
	}
	set, ok := sets[m.Name]
	if !ok {
		return fmt.Errorf("%s has no rules: it is no router and has no firewall: true; those that have are: %s", m.Name, strings.Join(slices.Sorted(maps.Keys(sets)), ", "))
	}
	return c.show(set, func(w io.Writer, _ view.Options) error {
		_, err := w.Write(set.Render())
		return err
	})
}

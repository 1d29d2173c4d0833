package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/labctl-dev/labctl/check"
	"github.com/labctl-dev/labctl/check/reach"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/schema"
)

func (c *cli) reachCommand() *cobra.Command {
	var f labFlags
	var expect string
	var all bool
	cmd := &cobra.Command{
		Use:   "reach [LAB] FROM TO SERVICE",
		Short: "Explain whether and how one machine reaches another, by the spec alone",
		Long: `Say whether FROM reaches SERVICE on TO, over which way, what is translated, which rule decides and where it stands,
and how the answer comes back; for every address and both families. It is proven from the rules that the machines
run, and no machine is asked: 'labctl test' asks them. With -t it is how the lab is on that target: a cloud's own packet
filter, in front of each machine, is a part of the way then, and its rules are named.

FROM and TO are machines, networks (hosts there that the lab does not know) or "world". SERVICE is "tcp/22",
"udp/8000-8010", "tcp", "icmp", "any", or a name from the lab's services.

The answer is "open" (every port, by a usual way), "blocked" (nothing, by any way) or "partly open".
Exit code: 0 for any answer; with --expect 1 if the answer is another.`,
		Example: "  labctl reach labs/deploy3.cue jumpbox probe tcp/22\n  labctl reach world db tcp/3306 --expect blocked",
		Args:    between(3, 4),
		RunE: func(cmd *cobra.Command, args []string) error {
			if expect != "" && expect != string(reach.Open) && expect != string(reach.Blocked) {
				return usage(cmd, "--expect %s: it is open or blocked", expect)
			}
			rest, err := f.before(3, args)
			if err != nil {
				return err
			}
			facts, err := c.reachable(cmd.Context(), f, rest[0], rest[1], rest[2])
			if err != nil {
				return err
			}
			if err := c.show(facts, func(w io.Writer, o view.Options) error { return view.Reach(w, facts, all, o) }); err != nil {
				return err
			}
			if expect != "" && expect != string(facts.State) {
				return &exitError{1}
			}
			return nil
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&expect, "expect", "", "exit with 1 unless the answer is this: open or blocked")
	cmd.Flags().BoolVar(&all, "all", false, "show also the blocked ways that no ordinary program takes")
	must(cmd.RegisterFlagCompletionFunc("expect", cobra.FixedCompletions([]string{string(reach.Open), string(reach.Blocked)}, cobra.ShellCompDirectiveNoFileComp)))
	completeAmong(cmd, &f, true, endNames)
	return cmd
}

// reachable asks the proof one question.
func (c *cli) reachable(ctx context.Context, f labFlags, from, to, service string) (view.ReachFacts, error) {
	known, err := c.proof(ctx, f)
	if err != nil {
		return view.ReachFacts{}, err
	}
	spec, p := known.spec, known.proof
	services, err := spec.Services(service)
	if err != nil {
		return view.ReachFacts{}, fmt.Errorf("cannot ask for a service: %w", err)
	}
	a, err := p.Ask(from, to, services)
	if err != nil {
		return view.ReachFacts{}, fmt.Errorf("cannot ask whether %s reaches %s: %w", from, to, err)
	}
	return view.ReachFacts{Answer: a, Target: known.target, Places: placesOf(spec, view.Paths(a.Ways))}, nil
}

// proof reads a lab and proves its policy. What makes the lab or its policy senseless is an error with all of its
// places; expectations that do not hold are none, since they are what people ask about.
func (f *labFlags) proof() (*schema.Spec, *reach.Proof, error) {
	return proofOf(schema.Options{Args: []string{f.path}, Tags: f.tags, Target: f.target})
}

// proofOf is proof of a lab that is read from anywhere.
func proofOf(o schema.Options) (*schema.Spec, *reach.Proof, error) {
	spec, err := schema.Load(o)
	if err != nil {
		return nil, nil, err
	}
	found := check.Vet(spec.Lab)
	if !wrong(found) {
		found = append(found, reach.Names(spec.Lab)...)
	}
	if wrong(found) {
		return nil, nil, &findingsError{findings(spec, found)}
	}
	p, err := reach.Prove(spec.Lab)
	if err != nil {
		return nil, nil, err
	}
	return spec, p, nil
}

// placesOf is where each of paths stands, as far as it stands in a file.
func placesOf(spec *schema.Spec, paths []string) map[string]view.Location {
	out := map[string]view.Location{}
	for _, path := range paths {
		if at := place(spec.Pos(path)).Location; at.File != "" {
			out[path] = at
		}
	}
	return out
}

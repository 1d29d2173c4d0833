package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/schema"
)

func (c *cli) targetsCommand() *cobra.Command {
	var f labFlags
	cmd := &cobra.Command{
		Use:   "targets [LAB]",
		Short: "Say where a lab can run, and what cannot be honoured there",
		Long: `Ask the plugins of all of the lab's targets (or of the one chosen) whether they can make it, and list everything that
each of them cannot honour, with the place in the lab's files. No host or cloud is asked, and nothing is changed.

Exit code: 0, whatever the answers are; 1 if the lab makes no sense by itself.`,
		Args: between(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.one(args); err != nil {
				return err
			}
			all, err := c.judgeTargets(cmd.Context(), f)
			if err != nil {
				return err
			}
			return c.show(all, func(w io.Writer, o view.Options) error { return view.Targets(w, all, o) })
		},
	}
	f.add(cmd)
	return cmd
}

func (c *cli) judgeTargets(ctx context.Context, f labFlags) (view.TargetFacts, error) {
	spec, err := f.load()
	if err != nil {
		return view.TargetFacts{}, err
	}
	if found, sound := vetLab(spec); !sound {
		return view.TargetFacts{}, &findingsError{found}
	}
	targets := spec.Lab.Targets
	if f.target != "" {
		t, err := f.choose(spec.Lab)
		if err != nil {
			return view.TargetFacts{}, err
		}
		targets = []lab.Target{t}
	}
	v, err := c.newVetting()
	if err != nil {
		return view.TargetFacts{}, err
	}
	defer v.close()
	out := view.TargetFacts{Lab: spec.Lab.Name}
	for _, t := range targets {
		g := f
		g.target = t.Name
		fact, err := v.judge(ctx, g, t)
		if err != nil {
			return view.TargetFacts{}, err
		}
		out.Targets = append(out.Targets, fact)
	}
	return out, nil
}

// judge says whether the lab, as it is meant for one target, can run there.
func (v *vetting) judge(ctx context.Context, f labFlags, t lab.Target) (view.TargetFact, error) {
	fact := view.TargetFact{Target: t.Name, Provider: t.Provider, State: view.Possible}
	spec, err := f.load()
	if err != nil {
		return fact, err
	}
	found, sound := vetLab(spec)
	if sound {
		if found, err = v.target(ctx, spec, t); err != nil {
			found = one(spec, "targets."+t.Name, err)
		}
	}
	fact.Findings = found
	for _, x := range found {
		if x.Warning && fact.State == view.Possible {
			fact.State = view.Unasked
		} else if !x.Warning {
			fact.State = view.Refused
		}
	}
	return fact, nil
}

// refusals are all that a provider cannot honour of a lab, each where the spec says it.
func refusals(spec *schema.Spec, t lab.Target, err error) []view.LocatedFinding {
	var e *provider.Error
	if !errors.As(err, &e) {
		return one(spec, "targets."+t.Name, err)
	}
	var out []view.LocatedFinding
	for _, x := range append([]provider.Error{*e}, e.More...) {
		if x.Path == "" {
			out = append(out, one(spec, "targets."+t.Name, &x)...)
			continue
		}
		f := place(spec.Pos(x.Path))
		f.Path, f.Text = x.Path, fmt.Sprintf("on target %s (%s): %s", t.Name, t.Provider, strings.TrimPrefix(x.Text, x.Path+": "))
		out = append(out, f)
	}
	return out
}

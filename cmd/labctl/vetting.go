package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/labctl-dev/labctl/check"
	"github.com/labctl-dev/labctl/check/reach"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/schema"
)

// vet is everything that is wrong with a lab, by its files and by the plugins of its targets (or the one chosen).
func (c *cli) vet(ctx context.Context, f labFlags) ([]view.LocatedFinding, error) {
	spec, err := f.load()
	var es schema.Errors
	if errors.As(err, &es) {
		return located(es), nil
	}
	if err != nil {
		return nil, err
	}
	targets := spec.Lab.Targets
	if f.target != "" {
		t, err := f.choose(spec.Lab)
		if err != nil {
			return nil, err
		}
		targets = []lab.Target{t}
	}
	found, sound := vetLab(spec)
	if !sound {
		return found, nil // what does not make sense by itself is not shown to plugins
	}
	for _, t := range targets {
		more, err := c.vetTarget(ctx, spec, t)
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	return found, nil
}

// vetLab is everything that is wrong or questionable about a lab by itself, and whether nothing is wrong. What its policy
// comes to is proven only where names and addresses are sound.
func vetLab(spec *schema.Spec) (found []view.LocatedFinding, sound bool) {
	all := check.Vet(spec.Lab)
	if !wrong(all) {
		all = append(all, reach.Vet(spec.Lab)...)
	}
	return findings(spec, all), !wrong(all)
}

func wrong(all []check.Finding) bool {
	return slices.ContainsFunc(all, func(f check.Finding) bool { return f.Severity == check.Error })
}

// vetTarget asks a target's plugin what it makes of the options and the lab.
func (c *cli) vetTarget(ctx context.Context, spec *schema.Spec, t lab.Target) ([]view.LocatedFinding, error) {
	dir, err := home()
	if err != nil {
		return nil, err
	}
	if found := check.On(spec.Lab, t); found != nil {
		return findings(spec, found), nil
	}
	path := "targets." + t.Name
	client, err := launch(ctx, c, dir, t.Provider)
	var missing *provider.Error
	if errors.As(err, &missing) && missing.Code == provider.Missing {
		x := place(spec.Pos(path + ".provider"))
		x.Path, x.Text, x.Warning = path+".provider", "not checked against this target: "+missing.Text, true
		return []view.LocatedFinding{x}, nil
	}
	if err != nil {
		return nil, err
	}
	defer client.Close()
	p, err := provide(spec, client, dir, t)
	var es schema.Errors
	switch {
	case errors.As(err, &es):
		return located(es), nil
	case err != nil:
		return one(spec, path, err), nil
	}
	seeds, err := guest.Seeds(spec.Lab, guest.Keys{}, nil)
	if err != nil {
		return nil, err
	}
	l := spec.Lab
	l.Target = t.Name
	if _, err := p.Expand(l.Within(), seeds); err != nil {
		return one(spec, path, err), nil
	}
	return nil, nil
}

// one is a provider's refusal as a finding.
func one(spec *schema.Spec, path string, err error) []view.LocatedFinding {
	x := place(spec.Pos(path))
	x.Path, x.Text = path, fmt.Sprint(err)
	var e *provider.Error
	if errors.As(err, &e) {
		x.Text = e.Text
	}
	return []view.LocatedFinding{x}
}

// findings are what check found, at its places in the files.
func findings(spec *schema.Spec, fs []check.Finding) []view.LocatedFinding {
	out := make([]view.LocatedFinding, len(fs))
	for i, f := range fs {
		places := slices.Clone(spec.Pos(f.Path))
		if len(places) == 0 {
			places = spec.Start()
		}
		places = places[:min(len(places), 1)]
		for _, r := range f.Related {
			if ps := spec.Pos(r); len(ps) > 0 {
				places = append(places, ps[0])
			}
		}
		out[i] = place(places)
		out[i].Path, out[i].Text, out[i].Warning = f.Path, f.Text, f.Severity == check.Warning
	}
	return out
}

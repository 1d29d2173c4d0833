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
	"github.com/labctl-dev/labctl/provider/rpc"
	"github.com/labctl-dev/labctl/schema"
)

// vetting is one run of vet over any number of labs.
type vetting struct {
	*cli
	home    string
	plugins map[string]*rpc.Client // by provider; those that run
	found   []view.LocatedFinding
}

func (c *cli) newVetting() (*vetting, error) {
	dir, err := home()
	return &vetting{cli: c, home: dir, plugins: map[string]*rpc.Client{}, found: []view.LocatedFinding{}}, err
}

// close ends the plugins.
func (v *vetting) close() {
	for _, p := range v.plugins {
		p.Close()
	}
}

// vetAll checks each of labs.
func (c *cli) vetAll(ctx context.Context, f labFlags, labs []string) ([]view.LocatedFinding, error) {
	v, err := c.newVetting()
	if err != nil {
		return nil, err
	}
	defer v.close()
	for _, f.path = range labs {
		if err := v.lab(ctx, f, schema.Options{Args: []string{f.path}, Tags: f.tags, Target: f.target}); err != nil {
			return nil, err
		}
	}
	return v.found, nil
}

// add takes findings in, but for those that are there already.
func (v *vetting) add(found []view.LocatedFinding) {
	for _, x := range found {
		if !slices.ContainsFunc(v.found, func(y view.LocatedFinding) bool { return same(x, y) }) {
			v.found = append(v.found, x)
		}
	}
}

// lab finds everything that is wrong with a lab, by its files and by the plugins of its targets (or the one chosen).
func (v *vetting) lab(ctx context.Context, f labFlags, o schema.Options) error {
	spec, err := schema.Load(o)
	var es schema.Errors
	if errors.As(err, &es) {
		v.add(located(es))
		return nil
	}
	if err != nil {
		return err
	}
	targets := spec.Lab.Targets
	if f.target != "" {
		t, err := f.choose(spec.Lab)
		if err != nil {
			return err
		}
		targets = []lab.Target{t}
	}
	found, sound := vetLab(spec)
	v.add(found)
	if !sound {
		return nil // what does not make sense by itself is not shown to plugins
	}
	for _, t := range targets {
		here, err := v.meant(spec, o, t)
		if err != nil {
			return err
		}
		if here == nil {
			continue
		}
		more, err := v.target(ctx, here, t)
		if err != nil {
			return err
		}
		v.add(more)
	}
	return nil
}

// meant is the lab as it is for a target, which a lab may ask about; nil if it makes no sense there.
func (v *vetting) meant(spec *schema.Spec, o schema.Options, t lab.Target) (*schema.Spec, error) {
	if !spec.Targeted() || o.Target == t.Name {
		return spec, nil
	}
	o.Target = t.Name
	here, err := schema.Load(o)
	var es schema.Errors
	if errors.As(err, &es) {
		v.add(located(es))
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	found, sound := vetLab(here)
	v.add(found)
	if !sound {
		return nil, nil
	}
	return here, nil
}

// plugin is the plugin of a provider, which is started once for all labs.
func (v *vetting) plugin(ctx context.Context, name string) (*rpc.Client, error) {
	if p := v.plugins[name]; p != nil {
		return p, nil
	}
	p, err := launch(ctx, v.cli, v.home, name)
	if err == nil {
		v.plugins[name] = p
	}
	return p, err
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

// target asks a target's plugin what it makes of the options and the lab.
func (v *vetting) target(ctx context.Context, spec *schema.Spec, t lab.Target) ([]view.LocatedFinding, error) {
	if found := check.On(spec.Lab, t); found != nil {
		return findings(spec, found), nil
	}
	path := "targets." + t.Name
	client, err := v.plugin(ctx, t.Provider)
	var missing *provider.Error
	if errors.As(err, &missing) && missing.Code == provider.Missing {
		x := place(spec.Pos(path + ".provider"))
		x.Path, x.Text, x.Warning = path+".provider", "not checked against this target: "+missing.Text, true
		return []view.LocatedFinding{x}, nil
	}
	if err != nil {
		return nil, err
	}
	p, err := provide(spec, client, v.home, t)
	var es schema.Errors
	switch {
	case errors.As(err, &es):
		return located(es), nil
	case err != nil:
		return one(spec, path, err), nil
	}
	l := spec.Lab
	l.Target = t.Name
	seeds, err := guest.Seeds(l, guest.Keys{}, nil)
	if err != nil {
		return nil, err
	}
	if _, err := p.Expand(l.Within(), seeds); err != nil {
		return refusals(spec, t, err), nil
	}
	return filtered(spec, client.Description, p, t)
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

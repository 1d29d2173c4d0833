package main

import (
	"fmt"

	"github.com/labctl-dev/labctl/check/reach"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/schema"
)

// filtered is what a target's host changes about the proof of a lab, where it filters packets by rules of its own: a
// cloud's firewall. The lab has been proven by itself and is one that the provider takes.
func filtered(spec *schema.Spec, d provider.Description, p provider.Provider, t lab.Target) ([]view.LocatedFinding, error) {
	f, ok := p.(provider.Filterer)
	if !ok || !d.Has(provider.Filters) {
		return nil, nil
	}
	l := spec.Lab
	l.Target = t.Name
	filter, err := f.Filter(l.Within())
	if err != nil || len(filter.Networks) == 0 {
		return nil, err
	}
	found, err := reach.VetBehind(filter.Lab, filter.Filter)
	if err != nil {
		return nil, fmt.Errorf("cannot prove lab %s behind the filter of target %s: %w", l.Name, t.Name, err)
	}
	for i := range found {
		found[i].Text = fmt.Sprintf("on target %s (%s): %s", t.Name, t.Provider, found[i].Text)
	}
	return findings(spec, found), nil
}

// filtered is the proof behind the filter of the road's target; warnings are said, errors returned. What the provider
// refuses is left to the plan, which says it as Expand does.
func (r *road) filtered() error {
	t, err := r.flags.choose(r.spec.Lab)
	if err != nil {
		return err
	}
	found, err := filtered(r.spec, r.engine.Description, r.engine.Provider, t)
	switch provider.CodeOf(err) {
	case "":
		return r.warn(found)
	case provider.Unsupported, provider.Invalid:
		return nil
	}
	return err
}

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/check/reach"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/schema"
)

// hostFilter is what the host of l's target filters packets by, and the lab as it is there; nil where nothing is filtered.
func hostFilter(d provider.Description, p provider.Provider, l lab.Lab) (*provider.Filter, error) {
	f, ok := p.(provider.Filterer)
	if !ok || !d.Has(provider.Filters) {
		return nil, nil
	}
	filter, err := f.Filter(l.Within())
	if err != nil || len(filter.Networks) == 0 {
		return nil, err
	}
	return &filter, nil
}

// proveThere is the proof of l on its target, behind the host's own filter unless that is nil, with the lab as it is proven.
func proveThere(l lab.Lab, filter *provider.Filter) (lab.Lab, *reach.Proof, error) {
	if filter == nil {
		proof, err := reach.Prove(l)
		return l, proof, err
	}
	here := filter.Lab
	for _, m := range l.Machines { // which no provider is told of, and which are asked about like others
		if m.External.IsValid() {
			here.Machines = append(here.Machines, m)
		}
	}
	slices.SortFunc(here.Machines, func(a, b lab.Machine) int { return strings.Compare(a.Name, b.Name) })
	proof, err := reach.Behind(here, filter.Filter)
	return here, proof, err
}

// proven is a lab with its proof.
type proven struct {
	spec   *schema.Spec
	proof  *reach.Proof
	target string           // it is proven for that one; "" is by itself
	filter *provider.Filter // of the target's host; nil where it has none
}

// proof is that of a lab by itself, or on the target that was named, as everybody who asks there would have it.
func (c *cli) proof(ctx context.Context, f labFlags) (proven, error) {
	spec, p, err := f.proof()
	out := proven{spec: spec, proof: p}
	if err != nil || f.target == "" {
		return out, err
	}
	t, err := f.choose(spec.Lab)
	if err != nil {
		return out, err
	}
	v, err := c.newVetting()
	if err != nil {
		return out, err
	}
	defer v.close()
	client, err := v.plugin(ctx, t.Provider)
	if provider.CodeOf(err) == provider.Missing {
		x := place(spec.Pos(lab.Path("targets", t.Name) + ".provider"))
		x.Warning, x.Text = true, fmt.Sprintf("proven without what target %s may filter itself: %v", t.Name, err)
		return out, c.warn([]view.LocatedFinding{x})
	}
	if err != nil {
		return out, err
	}
	host, err := provide(spec, client, v.home, t)
	if err != nil {
		return out, err
	}
	l := spec.Lab
	l.Target, out.target = t.Name, t.Name
	out.filter, err = hostFilter(client.Description, host, l)
	if err == nil && out.filter != nil { // else it is what was proven already
		_, out.proof, err = proveThere(l, out.filter)
	}
	if code := provider.CodeOf(err); code == provider.Unsupported || code == provider.Invalid {
		return out, &findingsError{refusals(spec, t, err)}
	}
	return out, err
}

// filtered is what a target's host changes about the proof of a lab, where it filters packets by rules of its own: a
// cloud's firewall. The lab has been proven by itself and is one that the provider takes.
func filtered(spec *schema.Spec, d provider.Description, p provider.Provider, t lab.Target) ([]view.LocatedFinding, error) {
	l := spec.Lab
	l.Target = t.Name
	filter, err := hostFilter(d, p, l)
	if err != nil || filter == nil {
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

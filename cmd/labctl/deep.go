package main

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/labctl-dev/labctl/engine"
	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// deepTime is how long looking into one machine may take.
const deepTime = 5 * time.Minute

// plan plans the lab; with f.deep it looks into its running machines first, so that what differs there is mended like
// everything else.
func (r *road) plan(ctx context.Context, f planFlags) (plan.Plan, engine.PlanOptions, error) {
	o, err := r.planOptions(ctx, f)
	if err != nil {
		return plan.Plan{}, o, err
	}
	if f.deep {
		inside, err := r.differences(ctx, deepTime)
		if err != nil {
			return plan.Plan{}, o, err
		}
		d := &deep{Provider: r.engine.Provider, description: r.engine.Description, differ: map[string]bool{}}
		for machine, ds := range inside {
			d.differ[machine] = len(ds) > 0
		}
		r.engine.Provider = d
	}
	o.Measure, o.Price, o.PriceTable = true, true, f.prices
	p, err := r.engine.Plan(ctx, r.lab, o)
	if err == nil {
		p.Advice, err = r.gains(p)
	}
	return p, o, err
}

// deep is a provider that knows which machines differ inside: a mark on their outside says what was true once, and is
// not believed until the inside has been converged again.
type deep struct {
	provider.Provider
	description provider.Description
	mu          sync.Mutex
	differ      map[string]bool // by machine
}

// disbelieved stands in place of the digest of a machine that differs inside.
const disbelieved = "differs inside"

// Observe implements provider.Provider.
func (d *deep) Observe(ctx context.Context, l lab.Lab) ([]provider.Observed, error) {
	all, err := d.Provider.Observe(ctx, l)
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, o := range all {
		if d.differ[o.Machine] && d.guest(o.Addr) {
			all[i].Attrs = maps.Clone(o.Attrs)
			all[i].Attrs["digest"] = disbelieved
		}
	}
	return all, err
}

// Update implements provider.Provider. The engine has converged the guest when it comes here.
func (d *deep) Update(ctx context.Context, o provider.Observed, r provider.Resource, p provider.Progress) error {
	if d.guest(r.Addr) && o.Attrs["digest"] == disbelieved {
		o.Attrs = maps.Clone(r.Attrs)
		d.mu.Lock()
		d.differ[r.Machine] = false
		d.mu.Unlock()
	}
	return d.Provider.Update(ctx, o, r, p)
}

// Capacity implements provider.Measurer, which is asked only of a provider that has announced it.
func (d *deep) Capacity(ctx context.Context, l lab.Lab) (provider.Capacity, error) {
	return d.Provider.(provider.Measurer).Capacity(ctx, l)
}

// Prices implements provider.Pricer, likewise.
func (d *deep) Prices(ctx context.Context, q provider.PriceQuery) (provider.Prices, error) {
	return d.Provider.(provider.Pricer).Prices(ctx, q)
}

// Quotas implements provider.Quoter, likewise.
func (d *deep) Quotas(ctx context.Context, q provider.QuotaQuery) (provider.Quotas, error) {
	return d.Provider.(provider.Quoter).Quotas(ctx, q)
}

func (d *deep) guest(a provider.Addr) bool {
	k, _ := d.description.Kind(a.Kind)
	_, ok := k.Attrs["digest"]
	return k.Guest && ok
}

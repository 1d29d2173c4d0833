package engine

import (
	"context"

	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/provider"
)

// cost estimates what the lab costs now and once p is done; nil where the provider knows no prices.
func (e Engine) cost(ctx context.Context, p plan.Plan, observed []provider.Observed, table []byte) (*plan.Cost, error) {
	pr, ok := e.Provider.(provider.Pricer)
	if !ok || !e.Description.Has(provider.Estimates) {
		if table != nil {
			return nil, &provider.Error{Op: "estimate costs", Code: provider.Unsupported, Text: "machines of the provider " + e.Description.Name + " have no price"}
		}
		return nil, nil
	}
	before, err := pr.Prices(ctx, provider.PriceQuery{Things: plan.Things(observed), Table: table})
	if err != nil {
		return nil, about("estimate costs", err)
	}
	after, err := pr.Prices(ctx, provider.PriceQuery{Things: p.Left(observed), Table: table})
	if err != nil {
		return nil, about("estimate costs", err)
	}
	if len(before.Items)+len(after.Items)+len(after.Unknown) == 0 {
		return nil, nil
	}
	return &plan.Cost{
		Currency: after.Currency, Date: after.Date, Place: after.Place, Before: rate(before), After: rate(after),
		Items: after.Items, Unknown: after.Unknown, Without: after.Without,
	}, nil
}

func rate(p provider.Prices) plan.Rate {
	var r plan.Rate
	for _, i := range p.Items {
		r.Hourly += i.Hourly
	}
	r.Monthly = r.Hourly * provider.HoursPerMonth
	return r
}

package engine

import (
	"context"

	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/engine/room"
	"github.com/labctl-dev/labctl/provider"
)

// quotas asks what the host allows of that which p takes more of, and adds the answer to what is known of its room. A plan
// that takes nothing more asks nobody.
func (e Engine) quotas(ctx context.Context, p plan.Plan, observed []provider.Observed) (*room.Verdict, error) {
	q, ok := e.Provider.(provider.Quoter)
	if !ok || !e.Description.Has(provider.Allots) || p.Empty() {
		return p.Room, nil
	}
	all, err := q.Quotas(ctx, provider.QuotaQuery{Before: plan.Things(observed), After: p.Left(observed)})
	if err != nil {
		return nil, about("ask for quotas", err)
	}
	return room.Quotas(p.Room, all), nil
}

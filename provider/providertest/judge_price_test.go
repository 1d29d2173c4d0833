package providertest_test

import (
	"context"
	"errors"
	"time"

	"github.com/labctl-dev/labctl/provider"
)

// Prices passes an estimate on, with a mistake.
func (b *broken) Prices(ctx context.Context, q provider.PriceQuery) (provider.Prices, error) {
	out, err := b.Provider.(provider.Pricer).Prices(ctx, q)
	switch {
	case b.how == "prices: of strangers" && err == nil:
		out.Currency, out.Date = "USD", "2026-01-01"
		out.Items = append(out.Items, provider.Price{What: "machine", Hourly: 1})
	case b.how == "prices: any table" && q.Table != nil:
		return provider.Prices{}, nil
	case b.how == "prices: undated" && err == nil && len(q.Things) > 0:
		out.Items = append(out.Items, provider.Price{Addr: q.Things[0].Addr, Machine: q.Things[0].Machine, What: "machine", Hourly: 1})
	}
	return out, err
}

// Expired likewise.
func (b *broken) Expired(ctx context.Context, now time.Time) ([]provider.Remnant, error) {
	all, err := b.Provider.(provider.Expirer).Expired(ctx, now)
	if b.how == "expired: deaf" && errors.Is(ctx.Err(), context.Canceled) {
		return nil, nil
	}
	return all, err
}

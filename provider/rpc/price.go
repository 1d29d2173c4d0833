package rpc

import (
	"context"
	"time"

	"github.com/labctl-dev/labctl/provider"
)

// Prices implements provider.Pricer.
func (r *remote) Prices(ctx context.Context, q provider.PriceQuery) (provider.Prices, error) {
	answer, err := r.c.call(ctx, "estimate costs", "Prices", request{Provider: r.handle, Query: &q})
	if err != nil || answer.Prices == nil {
		return provider.Prices{}, err
	}
	return *answer.Prices, nil
}

// Expired implements provider.Expirer.
func (r *remote) Expired(ctx context.Context, now time.Time) ([]provider.Remnant, error) {
	answer, err := r.c.call(ctx, "look for expired labs", "Expired", request{Provider: r.handle, Now: &now})
	return answer.Remnants, err
}

func (s *server) prices(ctx context.Context, r request) (reply, error) {
	p, err := s.get(r.Provider)
	if err != nil {
		return reply{}, err
	}
	b, ok := p.(provider.Pricer)
	if !ok || !s.plugin.Description.Has(provider.Estimates) {
		return reply{}, cannot(provider.Estimates)
	}
	if r.Query == nil {
		return reply{}, missing("query")
	}
	prices, err := b.Prices(ctx, *r.Query)
	return reply{Prices: &prices}, err
}

func (s *server) expired(ctx context.Context, r request) (reply, error) {
	p, err := s.get(r.Provider)
	if err != nil {
		return reply{}, err
	}
	e, ok := p.(provider.Expirer)
	if !ok || !s.plugin.Description.Has(provider.Expires) {
		return reply{}, cannot(provider.Expires)
	}
	if r.Now == nil {
		return reply{}, missing("time")
	}
	all, err := e.Expired(ctx, *r.Now)
	return reply{Remnants: all}, err
}

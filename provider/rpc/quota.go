package rpc

import (
	"context"

	"github.com/labctl-dev/labctl/provider"
)

// Quotas implements provider.Quoter.
func (r *remote) Quotas(ctx context.Context, q provider.QuotaQuery) (provider.Quotas, error) {
	answer, err := r.c.call(ctx, "ask for quotas", "Quotas", request{Provider: r.handle, Takes: &q})
	if err != nil || answer.Quotas == nil {
		return provider.Quotas{}, err
	}
	return *answer.Quotas, nil
}

func (s *server) quotas(ctx context.Context, r request) (reply, error) {
	p, err := s.get(r.Provider)
	if err != nil {
		return reply{}, err
	}
	b, ok := p.(provider.Quoter)
	if !ok || !s.plugin.Description.Has(provider.Allots) {
		return reply{}, cannot(provider.Allots)
	}
	if r.Takes == nil {
		return reply{}, missing("takes")
	}
	all, err := b.Quotas(ctx, *r.Takes)
	return reply{Quotas: &all}, err
}

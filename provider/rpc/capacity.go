package rpc

import (
	"context"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// Capacity implements provider.Measurer.
func (r *remote) Capacity(ctx context.Context, l lab.Lab) (provider.Capacity, error) {
	answer, err := r.c.call(ctx, "measure the host", "Capacity", request{Provider: r.handle, Lab: &l})
	if err != nil || answer.Capacity == nil {
		return provider.Capacity{}, err
	}
	return *answer.Capacity, nil
}

func (s *server) capacity(ctx context.Context, r request) (reply, error) {
	p, err := s.get(r.Provider)
	if err != nil {
		return reply{}, err
	}
	m, ok := p.(provider.Measurer)
	if !ok || !s.plugin.Description.Has(provider.Measures) {
		return reply{}, cannot(provider.Measures)
	}
	if r.Lab == nil {
		return reply{}, missing("lab")
	}
	c, err := m.Capacity(ctx, *r.Lab)
	return reply{Capacity: &c}, err
}

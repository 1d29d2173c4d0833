package rpc

import (
	"context"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// Filter implements provider.Filterer.
func (r *remote) Filter(l lab.Lab) (provider.Filter, error) {
	ctx, cancel := context.WithTimeout(context.Background(), r.c.timeout)
	defer cancel()
	answer, err := r.c.call(ctx, "ask for the filter of lab "+l.Name, "Filter", request{Provider: r.handle, Lab: &l})
	if err != nil || answer.Filter == nil {
		return provider.Filter{}, err
	}
	return *answer.Filter, nil
}

func (s *server) filter(_ context.Context, r request) (reply, error) {
	p, err := s.get(r.Provider)
	if err != nil {
		return reply{}, err
	}
	f, ok := p.(provider.Filterer)
	if !ok || !s.plugin.Description.Has(provider.Filters) {
		return reply{}, cannot(provider.Filters)
	}
	if r.Lab == nil {
		return reply{}, missing("lab")
	}
	found, err := f.Filter(*r.Lab)
	return reply{Filter: &found}, err
}

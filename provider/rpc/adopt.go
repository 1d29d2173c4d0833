package rpc

import (
	"context"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// Adoptable implements provider.Adopter.
func (r *remote) Adoptable(ctx context.Context, l lab.Lab) ([]provider.Candidate, error) {
	answer, err := r.c.call(ctx, "look for what can be adopted", "Adoptable", request{Provider: r.handle, Lab: &l})
	return answer.Candidates, err
}

func (s *server) adoptable(ctx context.Context, r request) (reply, error) {
	p, err := s.get(r.Provider)
	if err != nil {
		return reply{}, err
	}
	a, ok := p.(provider.Adopter)
	if !ok || !s.plugin.Description.Has(provider.Adopts) {
		return reply{}, cannot(provider.Adopts)
	}
	if r.Lab == nil {
		return reply{}, missing("lab")
	}
	all, err := a.Adoptable(ctx, *r.Lab)
	return reply{Candidates: all}, err
}

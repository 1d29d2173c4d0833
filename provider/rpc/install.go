package rpc

import (
	"context"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// Installations implements provider.Installer.
func (r *remote) Installations(ctx context.Context, l lab.Lab) ([]provider.Installation, error) {
	answer, err := r.c.call(ctx, "ask how far installations are", "Installations", request{Provider: r.handle, Lab: &l})
	return answer.Installations, err
}

// StartOnce implements provider.Starter.
func (r *remote) StartOnce(ctx context.Context, l lab.Lab, s provider.Start, p provider.Progress) error {
	a := provider.Addr{Provider: r.c.name, Kind: r.c.machineKind(), Name: s.Machine}
	return r.change(ctx, "start", "StartOnce", a, request{Lab: &l, Start: &s}, p)
}

func (s *server) installations(ctx context.Context, r request) (reply, error) {
	p, err := s.get(r.Provider)
	if err != nil {
		return reply{}, err
	}
	i, ok := p.(provider.Installer)
	if !ok || !s.plugin.Description.Has(provider.Installs) {
		return reply{}, cannot(provider.Installs)
	}
	if r.Lab == nil {
		return reply{}, missing("lab")
	}
	all, err := i.Installations(ctx, *r.Lab)
	return reply{Installations: all}, err
}

func (s *server) startOnce(ctx context.Context, p provider.Provider, r request, f provider.Progress) error {
	b, ok := p.(provider.Starter)
	if !ok || !s.plugin.Description.Has(provider.Starts) {
		return cannot(provider.Starts)
	}
	if r.Lab == nil || r.Start == nil {
		return missing("lab or no start")
	}
	return b.StartOnce(ctx, *r.Lab, *r.Start, f)
}

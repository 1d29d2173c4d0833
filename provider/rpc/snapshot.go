package rpc

import (
	"context"

	"github.com/labctl-dev/labctl/provider"
)

func (s *server) snapshots(ctx context.Context, r request) (reply, error) {
	p, err := s.get(r.Provider)
	if err != nil {
		return reply{}, err
	}
	k, err := s.snapshotter(p, r)
	if err != nil {
		return reply{}, err
	}
	kept, err := k.Snapshots(ctx, *r.Lab)
	return reply{Snapshots: kept}, err
}

func (s *server) takeSnapshot(ctx context.Context, p provider.Provider, r request, f provider.Progress) error {
	k, err := s.namesSnapshot(p, r)
	if err != nil {
		return err
	}
	return k.TakeSnapshot(ctx, *r.Lab, *r.Snapshot, f)
}

func (s *server) restoreSnapshot(ctx context.Context, p provider.Provider, r request, f provider.Progress) error {
	k, err := s.namesSnapshot(p, r)
	if err != nil {
		return err
	}
	return k.RestoreSnapshot(ctx, *r.Lab, r.Snapshot.Name, f)
}

func (s *server) removeSnapshot(ctx context.Context, p provider.Provider, r request, f provider.Progress) error {
	k, err := s.namesSnapshot(p, r)
	if err != nil {
		return err
	}
	return k.RemoveSnapshot(ctx, *r.Lab, r.Snapshot.Name, f)
}

func (s *server) snapshotter(p provider.Provider, r request) (provider.Snapshotter, error) {
	k, ok := p.(provider.Snapshotter)
	if !ok || !s.plugin.Description.Has(provider.Snapshots) {
		return nil, cannot(provider.Snapshots)
	}
	if r.Lab == nil {
		return nil, missing("lab")
	}
	return k, nil
}

// namesSnapshot is snapshotter for a request that must name a snapshot.
func (s *server) namesSnapshot(p provider.Provider, r request) (provider.Snapshotter, error) {
	k, err := s.snapshotter(p, r)
	if err == nil && r.Snapshot == nil {
		err = missing("snapshot")
	}
	return k, err
}

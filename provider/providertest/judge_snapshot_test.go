package providertest_test

import (
	"context"
	"strings"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// The broken provider's snapshots.

func (b *broken) inner() provider.Snapshotter { return b.Provider.(provider.Snapshotter) }

func (b *broken) Snapshots(ctx context.Context, l lab.Lab) ([]provider.Snapshot, error) {
	all, err := b.inner().Snapshots(ctx, l)
	for i := range all {
		all[i].Complete = all[i].Complete || b.how == "snapshot: whole"
	}
	return all, err
}

func (b *broken) TakeSnapshot(ctx context.Context, l lab.Lab, s provider.Snapshot, p provider.Progress) error {
	err := b.inner().TakeSnapshot(ctx, l, s, p)
	switch {
	case b.how == "snapshot: any name" && provider.CheckSnapshotName(s.Name) != nil:
		return nil
	case b.how == "snapshot: again" && err != nil && strings.Contains(err.Error(), "there is one"):
		return nil
	case b.how == "snapshot: drift":
		b.each(ctx, l, "guest", func(o provider.Observed) { _ = b.Provider.Delete(ctx, o, p) })
	}
	return err
}

func (b *broken) RestoreSnapshot(ctx context.Context, l lab.Lab, name string, p provider.Progress) error {
	put := func(o provider.Observed) {
		r := provider.Resource{Addr: o.Addr, Lab: o.Lab, Attrs: o.Attrs, Needs: o.Needs, Machine: o.Machine}
		_ = b.Provider.Update(ctx, o, r, p)
	}
	undo := func() {}
	if b.how == "snapshot: knows better" {
		b.each(ctx, l, "guest", func(o provider.Observed) {
			before := undo
			undo = func() { before(); put(o) }
		})
	}
	if b.how == "snapshot: says nothing" {
		p = provider.Silent
	}
	err := b.inner().RestoreSnapshot(ctx, l, name, p)
	switch b.how {
	case "snapshot: stays on":
		b.each(ctx, l, "machine", func(o provider.Observed) { o.Attrs["power"] = "on"; put(o) })
	case "snapshot: takes all":
		b.each(ctx, l, "disk", func(o provider.Observed) {
			if strings.HasSuffix(o.Addr.Name, "/since") {
				_ = b.Provider.Delete(ctx, o, p)
			}
		})
	case "snapshot: torn":
		if provider.CodeOf(err) == provider.Invalid {
			return nil
		}
	}
	undo()
	return err
}

func (b *broken) RemoveSnapshot(ctx context.Context, l lab.Lab, name string, p provider.Progress) error {
	if b.how == "snapshot: stays" {
		return nil
	}
	return b.inner().RemoveSnapshot(ctx, l, name, p)
}

// each calls f for what there is of a kind.
func (b *broken) each(ctx context.Context, l lab.Lab, kind string, f func(provider.Observed)) {
	found, _ := b.Provider.Observe(ctx, l)
	for _, o := range found {
		if o.Addr.Kind == kind {
			f(o)
		}
	}
}

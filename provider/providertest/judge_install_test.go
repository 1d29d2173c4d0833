package providertest_test

import (
	"context"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

func (b *broken) Installations(ctx context.Context, l lab.Lab) ([]provider.Installation, error) {
	all, err := b.Provider.(provider.Installer).Installations(ctx, l)
	if b.how == "installs: strangers" {
		all = append(all, provider.Installation{Machine: "nobody"})
	}
	return all, err
}

func (b *broken) StartOnce(ctx context.Context, l lab.Lab, s provider.Start, p provider.Progress) error {
	switch {
	case b.how == "start: of nobody":
		return nil
	case b.how == "start: drifts" && s.Machine != "nobody":
		if err := b.forget(ctx, l, s.Machine); err != nil {
			return err
		}
	}
	return b.Provider.(provider.Starter).StartOnce(ctx, l, s, p)
}

// forget deletes what is known of a machine's inside.
func (b *broken) forget(ctx context.Context, l lab.Lab, machine string) error {
	found, err := b.Provider.Observe(ctx, l)
	if err != nil {
		return err
	}
	for _, o := range found {
		if o.Machine == machine && o.Addr.Kind == "guest" {
			return b.Delete(ctx, o, provider.Silent)
		}
	}
	return nil
}

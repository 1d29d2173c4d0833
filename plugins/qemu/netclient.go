package qemu

import (
	"context"

	"github.com/labctl-dev/labctl/plugins/qemu/netd"
	"github.com/labctl-dev/labctl/provider"
)

// SHIM until netd's client is there.
func (q *qemu) putNetwork(ctx context.Context, r provider.Resource) error    { return nil }
func (q *qemu) deleteNetwork(ctx context.Context, o provider.Observed) error { return nil }
func stopNetwork(ctx context.Context, ds dirs) (bool, error)                 { return true, nil }
func networksOf(ctx context.Context, ds dirs) (map[string]networkAttrs, int, error) {
	_ = netd.Version
	return nil, 0, nil
}

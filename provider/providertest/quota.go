package providertest

import (
	"context"
	"slices"
	"testing"

	"github.com/labctl-dev/labctl/provider"
)

// quotas checks that a lab that is not there yet takes something or nothing, and one that is takes nothing more.
func (w world) quotas(t *testing.T, q provider.Quoter) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := q.Quotas(ctx, provider.QuotaQuery{}); provider.CodeOf(err) != provider.Canceled {
		t.Errorf("a canceled call says so: Quotas: %v", err)
	}
	ask := func(before, after []provider.Resource) (out provider.Quotas) {
		w.call(t, "Quotas answers", func(ctx context.Context) (err error) {
			out, err = q.Quotas(ctx, provider.QuotaQuery{Before: before, After: after})
			return err
		})
		return out
	}
	things := w.desired(t)
	all := ask(nil, things).All
	for _, x := range all {
		if x.Name == "" || x.Place == "" || x.Needs <= 0 || x.Used < 0 {
			t.Errorf("a quota has a name and a place, and is of what is taken: %+v", x)
		}
	}
	if !slices.IsSortedFunc(all, provider.Quota.Compare) {
		t.Errorf("quotas are sorted: %+v", all)
	}
	if more := ask(things, things).All; len(more) > 0 {
		t.Errorf("what is there already takes nothing more: %+v", more)
	}
}

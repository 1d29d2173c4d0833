package memory

import (
	"context"
	"slices"

	"github.com/labctl-dev/labctl/provider"
)

// Quotas implements provider.Quoter: of a kind there may be as many things as the target says.
func (p *memory) Quotas(ctx context.Context, q provider.QuotaQuery) (provider.Quotas, error) {
	if err := ctx.Err(); err != nil {
		return provider.Quotas{}, provider.Wrap("ask for quotas", provider.Addr{}, err)
	}
	limits, _ := p.options.Values["quotas"].(map[string]any)
	judge, _ := p.options.Values["capacity"].(string)
	out := provider.Quotas{Judge: provider.Judgement(judge)}
	count := func(all []provider.Resource, kind string) (names []string) {
		for _, r := range all {
			if r.Addr.Kind == kind {
				names = append(names, r.Addr.Name)
			}
		}
		return names
	}
	for kind, limit := range limits {
		before, after := count(q.Before, kind), count(q.After, kind)
		if n, ok := limit.(float64); ok && len(after) > len(before) {
			more := slices.DeleteFunc(after, func(name string) bool { return slices.Contains(before, name) })
			out.All = append(out.All, provider.Quota{Name: kind, Place: "memory", Limit: n, Used: float64(len(before)), Needs: float64(len(after) - len(before)), By: more})
		}
	}
	slices.SortFunc(out.All, provider.Quota.Compare)
	return out, nil
}

package gce

import (
	"fmt"
	"net/netip"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// Filter implements provider.Filterer: every VPC is filtered, by the very resources that Expand makes of the policy.
func (g *gce) Filter(l lab.Lab) (provider.Filter, error) {
	x, err := expanded(l, nil, g.opts)
	if err != nil {
		return provider.Filter{}, err
	}
	out := provider.Filter{Lab: x.lab, Filter: lab.Filter{Admin: admin(x.lab)}}
	for _, n := range x.lab.Networks {
		out.Networks = append(out.Networks, n.Name)
	}
	for _, r := range x.found {
		if r.Addr.Kind != kindFirewall {
			continue
		}
		rule, err := filterRule(r)
		if err != nil {
			return provider.Filter{}, provider.Wrap("filter", r.Addr, err)
		}
		out.Rules = append(out.Rules, rule)
	}
	return out, nil
}

// filterRule is a VPC rule in the lab's terms.
func filterRule(r provider.Resource) (lab.FilterRule, error) {
	var a firewallAttrs
	if err := decode(r.Addr, r.Attrs, &a); err != nil {
		return lab.FilterRule{}, err
	}
	out := lab.FilterRule{Name: r.Addr.String(), Network: a.Network, Priority: a.Priority}
	for _, side := range []struct {
		texts []string
		into  *[]netip.Prefix
	}{{a.From, &out.From}, {a.To, &out.To}} {
		for _, text := range side.texts {
			p, err := netip.ParsePrefix(text)
			if err != nil {
				return out, fmt.Errorf("prefix %q: %w", text, err)
			}
			*side.into = append(*side.into, p)
		}
	}
	for _, text := range a.Allow {
		s, err := lab.ParseService(text)
		if text == "all" {
			s, err = lab.Service{Proto: lab.Any}, nil
		}
		if err != nil {
			return out, err
		}
		out.Services = append(out.Services, s)
	}
	return out, nil
}

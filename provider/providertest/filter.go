package providertest

import (
	"reflect"
	"slices"
	"testing"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// filters checks that a filter is the same twice, speaks of the lab's own networks and machines, and knows all addresses.
func (w world) filters(t *testing.T, f provider.Filterer) {
	one, err := f.Filter(w.l)
	if err != nil {
		t.Errorf("Filter answers for a lab that Expand takes: %v", err)
		return
	}
	again, err := f.Filter(w.l)
	if err != nil || !reflect.DeepEqual(one, again) {
		t.Errorf("Filter is pure: %v\n%+v\n%+v", err, one, again)
	}
	if one.Lab.Name != w.l.Name || len(one.Lab.Machines) != len(w.l.Machines) {
		t.Errorf("a filter is of the lab that was asked about: %s with %d machines", one.Lab.Name, len(one.Lab.Machines))
	}
	named := map[string]bool{}
	for _, r := range one.Rules {
		if r.Name == "" || named[r.Name] || len(r.Services) == 0 {
			t.Errorf("a filter's rules have names of their own, and services: %+v", r)
		}
		named[r.Name] = true
		if !slices.Contains(one.Networks, r.Network) {
			t.Errorf("a filter's rules are on networks that are filtered: %+v", r)
		}
	}
	for _, n := range one.Networks {
		if !slices.ContainsFunc(w.l.Networks, func(x lab.Network) bool { return x.Name == n }) {
			t.Errorf("a filter is on the lab's networks: %s", n)
		}
	}
	if len(one.Networks) == 0 {
		return
	}
	for _, m := range one.Lab.Machines {
		for _, n := range m.NICs {
			if slices.Contains(one.Networks, n.Network) && !n.Addr.IsValid() && !n.Addr6.IsValid() {
				t.Errorf("a filter's lab has every address: not of %s on %s", m.Name, n.Network)
			}
		}
	}
}

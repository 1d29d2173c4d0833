package nft_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/lab"
)

// TestResolver: where a cloud answers for names itself, its answers are no forgeries to a router that the world is not behind.
func TestResolver(t *testing.T) {
	l := lab.Complete(lab.Lab{
		Name: "x", Target: "cloud", Targets: []lab.Target{{Name: "cloud", Options: []byte(`{"dns": "cloud"}`)}, {Name: "local"}},
		Networks: []lab.Network{{Name: "a", CIDR: netip.MustParsePrefix("10.1.0.0/24")}, {Name: "b", CIDR: netip.MustParsePrefix("10.2.0.0/24")}},
		Machines: []lab.Machine{{Name: "r", Router: true, Routing: &lab.Routing{}, NICs: []lab.NIC{{Network: "a"}, {Network: "b"}}}},
	})
	metadata := netip.MustParsePrefix("169.254.169.254/32")
	for target, want := range map[string]bool{"cloud": true, "local": false} {
		l.Target = target
		sets, err := nft.All(l)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, c := range sets["r"].Chains {
			for _, r := range c.Rules {
				if c.Hook == nft.Early && r.Match.Src.Not && !r.Match.V6 {
					found++
					if slices.Contains(r.Match.Src.Prefixes, metadata) != want {
						t.Errorf("%s: %s drops what is not from %v", target, r.Origin.Name, r.Match.Src.Prefixes)
					}
				}
			}
		}
		if found != 2 {
			t.Errorf("%s: %d rules against forgeries", target, found)
		}
	}
}

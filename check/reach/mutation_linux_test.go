package reach

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/lab"
)

// TestRealityNotices breaks the rules that the kernel runs, and leaves the proof as it is: the comparison must see each
// of these errors within a few labs. A comparison that cannot fail would prove nothing.
func TestRealityNotices(t *testing.T) {
	if testing.Short() {
		t.Skip("it makes network namespaces by the dozen")
	}
	need(t)
	for name, change := range map[string]func(*nft.Chain) bool{
		"no anti-spoofing": func(c *nft.Chain) bool {
			n := len(c.Rules)
			c.Rules = slices.DeleteFunc(c.Rules, func(r nft.Rule) bool { return r.Origin.Kind == nft.AntiSpoof })
			return len(c.Rules) != n
		},
		"another port": func(c *nft.Chain) bool {
			return edit(c, func(r *nft.Rule) bool {
				if r.Origin.Kind != nft.FromPolicy || r.Match.Proto != lab.TCP || len(r.Match.Dport) == 0 {
					return false
				}
				r.Match.Dport = []nft.Ports{{From: 8080, To: 8080}}
				return true
			})
		},
		"no masquerade": func(c *nft.Chain) bool {
			if c.Hook != nft.Leave {
				return false
			}
			c.Rules = nil
			return true
		},
		"open connections are cut": func(c *nft.Chain) bool {
			return edit(c, func(r *nft.Rule) bool {
				if !slices.Contains(r.Match.State, nft.Established) {
					return false
				}
				r.Action = nft.Drop
				return true
			})
		},
		"what is no connection passes": func(c *nft.Chain) bool {
			return c.Hook == nft.Forward && edit(c, func(r *nft.Rule) bool {
				if !slices.Contains(r.Match.State, nft.Invalid) {
					return false
				}
				r.Action = nft.Accept
				return true
			})
		},
		"published elsewhere": func(c *nft.Chain) bool {
			return edit(c, func(r *nft.Rule) bool {
				if r.Action != nft.DNAT {
					return false
				}
				r.To = netip.AddrPortFrom(r.To.Addr(), r.To.Port()+1000)
				return true
			})
		},
		"the published port's target is open to all": func(c *nft.Chain) bool {
			return edit(c, func(r *nft.Rule) bool {
				changed := r.Match.DNATed
				r.Match.DNATed = false
				return changed
			})
		},
		"a prefix too wide": func(c *nft.Chain) bool {
			return edit(c, func(r *nft.Rule) bool {
				if r.Origin.Kind != nft.FromPolicy || r.Match.Src.Not || len(r.Match.Src.Prefixes) == 0 || r.Match.V6 {
					return false
				}
				r.Match.Src.Prefixes = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
				return true
			})
		},
		"everything is accepted": func(c *nft.Chain) bool {
			c.Rules = slices.DeleteFunc(c.Rules, func(r nft.Rule) bool { return r.Origin.Kind == nft.DefaultRule })
			c.Drop = false
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := uint64(0); seed <= 60; seed++ {
				l, limit := random(seed), 150
				if seed == 0 { // everything about a small lab first
					l, limit = lab.Arrange(deploy3()), 1000
				}
				p, err := Prove(l)
				if err != nil {
					t.Fatal(err)
				}
				sets, changed := map[string]nft.Ruleset{}, false
				for m, set := range p.sets {
					set.Chains = slices.Clone(set.Chains)
					for i := range set.Chains {
						set.Chains[i].Rules = slices.Clone(set.Chains[i].Rules)
						if change(&set.Chains[i]) {
							changed = true
						}
					}
					sets[m] = set
				}
				if !changed {
					continue
				}
				var asked, open int64
				if d := disagreements(t, fmt.Sprint("m", len(name), "x", seed), p, sets, limit, 100*time.Millisecond, &asked, &open); len(d) > 0 {
					t.Logf("seed %d notices it by %d of %d packets, e.g. %s: %s", seed, len(d), asked, d[0].probe.packet, d[0].says)
					return
				}
			}
			t.Error("no lab notices it")
		})
	}
}

func edit(c *nft.Chain, change func(*nft.Rule) bool) bool {
	changed := false
	for i := range c.Rules {
		if change(&c.Rules[i]) {
			changed = true
		}
	}
	return changed
}

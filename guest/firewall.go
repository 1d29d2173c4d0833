package guest

import (
	"strings"

	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/lab"
)

// Firewall is a machine's packet filter.
type Firewall struct {
	Ruleset string `json:"ruleset"` // for nft -f
	// Forwarding is set once the ruleset is in force and never before: what turns a machine into a router.
	Forwarding []Sysctl `json:"forwarding"`
}

// Sysctl is a kernel setting, in the terms of sysctl.d(5): the key may hold "*", and is taken as it stands where
// another one has the same name in full.
type Sysctl struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

func firewall(r nft.Ruleset, m lab.Machine) *Firewall {
	f := &Firewall{Ruleset: string(r.Render()), Forwarding: []Sysctl{}}
	if m.Router {
		f.Forwarding, _ = routerSysctls()
	}
	return f
}

// sysctls are the settings that do not wait for a ruleset.
func sysctls(m lab.Machine) []Sysctl {
	if m.Router {
		_, rest := routerSysctls()
		return rest
	}
	if len(m.NICs) < 2 {
		return nil
	}
	// An answer may leave by another interface than the question came in by. Some distributions check that strictly;
	// the highest of this and the interface's own value counts, and 2 asks only that there is a way back at all.
	return []Sysctl{{"net.ipv4.conf.all.rp_filter", "2"}}
}

// routerSysctls are those of nft.Sysctls that turn forwarding on, and the others. What is said for "all" and "default"
// is said for every interface too, because for some settings the highest value counts.
func routerSysctls() (forwarding, rest []Sysctl) {
	for line := range strings.Lines(string(nft.Sysctls())) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), " = ")
		switch {
		case !ok:
		case strings.HasSuffix(key, "forward") || strings.HasSuffix(key, "forwarding"):
			forwarding = append(forwarding, Sysctl{key, value})
		default:
			rest = append(rest, Sysctl{key, value})
			if before, after, ok := strings.Cut(key, ".all."); ok {
				rest = append(rest, Sysctl{before + ".*." + after, value})
			}
		}
	}
	return forwarding, rest
}

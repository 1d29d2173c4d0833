package check

import (
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// On returns what of a lab cannot be made in a target because its roles do not run there, sorted by path; nil if all can.
func On(l lab.Lab, t lab.Target) []Finding {
	v := &vetter{lab: l}
	for _, m := range l.Machines {
		for _, r := range m.Roles {
			if len(r.Providers) == 0 || slices.Contains(r.Providers, t.Provider) || m.External.IsValid() {
				continue
			}
			why := ""
			if r.Why != "" {
				why = ": " + r.Why
			}
			v.error(m.Path("roles", r.Name), "machine %s cannot have the role %s in target %s, which is made by %s; it runs with %s%s",
				m.Name, r.Name, t.Name, t.Provider, strings.Join(r.Providers, ", "), why)
		}
	}
	return v.found
}

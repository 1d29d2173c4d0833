package engine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// known refuses names that nothing in the lab or the world goes by: a typing error must not become an empty plan. What a
// destroyed lab was made of can no longer be asked for, so there only plain names are looked at.
func known(l lab.Lab, desired []provider.Resource, observed []provider.Observed, destroy bool, names []string) error {
	for _, name := range names {
		if destroy && strings.Contains(name, "/") || goesBy(l, desired, observed, name) {
			continue
		}
		return &provider.Error{Op: "plan lab " + l.Name, Code: provider.Invalid,
			Text: fmt.Sprintf("nothing in it is called %q; a name is that of a machine or network, or an address such as \"disk/web/root\"", name)}
	}
	return nil
}

func goesBy(l lab.Lab, desired []provider.Resource, observed []provider.Observed, name string) bool {
	if _, ok := l.Machine(name); ok {
		return true
	}
	if _, ok := l.Network(name); ok {
		return true
	}
	for _, r := range desired {
		if plan.Named([]string{name}, r.Addr, r.Machine) {
			return true
		}
	}
	for _, o := range observed {
		if plan.Named([]string{name}, o.Addr, o.Machine) {
			return true
		}
	}
	return false
}

// waits names by machine those that its roles wait for, and who installs it.
func waits(l lab.Lab) map[string][]string {
	out := map[string][]string{}
	for _, m := range l.Machines {
		for _, w := range m.Guest.Waits {
			for _, c := range w.For {
				for _, other := range c.Machines(l)[1:] {
					if !slices.Contains(out[m.Name], other) {
						out[m.Name] = append(out[m.Name], other)
					}
				}
			}
		}
	}
	for machine, server := range installers(l) {
		if !slices.Contains(out[machine], server) {
			out[machine] = append(out[machine], server)
		}
	}
	return out
}

// installers names by machine the one that installs it, where that is one of the lab.
func installers(l lab.Lab) map[string]string {
	out := map[string]string{}
	for _, i := range l.Installs() {
		if i.Server != "" {
			out[i.Machine] = i.Server
		}
	}
	return out
}

// behind names by machine the routers that it is behind.
func behind(l lab.Lab) map[string][]string {
	t := lab.NewTopology(l)
	out := map[string][]string{}
	for _, m := range l.Machines {
		if rs := t.Behind(m.Name); len(rs) > 0 {
			out[m.Name] = rs
		}
	}
	return out
}

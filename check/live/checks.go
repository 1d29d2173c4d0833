package live

import (
	"slices"

	"github.com/labctl-dev/labctl/lab"
)

// Checks are the declared checks of a complete lab that a scope is about. Machines that are to be off ask nothing, nor
// do those that labctl has no account in.
func Checks(l lab.Lab, s Scope) []lab.Check {
	ways := lab.NewTopology(l)
	var out []lab.Check
	for _, c := range l.Checks {
		from, ok := l.Machine(c.From)
		ends := c.Machines(l)
		switch {
		case !ok || from.Power == lab.Off || !from.Enters():
		case s.Among != nil && slices.ContainsFunc(ends, func(m string) bool { return !slices.Contains(s.Among, m) }):
		case s.From != "" && s.From != c.From:
		case s.To != "" && !slices.Contains(ends[1:], s.To):
		case s.About != nil && !slices.ContainsFunc(append(ends, between(l, ways, ends)...), func(m string) bool { return slices.Contains(s.About, m) }):
		default:
			out = append(out, c)
		}
	}
	return out
}

// between are the routers that a check may lead over: between its machines, or, where it names one alone, from it to
// anywhere, since what it asks may be anywhere.
func between(l lab.Lab, ways *lab.Topology, ends []string) []string {
	var out []string
	from, _ := l.Machine(ends[0])
	for _, nic := range from.NICs {
		for _, n := range l.Networks {
			if len(ends) > 1 {
				to, _ := l.Machine(ends[1])
				if _, ok := to.NIC(n.Name); !ok {
					continue
				}
			}
			for _, v6 := range []bool{false, true} {
				hops, _ := ways.Path(nic.Network, n.Name, v6)
				for _, h := range hops {
					out = append(out, h.Router)
				}
			}
		}
	}
	return out
}

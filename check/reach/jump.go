package reach

import (
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/check"
	"github.com/labctl-dev/labctl/lab"
)

// jumps finds ways past the machines over which people should come by ssh, and such machines as are none.
func jumps(l lab.Lab) []check.Finding {
	over := l.Jumps()
	if l.Implied == nil || len(l.Implied.Jump) == 0 {
		return nil
	}
	var out []check.Finding
	for _, s := range l.Implied.Jump {
		e, _ := l.Ends([]string{s})
		if len(e.Networks) > 0 || e.World || e.Any {
			out = append(out, finding(check.Error, "implied.jump", "%q is no machine: people come over machines", s))
		}
		for _, name := range e.Machines {
			if m, _ := l.Machine(name); !m.Enters() {
				out = append(out, finding(check.Error, "implied.jump", "labctl has no account in %s, so nobody comes over it", name))
			}
		}
	}
	for _, r := range l.Policy {
		if !slices.ContainsFunc(r.Allow, isSSH) {
			continue
		}
		from, _ := l.Ends(r.From)
		to, _ := l.Ends(r.To)
		past := without(to.Machines, over)
		if len(to.Networks) == 0 && !to.Any && len(past) == 0 || !from.Any && !from.World && len(from.Networks) == 0 && len(without(from.Machines, over)) == 0 {
			continue
		}
		if len(past) == 0 {
			past = r.To
		}
		out = append(out, finding(check.Warning, r.Path, "opens ssh of %s past %s, over which people should come", strings.Join(past, ", "), strings.Join(over, ", ")))
	}
	for i := range l.Machines {
		if l.Machines[i].Routing == nil {
			continue
		}
		for _, p := range l.Machines[i].Routing.Publish {
			if p.Proto == lab.TCP && p.To == 22 && !slices.Contains(over, p.Machine) {
				out = append(out, finding(check.Warning, p.Path, "publishes ssh of %s past %s, over which people should come", p.Machine, strings.Join(over, ", ")))
			}
		}
	}
	return out
}

// isSSH says whether a service is ssh among others, and is meant: it names ports of TCP, or everything.
func isSSH(s lab.Service) bool {
	return s.Proto == lab.Any || s.Proto == lab.TCP && s.From <= 22 && s.To >= 22
}

func without(all, some []string) []string {
	var out []string
	for _, x := range all {
		if !slices.Contains(some, x) {
			out = append(out, x)
		}
	}
	return out
}

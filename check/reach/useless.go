package reach

import (
	"fmt"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/check"
	"github.com/labctl-dev/labctl/lab"
)

// useless finds rules of the policy of which nothing comes: no machine has them, or packets that they allow get
// nowhere, or answers do not come back. Machines with the same networks stand for each other here, since only the way
// is in question.
func (p *Proof) useless() []check.Finding {
	var out []check.Finding
	for _, r := range p.lab.Policy {
		from, err1 := p.everybody(r.From, true, true)
		to, err2 := p.everybody(r.To, true, true)
		if err1 != nil || err2 != nil {
			continue
		}
		got := p.tried(r, p.alike(from), p.alike(to))
		if !got.open {
			text := fmt.Sprintf("rule %q opens nothing", r.Name)
			if got.why != "" {
				text += ": " + got.why
			} else {
				text += ": there is no way from any of its from to any of its to"
			}
			out = append(out, finding(check.Warning, r.Path, "%s", text))
			continue
		}
		if got.lost != "" {
			out = append(out, finding(check.Warning, r.Path, "its packets arrive, but not their answers: %s", got.lost))
		}
		if got.wayless != "" && !anybody(r.From) && !anybody(r.To) {
			out = append(out, finding(check.Warning, r.Path, "there is no way for a part of it: %s", got.wayless))
		}
	}
	return out
}

func anybody(selectors []string) bool {
	return slices.Contains(selectors, "any") || slices.Contains(selectors, "*")
}

// alike is one name for each kind of node in names: by its networks, and whether it has a filter.
func (p *Proof) alike(names []string) []string {
	seen := map[string]bool{}
	var out []string
	for _, name := range names {
		key := name
		if n := p.nodes[name]; n != nil && !n.forwards {
			var nets []string
			for _, i := range n.ifaces {
				nets = append(nets, fmt.Sprint(i.network, i.addr[0].IsValid(), i.addr[1].IsValid()))
			}
			key = fmt.Sprint(strings.Join(nets, " "), n.filter != nil)
			if slices.ContainsFunc(p.lab.Machines, func(m lab.Machine) bool { return m.Name == name && m.Firewall }) {
				key = name
			}
		}
		if !seen[key] {
			seen[key] = true
			out = append(out, name)
		}
	}
	return out
}

// attempt is what comes of a rule.
type attempt struct {
	open               bool
	why, lost, wayless string // examples
}

func (p *Proof) tried(r lab.Rule, from, to []string) attempt {
	var got attempt
	for _, a := range from {
		for _, b := range to {
			if a == b {
				continue
			}
			for _, s := range r.Allow {
				all, err := p.Query(a, b, s)
				if err != nil {
					continue
				}
				got.add(all, a, b, s)
			}
		}
	}
	return got
}

func (g *attempt) add(all []Verdict, a, b string, s lab.Service) {
	open := slices.ContainsFunc(all, func(v Verdict) bool { return v.Allowed })
	g.open = g.open || open
	if open {
		return
	}
	wayless := true // in every family
	for _, v := range all {
		says := fmt.Sprintf("%s to %s on %s: %s", a, s, b, v.explain())
		switch {
		case !v.Usual:
			continue
		case v.Lost && g.lost == "":
			g.lost = says
		}
		wayless = wayless && v.Decision.Origin.Kind == ""
		if g.why == "" {
			g.why = says
		}
	}
	if wayless && g.wayless == "" {
		g.wayless = g.why
	}
	if g.lost != "" {
		g.why = g.lost
	}
}

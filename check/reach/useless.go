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
// is in question; of those that packets are for, a filter of their own has to be the same, too (see twins).
func (p *Proof) useless(twins map[string]string) []check.Finding {
	var out []check.Finding
	for _, r := range p.lab.Policy {
		from, err1 := p.everybody(r.From, true, true)
		to, err2 := p.everybody(r.To, true, true)
		if err1 != nil || err2 != nil {
			continue
		}
		got := p.tried(r, p.alike(from, nil), p.alike(to, twins))
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

// alike sorts names by kinds: by their networks, whether they have a filter, and whose twins they are. Of each kind two
// are enough: what holds for them holds for all pairs of it.
func (p *Proof) alike(names []string, twins map[string]string) [][]string {
	at := map[string]int{}
	var out [][]string
	for _, name := range names {
		key := name
		if n := p.nodes[name]; n != nil && !n.forwards {
			key = fmt.Sprint(p.legs(name), n.filter != nil, twins[name])
		}
		switch i, seen := at[key]; {
		case !seen:
			at[key] = len(out)
			out = append(out, []string{name})
		case len(out[i]) < 2:
			out[i] = append(out[i], name)
		}
	}
	return out
}

// legs are the networks of a machine, and the families of its addresses there.
func (p *Proof) legs(machine string) string {
	var b strings.Builder
	for _, i := range p.nodes[machine].ifaces {
		fmt.Fprint(&b, i.network, i.addr[0].IsValid(), i.addr[1].IsValid(), " ")
	}
	return b.String()
}

// attempt is what comes of a rule.
type attempt struct {
	open               bool
	why, lost, wayless string // examples
}

// tried asks for every kind of from and of to what a rule opens.
func (p *Proof) tried(r lab.Rule, from, to [][]string) attempt {
	var got attempt
	for _, these := range from {
		for _, those := range to {
			a, b, ok := apart(these, those)
			if !ok {
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

// apart are the first two, one of each list, that are not the same.
func apart(these, those []string) (a, b string, ok bool) {
	for _, a := range these {
		for _, b := range those {
			if a != b {
				return a, b, true
			}
		}
	}
	return "", "", false
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

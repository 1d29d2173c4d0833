package marks

import (
	"fmt"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/picture"
	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// Drift is the picture of what has moved, by the same plan; inside is what differs inside machines, nil if nobody
// looked.
func Drift(l lab.Lab, d provider.Description, of plan.Plan, inside map[string][]guest.Difference) picture.Picture {
	m := newChanges(l, d, of)
	p := m.picture(fmt.Sprintf("what has moved on target %s", m.plan.Target))
	for t, changes := range m.by {
		mark := picture.Mark{Status: picture.Changed, Lines: []string{moved(changes)}, Detail: details(changes)}
		switch a, _, _ := m.action(t); a {
		case plan.Create:
			mark.Status, mark.Lines = picture.Missing, []string{"is missing"}
		case plan.Adopt:
			mark.Status, mark.Lines = picture.Missing, []string{"is not adopted yet"}
		case plan.Delete, plan.Release:
			mark.Status, mark.Lines = picture.Extra, []string{"not in the spec"}
		}
		p.Marks[t] = mark
	}
	m.cables(p, picture.Missing, picture.Extra)
	for name, ds := range inside {
		if len(ds) > 0 {
			t := picture.Thing{Machine: name}
			p.Marks[t] = within(p.Marks[t], ds)
		}
	}
	have := map[picture.Status]bool{picture.Same: true}
	for _, x := range p.Marks {
		have[x.Status] = true
	}
	for _, e := range []picture.Entry{
		{Status: picture.Missing, Text: "is missing"},
		{Status: picture.Changed, Text: "has moved"},
		{Status: picture.Extra, Text: "exists, but is not in the spec"},
		{Status: picture.Same, Text: "is as the spec says"},
	} {
		if have[e.Status] {
			p.Legend = append(p.Legend, e)
		}
	}
	p.Notes = m.notes()
	return p
}

// within adds what differs inside a machine to its mark.
func within(m picture.Mark, ds []guest.Difference) picture.Mark {
	if m.Status == "" {
		m.Status = picture.Changed
	}
	m.Lines = append(m.Lines, fmt.Sprintf("inside: %d differ", len(ds)))
	for _, d := range ds {
		m.Detail = strings.TrimSpace(m.Detail + "\ninside: " + d.Item + " " + d.What)
	}
	return m
}

// moved says which attributes differ, and which parts are missing or too many.
func moved(cs []plan.Change) string {
	var out []string
	for _, c := range cs {
		for _, r := range c.Reasons {
			if r.Attr != "" && !slices.Contains(out, r.Attr) {
				out = append(out, r.Attr)
			}
		}
		switch c.Action {
		case plan.Create:
			out = append(out, c.Addr.Kind+" missing")
		case plan.Adopt:
			out = append(out, c.Addr.Kind+" not adopted yet")
		case plan.Delete, plan.Release:
			out = append(out, c.Addr.Kind+" not in the spec")
		}
	}
	if len(out) == 0 {
		return "differs"
	}
	return "differs: " + strings.Join(out, ", ")
}

// Package marks says what is with the things of a picture: what a plan would do to them, how they have moved, and whom
// one of them reaches. It translates plans and proofs to the plain marks that package picture draws.
//
// It must not know how anything is drawn, nor the command line.
package marks

import (
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strings"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/picture"
	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// changes are a plan by what is drawn.
type changes struct {
	lab    lab.Lab // with what only exists in the world
	kinds  provider.Description
	plan   plan.Plan
	by     map[picture.Thing][]plan.Change
	legs   map[picture.Thing]plan.Action // interfaces that a machine gets or loses
	others []plan.Change                 // of what is not drawn: images, pools
}

func newChanges(l lab.Lab, d provider.Description, p plan.Plan) *changes {
	m := &changes{lab: l, kinds: d, plan: p, by: map[picture.Thing][]plan.Change{}, legs: map[picture.Thing]plan.Action{}}
	m.lab.Machines, m.lab.Networks = slices.Clone(l.Machines), slices.Clone(l.Networks)
	for _, c := range p.Changes {
		switch {
		case c.Machine != "":
			t := picture.Thing{Machine: c.Machine}
			m.by[t] = append(m.by[t], c)
			m.ghost(c)
		case c.Addr.Kind == "network":
			t := picture.Thing{Network: c.Addr.Name}
			m.by[t] = append(m.by[t], c)
			m.ghostNetwork(c)
		default:
			m.others = append(m.others, c)
		}
	}
	return m
}

// ghost adds to the lab what a change of a machine takes away.
func (m *changes) ghost(c plan.Change) {
	i := slices.IndexFunc(m.lab.Machines, func(x lab.Machine) bool { return x.Name == c.Machine })
	if i < 0 {
		i = len(m.lab.Machines)
		m.lab.Machines = append(m.lab.Machines, lab.Machine{Name: c.Machine})
	}
	if kind, _ := m.kinds.Kind(c.Addr.Kind); !kind.Machine || c.Before == nil {
		return
	}
	x := &m.lab.Machines[i]
	x.NICs = slices.Clone(x.NICs)
	before := joins(c.Before.Needs)
	for _, n := range before {
		if _, has := x.NIC(n); !has {
			x.NICs = append(x.NICs, lab.NIC{Network: n})
			m.legs[picture.Thing{Machine: x.Name, Network: n}] = plan.Delete
		}
	}
	if c.After == nil {
		return
	}
	for _, n := range joins(c.After.Needs) {
		if len(before) > 0 && !slices.Contains(before, n) {
			m.legs[picture.Thing{Machine: x.Name, Network: n}] = plan.Create
		}
	}
}

// joins are the networks among what a machine needs.
func joins(needs []provider.Addr) []string {
	var out []string
	for _, n := range needs {
		if n.Kind == "network" {
			out = append(out, n.Name)
		}
	}
	return out
}

// ghostNetwork adds a network that only exists in the world.
func (m *changes) ghostNetwork(c plan.Change) {
	if _, has := m.lab.Network(c.Addr.Name); has || c.Before == nil {
		return
	}
	n := lab.Network{Name: c.Addr.Name}
	if s, ok := c.Before.Attrs["cidr"].(string); ok {
		n.CIDR, _ = netip.ParsePrefix(s) // the provider's own word; without it the wire has no prefix
	}
	n.Uplink, _ = c.Before.Attrs["uplink"].(bool)
	m.lab.Networks = append(m.lab.Networks, n)
}

// action is what all changes of a thing come to.
func (m *changes) action(t picture.Thing) (a plan.Action, impact provider.Impact, loss bool) {
	a = plan.Update
	for _, c := range m.by[t] {
		kind, _ := m.kinds.Kind(c.Addr.Kind)
		whole := t.Network != "" || kind.Machine
		switch {
		case whole && (c.Action == plan.Create || c.Action == plan.Delete):
			a = c.Action
		case c.Action == plan.Replace && a == plan.Update:
			a = plan.Replace
		}
		if c.Impact.Rank() > impact.Rank() {
			impact = c.Impact
		}
		loss = loss || c.DataLoss
	}
	if _, wanted := m.lab.Machine(t.Machine); wanted && a == plan.Update && t.Machine != "" && m.leftover(t) {
		a = plan.Delete
	}
	return a, impact, loss
}

// leftover says whether all that is left of a machine is to be deleted, though there is no machine any more.
func (m *changes) leftover(t picture.Thing) bool {
	return !slices.ContainsFunc(m.by[t], func(c plan.Change) bool { return c.Action != plan.Delete }) &&
		!slices.ContainsFunc(m.lab.Machines, func(x lab.Machine) bool { return x.Name == t.Machine && x.Image != "" })
}

// Plan is the picture of what a plan would change; d describes the provider that it was made for.
func Plan(l lab.Lab, d provider.Description, of plan.Plan) picture.Picture {
	m := newChanges(l, d, of)
	p := m.picture(fmt.Sprintf("what apply would change on target %s", m.plan.Target))
	counts := map[picture.Status]int{}
	impacts := map[picture.Status]map[provider.Impact]int{}
	for t := range m.by {
		a, impact, loss := m.action(t)
		s := map[plan.Action]picture.Status{plan.Create: picture.New, plan.Update: picture.Changed, plan.Replace: picture.Again, plan.Delete: picture.Gone}[a]
		text := string(a)
		if impact != provider.None && string(impact) != text && (a == plan.Update || a == plan.Replace) {
			text += ": " + string(impact)
		}
		if loss {
			text += ", data lost"
		}
		lines := []string{text}
		for _, c := range m.by[t] {
			if c.Refused != "" && !slices.Contains(lines, "refused") {
				lines = append(lines, "refused")
			}
		}
		p.Marks[t] = picture.Mark{Status: s, Lines: lines, Detail: details(m.by[t])}
		counts[s]++
		if impacts[s] == nil {
			impacts[s] = map[provider.Impact]int{}
		}
		impacts[s][impact]++
	}
	for t, a := range m.legs {
		p.Marks[t] = picture.Mark{Status: map[plan.Action]picture.Status{plan.Create: picture.New, plan.Delete: picture.Gone}[a]}
	}
	for _, e := range []picture.Entry{{Status: picture.New, Text: "create"}, {Status: picture.Changed, Text: "update"}, {Status: picture.Again, Text: "replace"}, {Status: picture.Gone, Text: "delete"}} {
		if n := counts[e.Status]; n > 0 {
			e.Text = fmt.Sprintf("%s %d%s", e.Text, n, told(impacts[e.Status]))
			p.Legend = append(p.Legend, e)
		}
	}
	p.Legend = append(p.Legend, picture.Entry{Status: picture.Same, Text: "stays as it is"})
	p.Notes = append(m.notes(), m.costs()...)
	return p
}

// told are impacts in rising order: " (1 live, 2 reboot)".
func told(impacts map[provider.Impact]int) string {
	var all []provider.Impact
	for i := range impacts {
		if i != provider.None {
			all = append(all, i)
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Rank() < all[j].Rank() })
	var parts []string
	for _, i := range all {
		parts = append(parts, fmt.Sprintf("%d %s", impacts[i], i))
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// Drift is the picture of what has moved, by the same plan; inside is what differs inside machines, nil if nobody
// looked.
func Drift(l lab.Lab, d provider.Description, of plan.Plan, inside map[string][]guest.Difference) picture.Picture {
	m := newChanges(l, d, of)
	p := m.picture(fmt.Sprintf("what has moved on target %s", m.plan.Target))
	for t := range m.by {
		a, _, _ := m.action(t)
		switch a {
		case plan.Create:
			p.Marks[t] = picture.Mark{Status: picture.Missing, Lines: []string{"is missing"}}
		case plan.Delete:
			p.Marks[t] = picture.Mark{Status: picture.Extra, Lines: []string{"not in the spec"}}
		default:
			p.Marks[t] = picture.Mark{Status: picture.Changed, Lines: moved(m.by[t])}
		}
		mark := p.Marks[t]
		mark.Detail = details(m.by[t])
		p.Marks[t] = mark
	}
	for t, a := range m.legs {
		p.Marks[t] = picture.Mark{Status: map[plan.Action]picture.Status{plan.Create: picture.Missing, plan.Delete: picture.Extra}[a]}
	}
	for name, ds := range inside {
		if len(ds) == 0 {
			continue
		}
		t := picture.Thing{Machine: name}
		mark := p.Marks[t]
		if mark.Status == "" {
			mark.Status = picture.Changed
		}
		mark.Lines = append(mark.Lines, fmt.Sprintf("inside: %d differ", len(ds)))
		for _, d := range ds {
			mark.Detail = strings.TrimSpace(mark.Detail + "\ninside: " + d.Item + " " + d.What)
		}
		p.Marks[t] = mark
	}
	have := map[picture.Status]bool{}
	for _, x := range p.Marks {
		have[x.Status] = true
	}
	for _, e := range []picture.Entry{{Status: picture.Missing, Text: "is missing"}, {Status: picture.Changed, Text: "has moved"}, {Status: picture.Extra, Text: "exists, but is not in the spec"}} {
		if have[e.Status] {
			p.Legend = append(p.Legend, e)
		}
	}
	p.Legend = append(p.Legend, picture.Entry{Status: picture.Same, Text: "is as the spec says"})
	p.Notes = m.notes()
	return p
}

// picture is the lab with no marks yet.
func (m *changes) picture(subtitle string) picture.Picture {
	m.lab.Networks = slices.SortedStableFunc(slices.Values(m.lab.Networks), func(a, b lab.Network) int { return strings.Compare(a.Name, b.Name) })
	return picture.Picture{Lab: m.lab, Subtitle: subtitle, Marks: map[picture.Thing]picture.Mark{}}
}

// moved are the attributes that differ.
func moved(cs []plan.Change) []string {
	var out []string
	for _, c := range cs {
		for _, r := range c.Reasons {
			if r.Attr != "" && !slices.Contains(out, r.Attr) {
				out = append(out, r.Attr)
			}
		}
		if c.Action == plan.Create || c.Action == plan.Delete {
			out = append(out, c.Addr.Kind+" "+c.Addr.Name+" "+map[plan.Action]string{plan.Create: "is missing", plan.Delete: "should not be"}[c.Action])
		}
	}
	if len(out) == 0 {
		return []string{"differs"}
	}
	return []string{"differs: " + strings.Join(out, ", ")}
}

// details says each change of a thing.
func details(cs []plan.Change) string {
	var lines []string
	for _, c := range cs {
		s := string(c.Action) + " " + c.Addr.String()
		if c.Impact != provider.None && string(c.Impact) != string(c.Action) {
			s += ", " + string(c.Impact)
		}
		var attrs []string
		for _, r := range c.Reasons {
			switch {
			case r.Because != nil:
				attrs = append(attrs, "because of "+r.Because.String())
			default:
				attrs = append(attrs, r.Attr)
			}
		}
		if len(attrs) > 0 {
			s += ": " + strings.Join(attrs, ", ")
		}
		if len(c.CutOff) > 0 {
			s += "; cuts off " + strings.Join(c.CutOff, ", ")
		}
		if c.Refused != "" {
			s += "; refused: " + c.Refused
		}
		lines = append(lines, s)
	}
	return strings.Join(lines, "\n")
}

// notes are what cannot be drawn.
func (m *changes) notes() []string {
	var out []string
	for _, c := range m.others {
		out = append(out, "also: "+details([]plan.Change{c}))
	}
	for _, d := range m.plan.Deferred {
		out = append(out, fmt.Sprintf("waits: %s, since %s", d.Addr, d.Why))
	}
	return out
}

// costs are what a plan costs beside what stands in the boxes.
func (m *changes) costs() []string {
	var out, cut []string
	for _, c := range m.plan.Changes {
		cut = append(cut, c.CutOff...)
	}
	slices.Sort(cut)
	if cut = slices.Compact(cut); len(cut) > 0 {
		out = append(out, "cut off meanwhile: "+strings.Join(cut, ", "))
	}
	for _, c := range m.plan.Refusals() {
		out = append(out, "refused unless allowed by name: "+c.Refused)
	}
	return out
}

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
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// changes are a plan by what is drawn.
type changes struct {
	lab    lab.Lab         // with what only exists in the world
	wanted map[string]bool // the machines of the spec
	kinds  provider.Description
	plan   plan.Plan
	by     map[picture.Thing][]plan.Change
	legs   map[picture.Thing]plan.Action // interfaces that a machine gets or loses
	others []plan.Change                 // of what is not drawn: images, pools
}

func newChanges(l lab.Lab, d provider.Description, p plan.Plan) *changes {
	m := &changes{lab: l, kinds: d, plan: p, by: map[picture.Thing][]plan.Change{}, legs: map[picture.Thing]plan.Action{}, wanted: map[string]bool{}}
	for i := range l.Machines {
		m.wanted[l.Machines[i].Name] = true
	}
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

// action is what all changes of a thing come to: a machine of which only disks are left, and which nobody wants, goes
// away as a whole.
func (m *changes) action(t picture.Thing) (a plan.Action, impact provider.Impact, loss bool) {
	a = plan.Update
	if t.Machine != "" && !m.wanted[t.Machine] {
		a = plan.Delete
	}
	for _, c := range m.by[t] {
		kind, _ := m.kinds.Kind(c.Addr.Kind)
		whole := t.Network != "" || kind.Machine
		switch {
		case whole && (c.Action != plan.Update && c.Action != plan.Replace):
			a = c.Action
		case c.Action == plan.Replace && a == plan.Update:
			a = plan.Replace
		}
		if c.Impact.Rank() > impact.Rank() {
			impact = c.Impact
		}
		loss = loss || c.DataLoss
	}
	return a, impact, loss
}

// Plan is the picture of what a plan would change; d describes the provider that it was made for.
func Plan(l lab.Lab, d provider.Description, of plan.Plan) picture.Picture {
	m := newChanges(l, d, of)
	p := m.picture(fmt.Sprintf("what apply would change on target %s", m.plan.Target))
	impacts := map[plan.Action][]provider.Impact{}
	for t, changes := range m.by {
		a, impact, loss := m.action(t)
		text := string(a)
		if impact != provider.None && string(impact) != text && (a == plan.Update || a == plan.Replace) {
			text += ": " + string(impact)
		}
		if loss {
			text += ", data lost"
		}
		mark := picture.Mark{Status: statusOf(a), Lines: []string{text}, Detail: details(changes)}
		if slices.ContainsFunc(changes, func(c plan.Change) bool { return c.Refused != "" }) {
			mark.Lines = append(mark.Lines, "refused")
		}
		p.Marks[t] = mark
		impacts[a] = append(impacts[a], impact)
	}
	m.cables(p, picture.New, picture.Gone)
	for _, a := range []plan.Action{plan.Create, plan.Adopt, plan.Update, plan.Replace, plan.Delete, plan.Release} {
		if all := impacts[a]; len(all) > 0 {
			p.Legend = append(p.Legend, picture.Entry{Status: statusOf(a), Text: fmt.Sprintf("%s %d%s", a, len(all), told(all))})
		}
	}
	p.Legend = append(p.Legend, picture.Entry{Status: picture.Same, Text: "stays as it is"})
	p.Notes = append(m.notes(), m.costs()...)
	return p
}

// statusOf is how an action is drawn.
func statusOf(a plan.Action) picture.Status {
	switch a {
	case plan.Create, plan.Adopt:
		return picture.New
	case plan.Replace:
		return picture.Again
	case plan.Delete, plan.Release:
		return picture.Gone
	}
	return picture.Changed
}

// cables marks the interfaces that machines get and lose.
func (m *changes) cables(p picture.Picture, gets, loses picture.Status) {
	for t, a := range m.legs {
		p.Marks[t] = picture.Mark{Status: gets}
		if a == plan.Delete {
			p.Marks[t] = picture.Mark{Status: loses}
		}
	}
}

// told counts impacts, in rising order: " (1 live, 2 reboot)".
func told(all []provider.Impact) string {
	count := map[provider.Impact]int{}
	var kinds []provider.Impact
	for _, i := range all {
		if count[i]++; count[i] == 1 && i != provider.None {
			kinds = append(kinds, i)
		}
	}
	sort.Slice(kinds, func(i, j int) bool { return kinds[i].Rank() < kinds[j].Rank() })
	var parts []string
	for _, i := range kinds {
		parts = append(parts, fmt.Sprintf("%d %s", count[i], i))
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// picture is the lab with no marks yet.
func (m *changes) picture(subtitle string) picture.Picture {
	m.lab.Networks = slices.SortedStableFunc(slices.Values(m.lab.Networks), func(a, b lab.Network) int { return strings.Compare(a.Name, b.Name) })
	return picture.Picture{Lab: m.lab, Subtitle: subtitle, Marks: map[picture.Thing]picture.Mark{}}
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
		if c.Move != nil && len(c.Move.LostBy) > 0 {
			s += fmt.Sprintf("; it moves and %s lose it (%s)", strings.Join(c.Move.LostBy, ", "), c.Move.Lasts)
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

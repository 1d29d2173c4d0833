package view

import (
	"fmt"
	"io"
	"sort"

	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/provider"
)

// Drift writes the same facts as Plan, told as what has moved: how the world is, how the spec says it should be, and
// what it would cost to mend that. inside, if not nil, is what differs inside the machines that were looked into.
func Drift(w io.Writer, p plan.Plan, inside map[string][]guest.Difference, o Options) error {
	pr := &printer{Options: o}
	n := 0
	for _, ds := range inside {
		n += len(ds)
	}
	if p.Empty() && n == 0 {
		pr.line(0, 2, span{fmt.Sprintf("No drift: lab %s on target %s is as the spec says.", p.Lab, p.Target), green})
		pr.lookedInside(inside, n)
		pr.deferred(p)
		return pr.flush(w)
	}
	pr.line(0, 2, span{fmt.Sprintf("Drift of lab %s on target %s", p.Lab, p.Target), bold})
	pr.moved(p, inside)
	pr.deferred(p)
	pr.blank()
	pr.lookedInside(inside, n)
	pr.line(0, 2, span{driftSummary(p, n), bold})
	return pr.flush(w)
}

// moved writes all that has moved, by machine.
func (pr *printer) moved(p plan.Plan, inside map[string][]guest.Difference) {
	gs := groups(p)
	have := map[string]bool{}
	for _, g := range gs {
		have[g.machine] = true
	}
	for m, ds := range inside {
		if !have[m] && len(ds) > 0 {
			gs = append(gs, group{machine: m})
		}
	}
	sort.Slice(gs, func(i, j int) bool { return gs[i].machine < gs[j].machine })
	for _, g := range gs {
		pr.blank()
		name := g.machine
		if name == "" {
			name = "shared by machines"
		}
		pr.line(0, 2, span{name, bold})
		for _, c := range g.changes {
			pr.movedThing(c)
		}
		for _, d := range inside[g.machine] {
			s := "inside: " + d.Item
			if d.What != "" {
				s += " differs: " + d.What
			}
			pr.line(2, 6, text(s))
		}
	}
}

// movedThing writes how one thing is and how it should be.
func (pr *printer) movedThing(c plan.Change) {
	head := []span{text(c.Addr.String() + " ")}
	switch c.Action {
	case plan.Create:
		pr.line(2, 6, append(head, span{"is missing", red})...)
	case plan.Adopt:
		pr.line(2, 6, append(head, span{"is not adopted yet", yellow})...)
	case plan.Release:
		pr.line(2, 6, append(head, span{"is adopted, but is not in the spec", yellow})...)
	case plan.Delete:
		head = append(head, span{"exists, but is not in the spec", yellow})
		if c.DataLoss || c.DataKept {
			head = append(head, text("; it may hold data"))
		}
		pr.line(2, 6, head...)
	default:
		var own []fact
		for _, r := range c.Reasons {
			if r.Because == nil {
				own = append(own, movedFacts(r)...)
			}
		}
		if len(own) > 0 {
			head = append(head, span{"differs", yellow})
		} else {
			head = append(head, text("follows"))
		}
		pr.line(2, 6, append(head, mending(c)...)...)
		own = append(whyFacts(c), own...)
		for _, r := range c.Reasons {
			if r.Because != nil {
				own = append(own, reasonFacts(r, false)...)
			}
		}
		pr.factRows(own)
	}
}

// mending is what it costs to make c undone.
func mending(c plan.Change) []span {
	if c.Impact == provider.None {
		return nil
	}
	spans := []span{text("; to mend it: "), impactSpan(c.Impact)}
	if c.DataLoss {
		spans = append(spans, text(", "), span{"data lost", alarm})
	}
	if c.DataKept {
		spans = append(spans, text(", "), span{"data kept aside", yellow})
	}
	if len(c.CutOff) > 0 {
		spans = append(spans, span{", cuts off: " + some(c.CutOff), yellow})
	}
	return spans
}

// movedFacts tells the world first, the spec second.
func movedFacts(r plan.Reason) []fact {
	var rows []fact
	for _, d := range deltas(r.Attr, r.Before, r.After) {
		rest := []span{text("is "), {d.before, yellow}, text(", spec says " + d.after)}
		switch d.sign {
		case "+":
			rest = []span{{"is missing", red}, text(": " + d.after)}
		case "-":
			rest = []span{{"is not in the spec", yellow}, text(": " + d.before)}
		}
		rows = append(rows, fact{"", d.name, rest})
	}
	return rows
}

// lookedInside says which machines were looked into.
func (pr *printer) lookedInside(inside map[string][]guest.Difference, n int) {
	if inside == nil {
		return
	}
	var names []string
	for m := range inside {
		names = append(names, m)
	}
	sort.Strings(names)
	switch {
	case len(names) == 0:
		pr.line(0, 2, text("No machine was looked into."))
	case n == 0:
		pr.line(0, 2, text("Looked into "+some(names)+": nothing differs inside."))
	default:
		pr.line(0, 2, text("Looked into "+some(names)+": "+differ(n)+" inside."))
	}
}

func differ(n int) string {
	if n == 1 {
		return "1 thing differs"
	}
	return number(n) + " things differ"
}

// driftSummary is the drift in one line.
func driftSummary(p plan.Plan, inside int) string {
	n := map[plan.Action]int{}
	for _, c := range p.Changes {
		n[c.Action]++
	}
	s := fmt.Sprintf("Drift: %d missing, %d different, %d not in the spec; %d as the spec says.",
		n[plan.Create]+n[plan.Adopt], n[plan.Update]+n[plan.Replace]+inside, n[plan.Delete]+n[plan.Release], p.Unchanged)
	if inside > 0 {
		return s + " `labctl apply --deep` mends it."
	}
	return s + " `labctl apply` mends it."
}

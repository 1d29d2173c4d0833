package view

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/engine/plan"
)

// insideCount is how many things differ inside machines.
func (f DriftFacts) insideCount() int {
	n := 0
	for _, ds := range f.Inside {
		n += len(ds)
	}
	return n
}

// state is how a thing is, in words.
func state(c plan.Change) string {
	switch c.Action {
	case plan.Create:
		return "is missing"
	case plan.Adopt:
		return "is not adopted yet"
	case plan.Release:
		return "is adopted, but is not in the spec"
	case plan.Delete:
		return "exists, but is not in the spec"
	}
	return "differs"
}

// differsIn are the attributes that a change is about.
func differsIn(c plan.Change) string {
	var all []string
	for _, r := range c.Reasons {
		if r.Because == nil {
			for _, d := range deltas(r.Attr, r.Before, r.After) {
				all = append(all, fmt.Sprintf("%s: is %s, spec says %s", d.name, orNone(d.before), orNone(d.after)))
			}
		} else {
			all = append(all, r.Because.String()+" is made again")
		}
	}
	return strings.Join(all, "; ")
}

func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}

// DriftMarkdown writes what has moved as Markdown for an issue or a chat: the sum, a table, and what differs inside.
func DriftMarkdown(w io.Writer, f DriftFacts) error {
	var b strings.Builder
	p, n := f.Plan, f.insideCount()
	fmt.Fprintf(&b, "### Drift: lab %s on target %s\n\n", code(p.Lab), code(p.Target))
	if p.Empty() && n == 0 {
		b.WriteString("Nothing has moved: all is as the spec says.\n")
	} else {
		fmt.Fprintf(&b, "**%s**\n", escape(strings.TrimPrefix(driftSummary(p, n), "Drift: ")))
	}
	if !p.Empty() {
		b.WriteString("\n| Thing | Is | To mend it | Data |\n|---|---|---|---|\n")
	}
	for _, c := range p.Changes {
		is, data := state(c), ""
		if d := differsIn(c); d != "" && is == "differs" {
			is += ": " + d
		}
		switch {
		case c.DataLoss:
			data = "**lost**"
		case c.DataKept:
			data = "kept aside"
		}
		mend := string(c.Action)
		if c.Impact != "" {
			mend += ", " + string(c.Impact)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", code(c.Addr.String()), escape(is), mend, data)
	}
	for _, m := range slices.Sorted(maps.Keys(f.Inside)) {
		for _, d := range f.Inside[m] {
			fmt.Fprintf(&b, "\n- inside %s: %s", code(m), escape(strings.TrimSuffix(d.Item+": "+d.What, ": ")))
		}
	}
	if n > 0 {
		b.WriteString("\n")
	}
	for _, d := range p.Deferred {
		fmt.Fprintf(&b, "\n- left for later: %s: %s\n", code(d.Addr.String()), escape(d.Why))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// DriftJUnit writes what has moved as JUnit XML: a failed case for each thing that has, one that passed for all others,
// and one for each machine that was looked into.
func DriftJUnit(w io.Writer, f DriftFacts) error {
	all := junitSuites{Name: printable("drift of " + f.Plan.Lab + " on " + f.Plan.Target)}
	var cases []junitCase
	for _, c := range f.Plan.Changes {
		cases = append(cases, junitCase{Class: "drift." + printable(c.Addr.Kind), Name: printable(c.Addr.String()),
			Failure: &junitFailure{Message: state(c), Text: printable(c.Addr.String() + " " + state(c) + "\n" + differsIn(c))}})
	}
	if n := f.Plan.Unchanged; n > 0 {
		cases = append(cases, junitCase{Class: "drift", Name: plural(n, "other thing") + " as the spec says"})
	}
	if len(cases) > 0 {
		all.add("world", cases)
	}
	cases = nil
	for _, m := range slices.Sorted(maps.Keys(f.Inside)) {
		c := junitCase{Class: "inside", Name: printable(m)}
		if ds := f.Inside[m]; len(ds) > 0 {
			var rows []string
			for _, d := range ds {
				rows = append(rows, strings.TrimSuffix(d.Item+": "+d.What, ": "))
			}
			c.Failure = &junitFailure{Message: differ(len(ds)), Text: printable(strings.Join(rows, "\n"))}
		}
		cases = append(cases, c)
	}
	if len(cases) > 0 {
		all.add("inside", cases)
	}
	return all.write(w)
}

// DriftSARIF writes what has moved as results at the places that where gives for a machine's name; "" asks for the lab's.
func DriftSARIF(w io.Writer, version string, f DriftFacts, where func(c plan.Change) Location) error {
	var rs []sarifResult
	add := func(c plan.Change, text string) {
		rs = append(rs, sarifResult{RuleID: "drift", Level: "warning", Message: sarifText{clean(text)}, Locations: sarifPlaces(where(c))})
	}
	for _, c := range f.Plan.Changes {
		text := fmt.Sprintf("on target %s %s %s", f.Plan.Target, c.Addr, state(c))
		if d := differsIn(c); d != "" {
			text += ": " + d
		}
		add(c, text)
	}
	for _, m := range slices.Sorted(maps.Keys(f.Inside)) {
		for _, d := range f.Inside[m] {
			add(plan.Change{Machine: m}, fmt.Sprintf("inside %s on target %s: %s", m, f.Plan.Target, strings.TrimSuffix(d.Item+": "+d.What, ": ")))
		}
	}
	return writeSARIF(w, version, "drift/"+f.Plan.Target, rs)
}

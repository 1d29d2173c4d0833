package view

import (
	"fmt"
	"io"
	"sort"
	"strings"

	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/provider"
)

// Plan writes what would change and what it costs, machine by machine.
func Plan(w io.Writer, p plan.Plan, o Options) error {
	pr := &printer{Options: o}
	if p.Empty() {
		pr.line(0, 2, span{nothing(p), green})
	} else {
		verb := "Plan for lab %s on target %s"
		if p.Destroy {
			verb = "Plan to destroy lab %s on target %s"
		}
		pr.line(0, 2, span{fmt.Sprintf(verb, p.Lab, p.Target), bold})
		pr.changes(p)
	}
	pr.deferred(p)
	if !p.Empty() {
		pr.blank()
		pr.refusal(p)
		pr.room(p.Room)
		for _, line := range CostLines(p.Cost) {
			pr.line(0, 2, text(line))
		}
		for _, a := range p.Advice {
			pr.line(0, 2, span{a + ".", faint})
		}
		pr.line(0, 2, summary(p)...)
	}
	return pr.flush(w)
}

func nothing(p plan.Plan) string {
	if p.Destroy {
		return fmt.Sprintf("No changes: nothing of lab %s exists on target %s.", p.Lab, p.Target)
	}
	return fmt.Sprintf("No changes: lab %s on target %s is as the spec says.", p.Lab, p.Target)
}

// changes writes all changes in their groups.
func (pr *printer) changes(p plan.Plan) {
	for _, g := range groups(p) {
		pr.blank()
		pr.line(0, 2, g.title(p)...)
		for _, c := range g.changes {
			pr.change(p, c)
		}
	}
}

// group is the changes of one machine; of what machines share where machine is "".
type group struct {
	machine string
	changes []plan.Change
}

// groups are what machines share, then the machines by name; within each the plan's order.
func groups(p plan.Plan) []group {
	at := map[string]int{}
	var gs []group
	for _, c := range p.Changes {
		i, ok := at[c.Machine]
		if !ok {
			i = len(gs)
			at[c.Machine] = i
			gs = append(gs, group{machine: c.Machine})
		}
		gs[i].changes = append(gs[i].changes, c)
	}
	sort.Slice(gs, func(i, j int) bool { return gs[i].machine < gs[j].machine })
	return gs
}

// title is the group's name and the sum of its costs.
func (g group) title(p plan.Plan) []span {
	name := g.machine
	if name == "" {
		name = "shared by machines"
	}
	spans, gap := []span{{name, bold}}, ": "
	add := func(s span) { spans, gap = append(spans, text(gap), s), ", " }
	all, loss := g.changes[0].Action, false
	for _, c := range g.changes {
		if c.Action != all {
			all = ""
		}
		loss = loss || c.DataLoss
	}
	highest, _ := p.Impact(g.machine)
	switch {
	case all == plan.Create:
		add(span{"new", green})
	case all == plan.Delete:
		add(span{"goes away", red})
	case all == plan.Adopt:
		add(span{"adopted as it is", green})
	case all == plan.Release:
		add(span{"stays, but is the lab's no longer", yellow})
	case highest != provider.None:
		add(impactSpan(highest))
	}
	if loss {
		add(span{"data lost", alarm})
	}
	return spans
}

// change writes one change: what, why, and what it costs.
func (pr *printer) change(p plan.Plan, c plan.Change) {
	sign, color := mark(c.Action)
	spans := []span{{sign, color}, text(" "), text(c.Addr.String()), text("  "), {string(c.Action), color}}
	if c.Impact != provider.None && string(c.Impact) != string(c.Action) {
		spans = append(spans, text(", "), impactSpan(c.Impact))
	}
	if c.DataLoss {
		spans = append(spans, text(", "), span{"data lost", alarm})
	}
	if c.DataKept {
		spans = append(spans, text(", "), span{"data kept aside", yellow})
	}
	if len(c.CutOff) > 0 {
		spans = append(spans, text(", "), span{"cuts off: " + some(c.CutOff), yellow})
	}
	pr.line(2, 6, spans...)
	pr.facts(p, c)
	if c.Move != nil && len(c.Move.LostBy) > 0 {
		pr.line(6, 8, span{moveText(c), yellow})
	} else if c.Move != nil {
		pr.line(6, 8, text(moveText(c)))
	}
	if c.Refused != "" {
		pr.line(6, 8, span{"refused: " + c.Refused, alarm}, text("; "+allow(c)+" allows it"))
	}
}

// moveText says where a machine is found no more, who loses it, and for how long.
func moveText(c plan.Change) string {
	places := func(all []plan.Place) string {
		var out []string
		for _, p := range all {
			out = append(out, p.String())
		}
		return strings.Join(out, ", ")
	}
	m := c.Move
	s := fmt.Sprintf("%s gives up %s", c.Machine, places(m.From))
	if len(m.To) > 0 {
		s += " for " + places(m.To)
	}
	switch len(m.LostBy) {
	case 0:
		return s + "; nobody else runs on the same wire"
	case 1:
		return s + ": " + m.LostBy[0] + " loses it, " + lastsText(m.Lasts)
	}
	return s + ": " + some(m.LostBy) + " lose it, " + lastsText(m.Lasts)
}

func lastsText(l plan.Lasts) string {
	switch l {
	case plan.ForGood:
		return "for good"
	case plan.Seconds:
		return "for seconds, until the new address is in use; connections to the old one end"
	case plan.Restart:
		return "while it restarts; connections to the old address end"
	}
	return "while it is made again; connections to the old address end"
}

// mark is the sign and the colour of an action.
func mark(a plan.Action) (string, style) {
	switch a {
	case plan.Create:
		return "+", green
	case plan.Update:
		return "~", yellow
	case plan.Replace:
		return "±", red
	case plan.Delete:
		return "-", red
	case plan.Adopt:
		return "+", green
	case plan.Release:
		return "-", yellow
	}
	return "?", alarm
}

// impactSpan is an impact in its colour.
func impactSpan(i provider.Impact) span {
	switch i {
	case provider.Live:
		return span{string(i), green}
	case provider.Reconfigure:
		return span{string(i), cyan}
	case provider.Reboot:
		return span{string(i), yellow}
	}
	return span{string(i), alarm}
}

// allow is the flag that lifts the refusal of c.
func allow(c plan.Change) string {
	if c.Machine != "" {
		return "--allow " + c.Machine
	}
	return "--allow " + c.Addr.Kind + "/" + c.Addr.Name
}

// facts writes what a change is about: the attributes that differ, or for what is new all that it will have.
func (pr *printer) facts(p plan.Plan, c plan.Change) {
	var rows []fact
	switch {
	case (c.Action == plan.Create || c.Action == plan.Adopt) && c.After != nil:
		rows = newFacts(p, c)
	default:
		rows = whyFacts(c)
		for _, r := range c.Reasons {
			rows = append(rows, reasonFacts(r, len(c.Reasons) > 1 || r.Impact != c.Impact)...)
		}
	}
	pr.factRows(rows)
}

// whyFacts is why something changes, where that is known in words.
func whyFacts(c plan.Change) []fact {
	if c.Why == "" {
		return nil
	}
	return []fact{{"", "because", []span{text(c.Why)}}}
}

// fact is one line below a change.
type fact struct {
	sign, name string
	rest       []span
}

// factRows writes facts with their names in one column.
func (pr *printer) factRows(rows []fact) {
	width := 0
	for _, r := range rows {
		if n := columns(r.name); n <= 28 {
			width = max(width, n)
		}
	}
	for _, r := range rows {
		sign := r.sign
		if sign == "" {
			sign = " "
		}
		color := map[string]style{"+": green, "-": red, "~": yellow}[r.sign]
		spans := []span{{sign, color}, text(" "), text(pad(r.name, width)), text("  ")}
		pr.line(4, 8, append(spans, r.rest...)...)
	}
}

// newFacts lists the attributes of what will be made, but for those that say again what stands above: the owner's mark
// and the name.
func newFacts(p plan.Plan, c plan.Change) []fact {
	var rows []fact
	attrs := c.After.Attrs
	for _, k := range keys(attrs) {
		if k == "lab" && attrs[k] == p.Lab || k == "name" && attrs[k] == c.Addr.Name {
			continue
		}
		list, _ := attrs[k].([]any)
		if key := keyOf(nil, list); key != "" && len(list) > 0 {
			for _, e := range list {
				m := e.(map[string]any)
				rows = append(rows, fact{"", k + " " + str(m[key].(string)), []span{text(fields(m, key))}})
			}
			continue
		}
		rows = append(rows, fact{"", k, []span{text(value(k, attrs[k]))}})
	}
	return rows
}

// reasonFacts says why something changes; withImpact where that is not the same as the whole change's.
func reasonFacts(r plan.Reason, withImpact bool) []fact {
	tail := []span{}
	if withImpact && r.Impact != provider.None {
		cost := impactSpan(r.Impact)
		tail = []span{text("  "), {"(" + cost.text + ")", cost.style}}
	}
	if r.Asked {
		return []fact{{"", "because", append([]span{text("it was asked for")}, tail...)}}
	}
	if r.Because != nil {
		return []fact{{"", "because", append([]span{text(r.Because.String() + " is made again")}, tail...)}}
	}
	var rows []fact
	for _, d := range deltas(r.Attr, r.Before, r.After) {
		rest := []span{text(d.before), {" -> ", faint}, text(d.after)}
		switch d.sign {
		case "+":
			rest = []span{{d.after, green}}
		case "-":
			rest = []span{{d.before, red}}
		}
		rows = append(rows, fact{d.sign, d.name, append(rest, tail...)})
	}
	return rows
}

// deferred writes the differences that wait.
func (pr *printer) deferred(p plan.Plan) {
	if len(p.Deferred) == 0 {
		return
	}
	pr.blank()
	pr.line(0, 2, span{"Left for later", bold})
	for _, d := range p.Deferred {
		pr.line(2, 6, text(d.Addr.String()+": "+d.Why))
	}
}

// refusal says what apply wants to be told, and how.
func (pr *printer) refusal(p plan.Plan) {
	refused := p.Refusals()
	if len(refused) == 0 {
		return
	}
	seen := map[string]bool{}
	var flags []string
	for _, c := range refused {
		if f := allow(c); !seen[f] {
			seen[f] = true
			flags = append(flags, f)
		}
	}
	pr.line(0, 2, span{"Refused: " + plural(len(refused), "change") + ".", alarm},
		text(" To apply this plan all the same: "), span{strings.Join(flags, " "), bold})
}

// summary is the plan in one line.
func summary(p plan.Plan) []span {
	n := map[plan.Action]int{}
	impacts := map[plan.Action]map[provider.Impact]int{plan.Update: {}, plan.Replace: {}}
	var lost []string
	cut := map[string]bool{}
	var moves []string
	for _, c := range p.Changes {
		if c.Move != nil {
			moves = append(moves, c.Machine)
		}
		n[c.Action]++
		if m := impacts[c.Action]; m != nil {
			m[c.Impact]++
		}
		if c.DataLoss {
			lost = append(lost, c.Addr.String())
		}
		for _, m := range c.CutOff {
			cut[m] = true
		}
	}
	s := fmt.Sprintf("Plan: %d to create, %d to change%s", n[plan.Create], n[plan.Update], spread(impacts[plan.Update]))
	if n[plan.Replace] > 0 {
		s += fmt.Sprintf(", %d to replace%s", n[plan.Replace], spread(impacts[plan.Replace]))
	}
	s += fmt.Sprintf(", %d to delete", n[plan.Delete])
	if n[plan.Adopt] > 0 {
		s += fmt.Sprintf(", %d to adopt", n[plan.Adopt])
	}
	if n[plan.Release] > 0 {
		s += fmt.Sprintf(", %d to release", n[plan.Release])
	}
	s += fmt.Sprintf("; %d unchanged.", p.Unchanged)
	spans := []span{{s, bold}}
	if len(cut) > 0 {
		var names []string
		for m := range cut {
			names = append(names, m)
		}
		sort.Strings(names)
		spans = append(spans, span{" Cut off meanwhile: " + some(names) + ".", yellow})
	}
	if len(moves) > 0 {
		spans = append(spans, span{" Moves: " + some(moves) + ".", yellow})
	}
	if len(lost) > 0 {
		return append(spans, span{" Data lost: " + some(lost) + ".", alarm})
	}
	return append(spans, text(" Data lost: none."))
}

// spread is " (reboot 1, live 2)", dearest first; "" for nothing.
func spread(impacts map[provider.Impact]int) string {
	var names []provider.Impact
	for i := range impacts {
		names = append(names, i)
	}
	sort.Slice(names, func(i, j int) bool {
		if a, b := names[i].Rank(), names[j].Rank(); a != b {
			return a > b
		}
		return names[i] < names[j]
	})
	var parts []string
	for _, i := range names {
		parts = append(parts, fmt.Sprintf("%s %d", i, impacts[i]))
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// some is the first names of a list that may be long.
func some(names []string) string { return first(names, 10) }

// first is the first of names that may be very many.
func first(names []string, most int) string {
	if len(names) <= most+1 {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
}

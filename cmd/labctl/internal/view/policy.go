package view

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/check/reach"
	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/lab"
)

// PolicyFacts are what Policy shows, as one value for JSON.
type PolicyFacts struct {
	Lab        string              `json:"lab"`
	Statements []nft.Statement     `json:"statements"`
	Places     map[string]Location `json:"places,omitempty"` // where statements stand, by their paths in the spec
	Filters    []string            `json:"filters"`          // machines with rules, sorted
	Target     string              `json:"target,omitempty"` // whose host filters, too, by Outside
	Outside    []lab.FilterRule    `json:"outside,omitempty"`
}

// Policy writes everything that holds about who may open what: what the spec says, and what is implied.
func Policy(w io.Writer, f PolicyFacts, o Options) error {
	pr := &printer{Options: o}
	pr.line(0, 2, span{"Policy of lab " + f.Lab, bold})
	if len(f.Filters) == 0 {
		pr.blank()
		pr.line(0, 2, text("No machine has rules: there is no router, and no server with firewall: true. Everybody on one network reaches everybody there."))
		return pr.flush(w)
	}
	for _, part := range []struct {
		title string
		kinds []nft.Kind
		why   bool
	}{
		{"Rules of the policy", []nft.Kind{nft.FromPolicy}, false},
		{"Published ports", []nft.Kind{nft.FromPublish}, false},
		{"Translation", []nft.Kind{nft.FromNAT}, true},
		{"Implied: what the lab needs for itself", []nft.Kind{nft.Implied}, true},
		{"Implied: on every machine with rules", []nft.Kind{nft.Housekeeping, nft.Connections, nft.AntiSpoof}, true},
		{"And everything else", []nft.Kind{nft.DefaultRule}, true},
	} {
		pr.statements(f, part.title, part.kinds, part.why)
	}
	pr.blank()
	pr.line(0, 2, text("Machines with rules: "+some(f.Filters)+". What a machine sends by itself is not filtered by itself."))
	pr.outside(f)
	return pr.flush(w)
}

// outside writes by what a target's host filters before packets get to machines.
func (pr *printer) outside(f PolicyFacts) {
	if f.Target == "" {
		return
	}
	t := &table{header: []string{"name", "on", "from", "to", "services", ""}}
	for _, r := range slices.SortedStableFunc(slices.Values(f.Outside), lab.FilterRule.Before) {
		does := "lets in"
		switch {
		case r.Egress && r.Deny:
			does = "lets nothing out"
		case r.Egress:
			does = "lets out"
		case r.Deny:
			does = "stops"
		}
		t.add(span{r.Name, bold}, text(r.Network), text(prefixTexts(r.From)), text(prefixTexts(r.To)), text(serviceTexts(r.Services)), text(does))
	}
	pr.blank()
	pr.line(0, 2, span{"Before all that, the own filter of target " + f.Target, bold}, text(": in front of every machine on these networks; nothing else comes in there."))
	t.write(pr, 2)
}

func prefixTexts(all []netip.Prefix) string {
	if len(all) == 0 {
		return "everybody"
	}
	var out []string
	for _, p := range all {
		out = append(out, p.String())
	}
	return first(out, 3)
}

func (pr *printer) statements(f PolicyFacts, title string, kinds []nft.Kind, why bool) {
	t := &table{header: []string{"name", "from", "to", "services", "log", "on", "stands at"}}
	if why {
		t.header[6] = "why"
	}
	for _, s := range f.Statements {
		if !slices.Contains(kinds, s.Kind) {
			continue
		}
		log, on := "", text(some(s.Machines))
		if s.Log {
			log = "yes"
		}
		if len(s.Machines) == 0 {
			on = span{"nowhere", yellow}
		}
		last := f.placesText(s)
		if why && last == "" {
			last = s.Why
		} else if why && s.Why != "" {
			last = s.Why + " (" + last + ")"
		}
		t.add(span{s.Name, bold}, text(some(s.From)), text(some(s.To)), text(some(s.Services)), text(log), on, text(last))
	}
	if len(t.rows) == 0 {
		if kinds[0] == nft.FromPolicy {
			pr.blank()
			pr.line(0, 2, span{title, bold}, text(": none, so nothing passes between networks but what stands below."))
		}
		return
	}
	pr.blank()
	pr.line(0, 2, span{title, bold})
	t.write(pr, 2)
}

// placesText is where a statement stands.
func (f PolicyFacts) placesText(s nft.Statement) string {
	var at []string
	for _, p := range s.Paths {
		if l, ok := f.Places[p]; ok {
			at = append(at, l.String())
		}
	}
	return some(at)
}

// most machines, or groups of them, whose matrix is drawn as one.
const mostColumns = 12

// Matrix writes who reaches whom by what: a table for few, else a paragraph for each.
func Matrix(w io.Writer, lab string, m reach.Matrix, o Options) error {
	pr := &printer{Options: o}
	pr.line(0, 2, span{"Who reaches whom in lab " + lab, bold}, text(", by usual ways, as the rules prove it; without what machines get their addresses by, and labctl's own way in"))
	pr.blank()
	if wide := pr.grid(m); wide {
		pr.rows(m)
	}
	first := true
	for _, g := range m.Groups {
		if len(g.Machines) > 1 {
			if first {
				pr.blank()
				first = false
			}
			pr.line(0, 4, span{label(g), bold}, text(" are alike: "+strings.Join(g.Machines, ", ")))
		}
	}
	return pr.flush(w)
}

// label is a group in a few letters.
func label(g reach.Group) string {
	if len(g.Machines) > 1 {
		return fmt.Sprintf("%s+%d", g.Name, len(g.Machines)-1)
	}
	return g.Name
}

// grid draws the matrix as a table, and says whether it is too wide for that.
func (pr *printer) grid(m reach.Matrix) (wide bool) {
	if len(m.Groups) > mostColumns {
		return true
	}
	t := &table{header: []string{"from \\ to"}}
	total := 12
	for _, g := range m.Groups {
		t.header = append(t.header, label(g))
	}
	for i, g := range m.Groups {
		cells := []span{{label(g), bold}}
		for j := range m.Groups {
			cells = append(cells, cell(m.Cells[i][j], i == j))
		}
		t.rows = append(t.rows, cells)
	}
	for c := 1; c < len(t.header); c++ {
		most := columns(t.header[c])
		for _, r := range t.rows {
			most = max(most, columns(r[c].text))
		}
		total += most + 2
	}
	if pr.Width > 0 && total > pr.Width {
		return true
	}
	t.write(pr, 0)
	return false
}

func cell(services []string, own bool) span {
	switch {
	case services == nil && own:
		return span{"\\", faint}
	case len(services) == 0:
		return span{"-", faint}
	}
	return text(some(services))
}

// rows writes a paragraph for each group: what it reaches, with those together that it reaches alike.
func (pr *printer) rows(m reach.Matrix) {
	for i, g := range m.Groups {
		pr.line(0, 4, span{label(g), bold})
		var order []string
		to := map[string][]string{}
		for j, target := range m.Groups {
			key := some(m.Cells[i][j])
			if key == "" {
				continue
			}
			if to[key] == nil {
				order = append(order, key)
			}
			to[key] = append(to[key], label(target))
		}
		slices.Sort(order)
		for _, key := range order {
			pr.line(2, 6, span{key, cyan}, text(" on "+some(to[key])))
		}
		if len(order) == 0 {
			pr.line(2, 6, span{"nobody", faint})
		}
	}
}

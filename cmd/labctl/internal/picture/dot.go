package picture

import (
	"fmt"
	"strings"
)

// colors are what dot and mermaid draw a status with: fill and line.
func colors(s Status) (fill, line string) {
	switch s {
	case New:
		return "#e3f5e8", "#1f7a3d"
	case Changed:
		return "#fff4d1", "#b07800"
	case Again:
		return "#ffe6da", "#c2410c"
	case Gone, Missing:
		return "#fdecec", "#b42318"
	case Extra:
		return "#f4edfc", "#7b4fb5"
	case Here:
		return "#dbe9ff", "#1d5fd1"
	case Way:
		return "#eef4ff", "#3f7be0"
	case Same:
		return "#ffffff", "#b9c2cb"
	}
	return "#ffffff", "#56657a"
}

// dashed says whether a status is drawn with broken lines.
func dashed(s Status) bool { return s == Gone || s == Missing || s == Extra }

// writeDot writes a model for Graphviz: networks are wide boxes, and edges carry addresses.
func writeDot(m model) string {
	var b strings.Builder
	fmt.Fprintf(&b, "graph %s {\n", dotText(m.Lab.Name))
	fmt.Fprintf(&b, "  graph [label=%s, labelloc=t, fontname=\"Helvetica\", nodesep=0.3, ranksep=0.6]\n", dotText(strings.TrimSpace(m.Lab.Name+"\n"+m.Subtitle)))
	b.WriteString("  node [fontname=\"Helvetica\", fontsize=10, shape=box, style=filled]\n  edge [fontname=\"Courier\", fontsize=9]\n")
	if m.world {
		fill, line := colors(m.status(Thing{}))
		fmt.Fprintf(&b, "  world [label=\"world\", shape=ellipse, fillcolor=%q, color=%q]\n", fill, line)
	}
	for i, n := range m.networks {
		fill, line := colors(n.status)
		if n.status == "" {
			fill = "#dfe7f1"
		}
		text := strings.Join(append(append([]string{n.name}, n.facts...), n.marks...), "  ")
		fmt.Fprintf(&b, "  n%d [label=%s, width=4, height=0.3, style=%s, fillcolor=%q, color=%q]\n", i, dotText(text), dotStyle(n.status, "filled"), fill, line)
	}
	for i, x := range m.machines {
		fill, line := colors(x.status)
		kind := "filled"
		if x.router {
			kind = "filled,rounded,bold"
		}
		fmt.Fprintf(&b, "  m%d [label=%s, style=%s, fillcolor=%q, color=%q]\n", i, dotText(x.text()), dotStyle(x.status, kind), fill, line)
	}
	m.dotEdges(&b)
	b.WriteString("}\n")
	return b.String()
}

// dotEdges writes who is joined to what, wires above their boxes.
func (m model) dotEdges(b *strings.Builder) {
	for i, n := range m.networks {
		if n.uplink {
			fmt.Fprintf(b, "  world -- n%d\n", i)
		}
	}
	for i, x := range m.machines {
		top := x.top(m)
		for _, l := range x.legs {
			_, line := colors(l.status)
			label := ""
			if len(x.legs) > 1 {
				label = ", label=" + dotText(strings.Join(l.label, "\n"))
			}
			a, c := fmt.Sprintf("n%d", l.network), fmt.Sprintf("m%d", i)
			if m.networks[l.network].level > top {
				a, c = c, a
			}
			style := "solid"
			if dashed(l.status) {
				style = "dashed"
			} else if l.down {
				style = "dotted"
			}
			fmt.Fprintf(b, "  %s -- %s [style=%s, color=%q%s]\n", a, c, style, line, label)
		}
	}
	fmt.Fprint(b, m.dotLegend())
}

// dotLegend are the entries of the legend as boxes of their own.
func (m model) dotLegend() string {
	var b strings.Builder
	for i, e := range m.Legend {
		fill, line := colors(e.Status)
		fmt.Fprintf(&b, "  k%d [label=%s, style=%s, fillcolor=%q, color=%q]\n", i, dotText(e.Text), dotStyle(e.Status, "filled"), fill, line)
	}
	return b.String()
}

// top is the level of the wire that a machine hangs from.
func (x machine) top(m model) int {
	level := 0
	for i, l := range x.legs {
		if k := m.networks[l.network].level; i == 0 || k < level {
			level = k
		}
	}
	return level
}

// text is all that is written in a machine's box.
func (x machine) text() string {
	lines := []string{x.name}
	for _, l := range x.lines {
		lines = append(lines, l.text)
	}
	return strings.Join(lines, "\n")
}

func dotStyle(s Status, style string) string {
	if dashed(s) {
		style += ",dashed"
	}
	return `"` + style + `"`
}

// dotText is a quoted string of the DOT language, in which only quotes and backslashes mean something.
func dotText(s string) string {
	s = strings.ReplaceAll(s, "\x00", "\ufffd")
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", " ", "&", "&amp;").Replace(s) + `"`
}

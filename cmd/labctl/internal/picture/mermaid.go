package picture

import (
	"fmt"
	"slices"
	"strings"
)

// writeMermaid writes a model as a Mermaid flowchart.
func writeMermaid(m model) string {
	var b strings.Builder
	fmt.Fprintf(&b, "---\ntitle: %s\n---\nflowchart TB\n", yamlText(strings.TrimSpace(m.Lab.Name+" "+m.Subtitle)))
	if m.world {
		fmt.Fprintf(&b, "  world((\"world\"))%s\n", class(m.status(Thing{}), "world"))
	}
	for i, n := range m.networks {
		text := strings.Join(append(append([]string{n.name}, n.facts...), n.marks...), "  ")
		fmt.Fprintf(&b, "  n%d[[\"%s\"]]%s\n", i, mermaidText(text), class(n.status, "network"))
	}
	for i, x := range m.machines {
		open, shut, kind := `["`, `"]`, "server"
		if x.router {
			open, shut, kind = `("`, `")`, "router"
		}
		fmt.Fprintf(&b, "  m%d%s%s%s%s\n", i, open, mermaidText(x.text()), shut, class(x.status, kind))
	}
	for i, n := range m.networks {
		if n.uplink {
			fmt.Fprintf(&b, "  world --- n%d\n", i)
		}
	}
	for i, x := range m.machines {
		top := x.top(m)
		for _, l := range x.legs {
			a, c, line := fmt.Sprintf("n%d", l.network), fmt.Sprintf("m%d", i), "---"
			if m.networks[l.network].level > top {
				a, c = c, a
			}
			switch {
			case dashed(l.status) || l.down:
				line = "-.-"
			case l.status == Way || l.status == Here:
				line = "==="
			}
			label := ""
			if len(x.legs) > 1 && len(l.label) > 0 {
				label = `|"` + mermaidText(strings.Join(l.label, "\n")) + `"|`
			}
			fmt.Fprintf(&b, "  %s %s%s %s\n", a, line, label, c)
		}
	}
	for i, e := range m.Legend {
		fmt.Fprintf(&b, "  k%d[\"%s\"]%s\n", i, mermaidText(e.Text), class(e.Status, "server"))
	}
	m.classes(&b)
	return b.String()
}

// class is the class of a node: its status, or what it is.
func class(s Status, kind string) string {
	if s != "" {
		return ":::" + string(s)
	}
	return ":::" + kind
}

// classes defines those that are used.
func (m model) classes(b *strings.Builder) {
	if !m.marked() {
		b.WriteString("  classDef world fill:#e8eef5,stroke:#5b6b7f,color:#1c2733\n")
		b.WriteString("  classDef network fill:#dfe7f1,stroke:#56657a,color:#1c2733\n")
		b.WriteString("  classDef router fill:#eaf2fc,stroke:#2f5f9e,stroke-width:2px,color:#1c2733\n")
		b.WriteString("  classDef server fill:#ffffff,stroke:#8492a0,color:#1c2733\n")
		return
	}
	used := []Status{m.status(Thing{})}
	for _, n := range m.networks {
		used = append(used, n.status)
	}
	for _, x := range m.machines {
		used = append(used, x.status)
	}
	for _, e := range m.Legend {
		used = append(used, e.Status)
	}
	slices.Sort(used)
	for _, s := range slices.Compact(used) {
		fill, line := colors(s)
		dash := ""
		if dashed(s) {
			dash = ",stroke-dasharray:5 4"
		}
		fmt.Fprintf(b, "  classDef %s fill:%s,stroke:%s,color:#1c2733%s\n", s, fill, line, dash)
	}
}

// mermaidText is the inside of a quoted label. Mermaid reads it as Markdown and HTML: what means something there is
// written as a character reference of its own kind (#34; and so on).
func mermaidText(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n':
			b.WriteString("<br/>")
		case strings.ContainsRune("\"#&<>`\\*_~[]{}|;%", r), r < 0x20:
			fmt.Fprintf(&b, "#%d;", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// yamlText is a quoted YAML string; JSON's quoting is a part of YAML.
func yamlText(s string) string { return fmt.Sprintf("%q", s) }

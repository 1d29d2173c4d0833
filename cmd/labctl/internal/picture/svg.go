package picture

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// writeSVG writes a scene as a document of its own.
func writeSVG(s scene) string {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n")
	s.svg(&b, "<style>"+style+"</style>\n")
	return b.String()
}

// svg writes the svg element.
func (s scene) svg(b *strings.Builder, head string) {
	w, h := math.Ceil(s.W), math.Ceil(s.H)
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %.0f %.0f" role="img" aria-label="%s" class="picture">`+"\n", w, h, w, h, escape(s.name))
	fmt.Fprintf(b, "<title>%s</title>\n%s", escape(s.name), head)
	fmt.Fprintf(b, `<rect class="paper" x="0" y="0" width="%.0f" height="%.0f"/>`+"\n", w, h)
	for _, g := range s.groups {
		g.write(b)
	}
	b.WriteString("</svg>\n")
}

// write writes a group: its things are named so that a script can find what belongs together.
func (g group) write(b *strings.Builder) {
	fmt.Fprintf(b, `<g class="%s"`, escape(strings.Join(append([]string{g.role}, g.classes...), " ")))
	if g.machine >= 0 {
		fmt.Fprintf(b, ` data-m="%d"`, g.machine)
	}
	if len(g.networks) > 0 {
		fmt.Fprintf(b, ` data-n="%s"`, strings.Trim(fmt.Sprint(g.networks), "[]"))
	}
	b.WriteString(">")
	if g.title != "" {
		fmt.Fprintf(b, "<title>%s</title>", escape(g.title))
	}
	for _, s := range g.shapes {
		b.WriteString("\n ")
		switch {
		case s.rect != nil:
			fmt.Fprintf(b, `<rect class="%s" x="%s" y="%s" width="%s" height="%s" rx="%s"/>`,
				s.class, number(s.rect.X), number(s.rect.Y), number(s.rect.W), number(s.rect.H), number(s.round))
		case s.path != "":
			fmt.Fprintf(b, `<path class="%s" d="%s"/>`, s.class, s.path)
		default:
			fmt.Fprintf(b, `<text class="%s" x="%s" y="%s">%s</text>`, s.class, number(s.at.X), number(s.at.Y), escape(s.text))
		}
	}
	b.WriteString("\n</g>\n")
}

// escape makes text fit for XML and HTML, attributes included; what XML 1.0 cannot hold becomes a replacement mark.
func escape(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '&':
			b.WriteString("&amp;")
		case r == '<':
			b.WriteString("&lt;")
		case r == '>':
			b.WriteString("&gt;")
		case r == '"':
			b.WriteString("&#34;")
		case r == '\'':
			b.WriteString("&#39;")
		case r < 0x20 && r != '\n' && r != '\t', r == 0xfffe, r == 0xffff:
			b.WriteRune(utf8.RuneError)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// Command session draws a recorded terminal session as SVG: docs/session.txt as docs/session.svg, for the README. It must not
// know labctl: what it is given is text, with a line that begins with "$ " for every command.
//
//	go run ./build/session docs/session.txt docs/session.svg
package main

import (
	"fmt"
	"html"
	"os"
	"strings"
	"unicode/utf8"
)

// Of the picture, in pixels; a column is as wide as that of the usual fixed fonts at this size.
const (
	size   = 14
	column = 8.43
	row    = 19
	margin = 18
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: session TEXT SVG")
		os.Exit(1)
	}
	text, err := os.ReadFile(os.Args[1])
	if err == nil {
		err = os.WriteFile(os.Args[2], []byte(draw(string(text))), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "session:", err)
		os.Exit(1)
	}
}

// draw is the picture of a session.
func draw(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	wide := 0
	for _, l := range lines {
		wide = max(wide, utf8.RuneCountInString(l))
	}
	width, height := int(float64(wide)*column)+2*margin, len(lines)*row+2*margin
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" role="img" aria-label="A terminal session with labctl">
<style>
text { font: %dpx ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace; fill: #d0d7de; white-space: pre }
.command { fill: #ffffff; font-weight: bold } .prompt, .add { fill: #57ab5a } .change { fill: #daaa3f } .remove { fill: #f47067 } .head { fill: #768390 }
</style>
<rect width="100%%" height="100%%" rx="8" fill="#22272e"/>
`, width, height, size)
	for i, l := range lines {
		if l != "" {
			fmt.Fprintf(&b, `<text x="%d" y="%d" xml:space="preserve">%s</text>`+"\n", margin, margin+i*row+size, spans(l))
		}
	}
	return b.String() + "</svg>\n"
}

// spans is a line with what stands out in it.
func spans(line string) string {
	span := func(class, s string) string {
		return `<tspan class="` + class + `">` + html.EscapeString(s) + "</tspan>"
	}
	if command, ok := strings.CutPrefix(line, "$ "); ok {
		command, comment, _ := strings.Cut(command, "   #")
		if comment != "" {
			comment = span("head", "   #"+comment)
		}
		return span("prompt", "$ ") + span("command", command) + comment
	}
	switch mark, _, _ := strings.Cut(strings.TrimLeft(line, " "), " "); mark {
	case "+":
		return span("add", line)
	case "~":
		return span("change", line)
	case "-":
		return span("remove", line)
	}
	if strings.ToUpper(line) == line && strings.Contains(line, "  ") { // a table's header
		return span("head", line)
	}
	return html.EscapeString(line)
}

// Package picture draws a lab as network people do: networks as horizontal wires, routers between the wires they
// join, servers hanging from theirs, the world on top. It writes SVG, HTML, Graphviz's dot and Mermaid, and needs no
// other program for it. The same lab always gives the same bytes.
//
// What happens to a lab is told it as marks on plain things: it must not know plans, proofs, providers, CUE or the
// command line.
package picture

import (
	"fmt"
	"io"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// Picture is what to draw.
type Picture struct {
	// Lab is complete, and holds also what is only drawn because of its mark: a machine that is to be deleted, for
	// instance, of which nothing may be known but its name and networks.
	Lab      lab.Lab
	Subtitle string // what the marks tell: "plan for target local"; "" without marks
	// Marks say what is with things; those without a mark are Same, and drawn in the background. Without any marks at
	// all everything is drawn in colours of its network.
	Marks  map[Thing]Mark
	Legend []Entry  // what the statuses mean here, in this order
	Notes  []string // more lines below the legend: what cannot be drawn
}

// Thing is something that is drawn: a machine, a network, a machine's interface on a network, or with neither, the
// world.
type Thing struct{ Machine, Network string }

// Mark is what is with a thing.
type Mark struct {
	Status Status
	Lines  []string // written in its box, or on its wire; on the world and interfaces they are not written
	Detail string   // may be long and of several lines: shown when pointed at
}

// Entry is one line of the legend.
type Entry struct {
	Status Status
	Text   string
}

// Status is the way a thing is drawn.
type Status string

// The statuses.
const (
	Same    Status = "same"    // in the background
	New     Status = "new"     // green: to be made, or can be reached
	Changed Status = "changed" // amber: to be changed, or moved
	Again   Status = "again"   // red: to be made again, with what that costs
	Gone    Status = "gone"    // red, dashed: to be deleted
	Extra   Status = "extra"   // violet, dashed: exists and should not
	Missing Status = "missing" // red, dashed: should exist and does not
	Here    Status = "here"    // blue: where one looks from
	Way     Status = "way"     // blue line: on the way
)

// Format is a way to write a picture down.
type Format string

// The formats.
const (
	SVG     Format = "svg"
	HTML    Format = "html"
	Dot     Format = "dot"     // for Graphviz
	Mermaid Format = "mermaid" // a flowchart, for Markdown that renders it
)

// Formats are all formats with the suffixes of files that hold them.
func Formats() map[Format][]string {
	return map[Format][]string{SVG: {".svg"}, HTML: {".html", ".htm"}, Dot: {".dot", ".gv"}, Mermaid: {".mmd", ".mermaid"}}
}

// FormatOf is the format that a file of this name should have; false where the name says nothing.
func FormatOf(file string) (Format, bool) {
	for f, suffixes := range Formats() {
		for _, s := range suffixes {
			if strings.HasSuffix(strings.ToLower(file), s) {
				return f, true
			}
		}
	}
	return "", false
}

// Write draws a picture. The error is the writer's, or that there is no such format.
func Write(w io.Writer, p Picture, f Format) error {
	var text string
	switch f {
	case SVG:
		text = writeSVG(compose(p))
	case HTML:
		text = writeHTML(p, compose(p))
	case Dot:
		text = writeDot(newModel(p))
	case Mermaid:
		text = writeMermaid(newModel(p))
	default:
		return fmt.Errorf("cannot draw lab %s as %q: it is svg, html, dot or mermaid", p.Lab.Name, f)
	}
	_, err := io.WriteString(w, text)
	return err
}

// marked says whether things have statuses at all.
func (p Picture) marked() bool { return p.Marks != nil }

// status is a thing's; "" in a picture without marks.
func (p Picture) status(t Thing) Status {
	if !p.marked() {
		return ""
	}
	if m, ok := p.Marks[t]; ok && m.Status != "" {
		return m.Status
	}
	return Same
}

package view

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Findings writes one line for each finding, sorted by place: "lab.cue:3:9: error: servers.web.cpus: text". The lines
// are never wrapped, so that editors can read them. Nothing is written for no findings.
func Findings(w io.Writer, fs []LocatedFinding, o Options) error {
	pr := &printer{Options: Options{Color: o.Color}}
	for _, f := range sorted(fs) {
		word, color := "error", alarm
		if f.Warning {
			word, color = "warning", yellow
		}
		spans := []span{{word, color}, text(": ")}
		if at := f.String(); at != "" {
			spans = append([]span{{at, bold}, text(": ")}, spans...)
		}
		if f.Path != "" {
			spans = append(spans, text(f.Path+": "))
		}
		spans = append(spans, text(strings.Join(lines(f.Text), "; ")))
		if len(f.Also) > 0 {
			var also []string
			for _, l := range f.Also {
				also = append(also, l.String())
			}
			spans = append(spans, span{" (see " + strings.Join(also, ", ") + ")", faint})
		}
		pr.line(0, 0, spans...)
	}
	return pr.flush(w)
}

// sorted are findings by place.
func sorted(fs []LocatedFinding) []LocatedFinding {
	fs = slices.Clone(fs)
	slices.SortStableFunc(fs, func(a, b LocatedFinding) int {
		return cmp.Or(a.compare(b.Location), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Text, b.Text))
	})
	return fs
}

func (l Location) compare(m Location) int {
	return cmp.Or(cmp.Compare(l.File, m.File), cmp.Compare(l.Line, m.Line), cmp.Compare(l.Column, m.Column))
}

// String is "file:line:column" as far as it is known.
func (l Location) String() string {
	switch {
	case l.Line == 0:
		return l.File
	case l.Column == 0:
		return fmt.Sprintf("%s:%d", l.File, l.Line)
	}
	return fmt.Sprintf("%s:%d:%d", l.File, l.Line, l.Column)
}

package view

import (
	"io"
	"strings"
)

// Formatted is a file that is not as the formatter writes it, or was not until now.
type Formatted struct {
	File string `json:"file"`
	Diff string `json:"diff,omitempty"` // what changes, as diff -u says it; where that was asked for
}

// FormattedFiles writes the names of files, or how they change.
func FormattedFiles(w io.Writer, fs []Formatted, o Options) error {
	pr := &printer{Options: Options{Color: o.Color}}
	for _, f := range fs {
		if f.Diff == "" {
			pr.b.WriteString(f.File + "\n")
			continue
		}
		for _, line := range strings.Split(strings.TrimSuffix(f.Diff, "\n"), "\n") {
			style := plain
			switch {
			case strings.HasPrefix(line, "diff "), strings.HasPrefix(line, "+++ "), strings.HasPrefix(line, "--- "):
				style = bold
			case strings.HasPrefix(line, "@@"):
				style = cyan
			case strings.HasPrefix(line, "+"):
				style = green
			case strings.HasPrefix(line, "-"):
				style = red
			}
			pr.b.WriteString(span{line, style}.paint(o.Color) + "\n")
		}
	}
	return pr.flush(w)
}

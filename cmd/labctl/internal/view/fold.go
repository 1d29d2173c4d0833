package view

import (
	"io"
	"strings"
)

// Fold writes a text, such as help, at the width that o has: lines that begin at the margin are one paragraph until the next
// that does not or ends with a colon; an indented line is one by itself, and what follows its first line stands under what
// comes after the first gap of two blanks in it, as a list's explanations do.
func Fold(w io.Writer, s string, o Options) error {
	pr := &printer{Options: Options{Width: o.Width}}
	paragraph := ""
	end := func() {
		if paragraph != "" {
			pr.line(0, 0, text(paragraph))
		}
		paragraph = ""
	}
	for _, line := range strings.Split(strings.TrimSuffix(s, "\n"), "\n") {
		bare := strings.TrimLeft(line, " ")
		switch {
		case o.Width == 0 || bare == "":
			end()
			pr.b.WriteString(line + "\n")
		case bare != line:
			end()
			indent := len(line) - len(bare)
			pr.line(indent, hanging(line, indent), text(bare))
		case paragraph == "":
			paragraph = line
		default:
			paragraph += " " + line
		}
		if strings.HasSuffix(line, ":") {
			end()
		}
	}
	end()
	return pr.flush(w)
}

// hanging is the column after the first gap of two blanks and more in an indented line.
func hanging(line string, indent int) int {
	gap := strings.Index(line[indent:], "  ")
	if gap < 0 {
		return indent + 2
	}
	rest := line[indent+gap:]
	return columns(line[:indent+gap]) + len(rest) - len(strings.TrimLeft(rest, " "))
}

package view

import (
	"bytes"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// style is an ANSI "select graphic rendition" parameter (ECMA-48 8.3.117); "" is plain.
type style string

const (
	plain  style = ""
	bold   style = "1"
	faint  style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
	cyan   style = "36"
	alarm  style = "1;31"
)

// span is a piece of text in one style. It holds no line breaks.
type span struct {
	text  string
	style style
}

func text(s string) span { return span{text: s} }

// paint is s with its escape codes where color is on.
func (s span) paint(color bool) string {
	if !color || s.style == plain || s.text == "" {
		return s.text
	}
	return "\x1b[" + string(s.style) + "m" + s.text + "\x1b[0m"
}

// printer collects lines and writes them in one go.
type printer struct {
	Options
	b bytes.Buffer
}

func (p *printer) flush(w io.Writer) error {
	_, err := w.Write(p.b.Bytes())
	return err
}

func (p *printer) blank() { p.b.WriteByte('\n') }

// line writes spans behind indent blanks, wrapped at Width between words; what follows the first line is indented by
// hang. Blanks inside spans are kept unless the line breaks there.
func (p *printer) line(indent, hang int, spans ...span) {
	if p.Width > 0 { // so narrow that indenting leaves no room
		indent, hang = min(indent, p.Width/2), min(hang, p.Width/2)
	}
	n := pen{p: p, at: indent}
	p.b.WriteString(strings.Repeat(" ", indent))
	gap, all := span{}, words(spans)
	for i, word := range all {
		if word.text[0] == ' ' {
			gap = span{gap.text + word.text, word.style}
			continue
		}
		if p.Width > 0 && i > 0 && gap.text != "" && n.at+columns(gap.text)+together(all[i:]) > p.Width {
			n.breakLine(hang)
			gap.text = ""
		}
		n.write(gap)
		for p.Width > 0 && n.at+columns(word.text) > p.Width { // longer than a whole line
			head, tail := cut(word.text, max(p.Width-n.at, 1))
			if tail == "" {
				break
			}
			n.write(span{head, word.style})
			n.breakLine(hang)
			word.text = tail
		}
		n.write(word)
		gap = span{}
	}
	n.set(plain)
	p.b.WriteByte('\n')
}

// together is how many columns the words up to the next blank take: they are not parted.
func together(words []span) int {
	n := 0
	for _, w := range words {
		if w.text[0] == ' ' {
			break
		}
		n += columns(w.text)
	}
	return n
}

// pen writes pieces of a line, with an escape code only where the style changes.
type pen struct {
	p     *printer
	at    int // column
	style style
}

func (n *pen) set(s style) {
	if !n.p.Color || s == n.style {
		return
	}
	if n.style != plain {
		n.p.b.WriteString("\x1b[0m")
	}
	if s != plain {
		n.p.b.WriteString("\x1b[" + string(s) + "m")
	}
	n.style = s
}

func (n *pen) write(s span) {
	if s.text != "" {
		n.set(s.style)
		n.p.b.WriteString(s.text)
		n.at += columns(s.text)
	}
}

func (n *pen) breakLine(hang int) {
	n.set(plain)
	n.p.b.WriteString("\n" + strings.Repeat(" ", hang))
	n.at = hang
}

// words cuts spans into runs of blanks and of everything else.
func words(spans []span) []span {
	var all []span
	for _, s := range spans {
		for t := clean(s.text); t != ""; {
			end := strings.IndexByte(t, ' ')
			if end == 0 {
				end = len(t) - len(strings.TrimLeft(t, " "))
			} else if end < 0 {
				end = len(t)
			}
			all = append(all, span{t[:end], s.style})
			t = t[end:]
		}
	}
	return all
}

// clean makes text from elsewhere harmless: control characters, with which a guest or a plugin could move the cursor,
// become blanks, and what is not UTF-8 becomes U+FFFD.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}

// columns is how many columns of a terminal s takes.
func columns(s string) int {
	n := 0
	for _, r := range s {
		n += runeColumns(r)
	}
	return n
}

// runeColumns follows the East Asian Width of Unicode Annex 11, coarsely: wide and fullwidth blocks take two columns,
// combining marks none.
func runeColumns(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.Is(unicode.Mn, r) || r == 0x200b || r == 0xfe0f:
		return 0
	case r >= 0x1100 && r <= 0x115f, r >= 0x2e80 && r <= 0xa4cf, r >= 0xac00 && r <= 0xd7a3, r >= 0xf900 && r <= 0xfaff,
		r >= 0xfe30 && r <= 0xfe6f, r >= 0xff00 && r <= 0xff60, r >= 0xffe0 && r <= 0xffe6, r >= 0x1f300 && r <= 0x1faff,
		r >= 0x20000 && r <= 0x3fffd:
		return 2
	}
	return 1
}

// cut splits s after at most n columns, but never before its first character.
func cut(s string, n int) (head, tail string) {
	at := 0
	for i, r := range s {
		at += runeColumns(r)
		if at > n && i > 0 {
			return s[:i], s[i:]
		}
	}
	return s, ""
}

// shorten is s in at most n columns, its end replaced by "…" where something is missing.
func shorten(s string, n int) string {
	if columns(s) <= n {
		return s
	}
	if n < 1 {
		return ""
	}
	head := ""
	if n > 1 {
		head, _ = cut(s, n-1)
		if columns(head) > n-1 {
			head = ""
		}
	}
	return head + "…"
}

// pad is s filled up with blanks to n columns.
func pad(s string, n int) string {
	if have := columns(s); have < n {
		return s + strings.Repeat(" ", n-have)
	}
	return s
}

// lines splits text from elsewhere into its lines, without empty ones at either end.
func lines(s string) []string {
	s = strings.Trim(strings.ReplaceAll(s, "\r\n", "\n"), "\n\r ")
	if s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}

// upper is s with a capital first letter.
func upper(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[n:]
}

// plural is "1 thing", "2 things".
func plural(n int, thing string) string {
	s := number(n) + " " + thing
	if n != 1 {
		s += "s"
	}
	return s
}

package picture

import (
	"strings"
	"unicode"
)

// font is a way of writing; sizes are in pixels.
type font struct {
	size       float64
	bold, mono bool
}

// smallFont is what most of a box is written in.
var smallFont = fontOf(smallText)

// fontOf says how a kind of text is written. The style sheet says the same.
func fontOf(k kind) font {
	switch k {
	case nameText, wireText:
		return font{size: 13, bold: true}
	case addrText:
		return font{size: 10.5, mono: true}
	case factText:
		return font{size: 11, mono: true}
	case titleText:
		return font{size: 20, bold: true}
	case worldText:
		return font{size: 13, bold: true}
	case keyText:
		return font{size: 12}
	case markText:
		return font{size: 10, bold: true}
	}
	return font{size: 10}
}

// height is that of a line.
func (f font) height() float64 { return f.size + 3.5 }

// width is how wide a text is at most in the usual sans-serif and monospaced fonts (Helvetica, Arial, DejaVu,
// Liberation, Menlo): glyphs in classes by their widths in DejaVu Sans, the widest of these.
func (f font) width(s string) float64 {
	w := 0.0
	for _, r := range s {
		switch {
		case unicode.Is(unicode.Mn, r):
		case wide(r):
			w += 1.02
		case f.mono:
			w += 0.602
		default:
			w += em(r)
		}
	}
	if f.bold {
		w *= 1.1
	}
	return w * f.size
}

// em is the width of a glyph, in sizes of its font.
func em(r rune) float64 {
	switch {
	case strings.ContainsRune("ijlI|!.,:;' ()[]/ft-r\"", r):
		return 0.40
	case strings.ContainsRune("mwMW@%→", r):
		return 0.95
	case unicode.IsUpper(r), r == '#', r == '+', r == '=', r == '&', r == '~', r == '…':
		return 0.79
	case r < 0x250:
		return 0.62
	}
	return 0.85
}

// wide says whether a glyph is as wide as it is high: East Asian scripts, symbols and pictures.
func wide(r rune) bool {
	return r >= 0x1100 && r <= 0x115f || r >= 0x2e80 && r <= 0xa4cf || r >= 0xac00 && r <= 0xd7a3 ||
		r >= 0xf900 && r <= 0xfaff || r >= 0xfe30 && r <= 0xfe6f || r >= 0xff00 && r <= 0xff60 || r >= 0x1f000
}

// fit shortens a text to a width, with an ellipsis at its end.
func (f font) fit(s string, limit float64) string {
	if f.width(s) <= limit {
		return s
	}
	runes := []rune(s)
	for len(runes) > 0 && f.width(string(runes)+"…") > limit {
		runes = runes[:len(runes)-1]
	}
	return strings.TrimRight(string(runes), " ") + "…"
}

// wrap puts words into lines of at most a width; a longer word has a line of its own.
func wrap(list []string, f font, limit float64) []string {
	var out []string
	for _, w := range list {
		if n := len(out); n > 0 && f.width(out[n-1]+" "+w) <= limit {
			out[n-1] += " " + w
		} else {
			out = append(out, w)
		}
	}
	return out
}

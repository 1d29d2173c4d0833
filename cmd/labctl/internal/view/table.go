package view

import "strings"

// table is rows of cells under a header. Where it does not fit into the width, each row becomes a paragraph.
type table struct {
	header []string
	rows   [][]span
	shrink bool // the last column may be cut, if 20 columns are left for it
}

func (t *table) add(cells ...span) { t.rows = append(t.rows, cells) }

// write writes t behind indent blanks. A column that is empty in every row is left out.
func (t *table) write(p *printer, indent int) {
	if len(t.rows) == 0 {
		return
	}
	widths := make([]int, len(t.header))
	total := indent - 2
	for i, h := range t.header {
		for _, r := range t.rows {
			widths[i] = max(widths[i], columns(clean(r[i].text)))
		}
		if widths[i] > 0 {
			widths[i] = max(widths[i], columns(h))
			total += widths[i] + 2
		}
	}
	last := len(widths) - 1
	if over := total - p.Width; t.shrink && p.Width > 0 && over > 0 && widths[last]-over >= 20 {
		widths[last] -= over
		total = p.Width
	}
	if p.Width > 0 && total > p.Width {
		t.paragraphs(p, indent)
		return
	}
	head := make([]span, len(t.header))
	for i, h := range t.header {
		head[i] = span{strings.ToUpper(h), faint}
	}
	for _, r := range append([][]span{head}, t.rows...) {
		p.b.WriteString(t.row(r, widths, indent, p.Color))
	}
}

// row is one line of the table.
func (t *table) row(cells []span, widths []int, indent int, color bool) string {
	var b strings.Builder
	gap := strings.Repeat(" ", indent)
	for i, c := range cells {
		if widths[i] == 0 {
			continue
		}
		c.text = shorten(clean(c.text), widths[i])
		if c.text == "" {
			gap += strings.Repeat(" ", widths[i]+2)
			continue
		}
		b.WriteString(gap + c.paint(color))
		gap = strings.Repeat(" ", widths[i]-columns(c.text)+2)
	}
	return b.String() + "\n"
}

// paragraphs writes each row as its first cell and, below it, the others with their headers.
func (t *table) paragraphs(p *printer, indent int) {
	for _, r := range t.rows {
		p.line(indent, indent+4, span{r[0].text, bold})
		for i, c := range r[1:] {
			if c.text != "" {
				p.line(indent+2, indent+4, span{t.header[i+1] + " ", faint}, c)
			}
		}
	}
}

package view

import (
	"fmt"
	"sort"
	"strings"

	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/provider"
)

// mostRows is how many lines the block has at most: it must fit on a small terminal, for a block that has scrolled
// out of it cannot be redrawn.
const mostRows = 12

// block is what stands at the bottom of the terminal now.
type block struct {
	rows []int  // columns of each line
	text string // the lines
	wide int    // columns of the names: it only grows, so that lines do not jump to and fro
}

// height is how many lines the block takes on a terminal of width columns: when it became narrower since, the
// terminal has wrapped them.
func (b block) height(width int) int {
	n := 0
	for _, c := range b.rows {
		n += max(1, (c+width-1)/width)
	}
	return n
}

// frame writes the lines that have ended and draws the block anew, all in one write: what is drawn over is never
// blanked first, so that nothing flickers. The caller holds p.mu.
func (p *Progress) frame() {
	width := 80
	if p.o.Width != nil {
		if n := p.o.Width(); n > 0 {
			width = n
		}
	}
	up := p.block.height(width)
	next := block{wide: p.block.wide}
	drawn := p.draw(&next, width)
	if len(p.ended) == 0 && drawn == p.block.text && up == len(p.block.rows) {
		return
	}
	p.block = next
	var b strings.Builder
	if up > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\r", up)
	}
	for _, l := range p.ended {
		b.WriteString(strings.TrimSuffix(l, "\n") + "\x1b[K\n")
	}
	p.ended = nil
	b.WriteString(drawn + "\x1b[J")
	p.write(b.String())
}

// draw fills b for a terminal of width columns, and returns its text.
func (p *Progress) draw(b *block, width int) string {
	var out strings.Builder
	for _, r := range p.rows(b, width) {
		n := 0
		for _, s := range r {
			n += columns(s.text)
			out.WriteString(s.paint(p.o.Color))
		}
		b.rows = append(b.rows, n)
		out.WriteString("\x1b[K\n")
	}
	b.text = out.String()
	return b.text
}

// rows is the block: a line for each machine at work, and for each thing that machines share.
func (p *Progress) rows(b *block, width int) [][]span {
	by := map[string][]*task{}
	var names []string
	for _, a := range p.order {
		t := p.active[a]
		name := t.event.Machine
		if name == "" {
			name = a.Kind + "/" + a.Name
		}
		if by[name] == nil {
			names = append(names, name)
		}
		by[name] = append(by[name], t)
	}
	sort.Strings(names)
	hidden := 0
	if len(names) > mostRows {
		hidden = len(names) - (mostRows - 1)
		names = names[:mostRows-1]
	}
	for _, n := range names {
		b.wide = max(b.wide, columns(n))
	}
	wide := min(b.wide, max(width/3, 8), 30)
	var rows [][]span
	for _, n := range names {
		rows = append(rows, p.row(n, by[n], wide, width-1)) // the last column stays free: some terminals wrap there
	}
	if hidden > 0 {
		rows = append(rows, fit([]span{{fmt.Sprintf("  and %d more at work", hidden), faint}}, width-1))
	}
	return rows
}

// row is one line of the block: the name, the time since its oldest change began, and what its newest is doing.
func (p *Progress) row(name string, ts []*task, wide, width int) []span {
	t := ts[len(ts)-1]
	for _, other := range ts { // a download is what people wait for
		if other.step.Total > 0 {
			t = other
		}
	}
	what := t.phase
	if what == "" { // deleted, and not a word yet from its creation
		what = "making it again"
	}
	if t.event.Machine != "" {
		what = t.event.Addr.Kind + ": " + what
	}
	took := p.clock().Sub(ts[0].since)
	if len(ts) > 1 {
		what += fmt.Sprintf(" (and %d more)", len(ts)-1)
	}
	spans := []span{{pad(shorten(clean(name), wide), wide), bold}, {fmt.Sprintf(" %6s ", uptime(took)), faint}}
	tail := []span{text(" " + clean(what))}
	if t.step.Total > 0 {
		room := width - wide - 8 - columns(what) - 24
		tail = append(tail, bar(t.step, room)...)
	} else if t.event.Impact.Rank() >= provider.Reboot.Rank() && t.event.Action == plan.Update && t.phase == doing(plan.Update) {
		tail = append(tail, span{" (" + string(t.event.Impact) + ")", faint})
	}
	return fit(append(spans, tail...), width)
}

// bar shows how far a step is, with a drawn bar where at least 8 columns are left for it.
func bar(s provider.Step, room int) []span {
	part := share(s)
	var spans []span
	if room = min(room, 30); room >= 8 {
		full := int(part * float64(room))
		spans = []span{text(" "), {strings.Repeat("█", full), green}, {strings.Repeat("░", room-full), faint}}
	}
	if spans = append(spans, text(fmt.Sprintf(" %3.0f%%", 100*part))); s.Share {
		return spans
	}
	return append(spans, span{fmt.Sprintf(" %s/%s", bytesText(s.Done), bytesText(s.Total)), faint})
}

// fit cuts spans to n columns.
func fit(spans []span, n int) []span {
	var out []span
	for _, s := range spans {
		have := columns(s.text)
		if have > n {
			s.text = shorten(s.text, n)
			return append(out, s)
		}
		n -= have
		out = append(out, s)
	}
	return out
}

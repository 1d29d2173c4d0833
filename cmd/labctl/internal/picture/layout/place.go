package layout

import (
	"math"
	"slices"
	"sort"
)

// span is a piece of the x axis.
type span struct{ from, to float64 }

func (s span) mid() float64 { return (s.from + s.to) / 2 }

// clamp is the place of s that is nearest to x and at least pad within it.
func (s span) clamp(x, pad float64) float64 {
	if s.to-s.from < 2*pad {
		return s.mid()
	}
	return min(max(x, s.from+pad), s.to-pad)
}

// cell is what hangs below a wire: a box with several legs, a single box, or a stalk with boxes on both sides.
type cell struct {
	span
	joint int // the box with several legs, or -1
	boxes []int
	stalk float64 // of boxes in rows: the x of what they are hooked on
}

// placement is a part with its x coordinates.
type placement struct {
	*part
	g      *Graph
	rows   int            // at most, below a wire
	room   map[int]span   // what belongs to a wire and all below it, through all levels below
	bar    map[int]span   // the wire itself
	reach  map[int]span   // how far it may grow
	cells  map[int][]cell // by wire, from left to right
	before map[int]span   // bars as they were placed the time before
	needs  map[int]float64
	width  float64
}

// place finds all x coordinates. It is done twice: where a box stands depends on wires elsewhere in the forest.
func (p *part) place(g *Graph, rows int) *placement {
	var pl *placement
	for range 2 {
		next := &placement{part: p, g: g, rows: rows, room: map[int]span{}, bar: map[int]span{}, reach: map[int]span{}, cells: map[int][]cell{}, needs: map[int]float64{}}
		if pl != nil {
			next.before = pl.bar
		}
		pl = next
		for _, r := range p.roots {
			if pl.width > 0 {
				pl.width += spanGap
			}
			w := pl.need(r)
			pl.wire(r, span{pl.width, pl.width + w})
			pl.width += w
		}
		pl.bounds()
		if p.world {
			pl.width = max(pl.width, g.World.W)
		}
	}
	return pl
}

// bounds finds how far wires may grow to meet a line that comes straight down: within their room, and a little beyond
// where no other wire of the level is.
func (pl *placement) bounds() {
	for _, w := range pl.wires {
		r := pl.room[w]
		to := span{r.from - growth, r.to + growth}
		for _, o := range pl.wires {
			if o == w || pl.level[o] != pl.level[w] {
				continue
			}
			if pl.room[o].to <= r.from {
				to.from = max(to.from, (pl.room[o].to+r.from)/2+near/2)
			} else {
				to.to = min(to.to, (pl.room[o].from+r.to)/2-near/2)
			}
		}
		pl.reach[w] = to
	}
}

// need is the width of a wire and all below it.
func (pl *placement) need(w int) float64 {
	if n, known := pl.needs[w]; known {
		return n
	}
	hang, kids := 0.0, 0.0
	for _, c := range pl.hanging(w) {
		hang += c.to - c.from + cellGap
	}
	for _, k := range pl.kids[w] {
		kids += pl.need(k) + spanGap
	}
	pl.needs[w] = max(pl.g.Wires[w].Least, hang-cellGap, kids-spanGap)
	return pl.needs[w]
}

// hanging are the cells of a wire, not yet placed; those of single boxes last.
func (pl *placement) hanging(w int) []cell {
	var out []cell
	for _, b := range pl.joints[w] {
		width := pl.jointWidth(b)
		out = append(out, cell{span: span{0, width}, joint: b})
	}
	return append(out, pl.stalks(pl.singles[w])...)
}

// stalks are the cells of single boxes: one for each if they fit beside each other, else pairs of columns.
func (pl *placement) stalks(boxes []int) []cell {
	size := pl.uniform(boxes)
	var out []cell
	if len(boxes) <= fewest || pl.rows == 1 {
		for _, b := range boxes {
			out = append(out, cell{span: span{0, size.W}, joint: -1, boxes: []int{b}})
		}
		return out
	}
	pairs := (len(boxes) + 2*pl.rows - 1) / (2 * pl.rows)
	for i := range pairs {
		from, to := i*len(boxes)/pairs, (i+1)*len(boxes)/pairs
		out = append(out, cell{span: span{0, 2 * (size.W + hook)}, joint: -1, boxes: boxes[from:to], stalk: size.W + hook})
	}
	return out
}

// uniform is a size that all boxes fit in.
func (pl *placement) uniform(boxes []int) Size {
	var s Size
	for _, b := range boxes {
		s.W, s.H = max(s.W, pl.g.Boxes[b].W), max(s.H, pl.g.Boxes[b].H)
	}
	return s
}

// wire places a wire within its room, and everything below it.
func (pl *placement) wire(w int, room span) {
	pl.room[w] = room
	total := -float64(spanGap)
	for _, k := range pl.kids[w] {
		total += pl.need(k) + spanGap
	}
	x := room.from + (room.to-room.from-max(total, 0))/2
	for _, k := range pl.kids[w] {
		n := pl.need(k)
		pl.wire(k, span{x, x + n})
		x += n + spanGap
	}
	cells := pl.line(w)
	pl.cells[w] = cells
	bar := span{room.mid(), room.mid()}
	if len(cells) > 0 {
		bar = span{cells[0].from, cells[len(cells)-1].to}
	}
	if lack := pl.g.Wires[w].Least - (bar.to - bar.from); lack > 0 {
		bar = span{bar.from - lack/2, bar.to + lack/2}
		if over := room.from - bar.from; over > 0 {
			bar = span{bar.from + over, bar.to + over}
		}
		if over := bar.to - room.to; over > 0 {
			bar = span{bar.from - over, bar.to - over}
		}
	}
	pl.bar[w] = bar
}

// line places the cells of a wire: boxes with several legs above where these lead, the others around them.
func (pl *placement) line(w int) []cell {
	room := pl.room[w]
	cells := pl.hanging(w)
	k := len(pl.joints[w])
	joints, others := cells[:k:k], cells[k:]
	wish := map[int]float64{}
	for _, c := range joints {
		wish[c.joint] = pl.wish(w, c.joint)
	}
	sort.SliceStable(joints, func(i, j int) bool { return wish[joints[i].joint] < wish[joints[j].joint] })
	want := make([]float64, k)
	for i, c := range joints {
		want[i] = wish[c.joint]
	}
	settle(joints, want, room)
	row, want := mix(joints, others, room)
	settle(row, want, room)
	boxes := slices.Concat(pl.singles[w])
	for i := range row { // single boxes keep their order from left to right
		if n := len(row[i].boxes); n > 0 {
			row[i].boxes, boxes = boxes[:n], boxes[n:]
			if row[i].stalk > 0 {
				row[i].stalk += row[i].from
			}
		}
	}
	return row
}

// wish is where the middle of a box with several legs would best be.
func (pl *placement) wish(w, b int) float64 {
	var targets []span
	for _, l := range pl.g.Boxes[b].Legs {
		if l.Wire == w {
			continue
		}
		if r, ok := pl.room[l.Wire]; ok && slices.Contains(pl.kids[w], l.Wire) {
			targets = append(targets, span{r.from, r.to})
			if len(pl.g.Boxes[b].Legs) == 2 {
				targets[0] = pl.bar[l.Wire]
			}
		} else if bar, ok := pl.before[l.Wire]; ok {
			targets = append(targets, bar)
		}
	}
	if len(targets) == 0 {
		return pl.room[w].mid()
	}
	sort.Slice(targets, func(i, j int) bool { return targets[i].mid() < targets[j].mid() })
	if m := len(targets) / 2; len(targets)%2 == 1 {
		return targets[m].mid()
	} else {
		return (targets[m-1].to + targets[m].from) / 2
	}
}

// mix puts cells of single boxes into the gaps between the placed joints, from the widest on, and then around them;
// want is where the middle of each would best be.
func mix(joints, others []cell, room span) (row []cell, want []float64) {
	if len(joints) == 0 {
		x := room.mid() - width(others)/2
		for _, c := range others {
			want = append(want, x+(c.to-c.from)/2)
			x += c.to - c.from + cellGap
		}
		return others, want
	}
	counts := shares(joints, others, room)
	for i := range len(joints) + 1 {
		mine := others[:counts[i]]
		others = others[counts[i]:]
		x := room.from
		switch {
		case i == 0:
			x = joints[0].from - cellGap - width(mine)
		case i == len(joints):
			x = joints[i-1].to + cellGap
		default:
			x = (joints[i-1].to+joints[i].from)/2 - width(mine)/2
		}
		for _, c := range mine {
			row, want = append(row, c), append(want, x+(c.to-c.from)/2)
			x += c.to - c.from + cellGap
		}
		if i < len(joints) {
			row, want = append(row, joints[i]), append(want, joints[i].mid())
		}
	}
	return row, want
}

// shares says how many of others go to the left of each joint, and to the right of the last.
func shares(joints, others []cell, room span) []int {
	k := len(joints)
	counts, free := make([]int, k+1), make([]float64, k+1)
	for i := range free {
		from, to := room.from-cellGap, room.to+cellGap
		if i > 0 {
			from = joints[i-1].to
		}
		if i < k {
			to = joints[i].from
		}
		free[i] = to - from - cellGap
	}
	for _, c := range others {
		n, best := c.to-c.from+cellGap, -1
		for i := 1; i < k; i++ {
			if free[i] >= n && (best < 0 || free[i] > free[best]) {
				best = i
			}
		}
		if best < 0 {
			best = 0
			roomy := free[k] >= n
			if roomy != (free[0] >= n) && roomy || roomy == (free[0] >= n) && counts[k] < counts[0] {
				best = k
			}
		}
		counts[best]++
		free[best] -= n
	}
	return counts
}

func width(cells []cell) float64 {
	w := 0.0
	for _, c := range cells {
		w += c.to - c.from + cellGap
	}
	return max(w-cellGap, 0)
}

// settle places cells in their order as near to where they want their middles as their widths and the room allow: a
// least squares fit of a rising line, in which neighbours that would collide move as one.
func settle(cells []cell, want []float64, room span) {
	type block struct{ sum, n, at float64 }
	var blocks []block
	var members []int
	offset := 0.0
	offsets := make([]float64, len(cells))
	for i, c := range cells {
		offsets[i] = offset
		half := (c.to - c.from) / 2
		b := block{sum: want[i] - half - offset, n: 1}
		if c.joint >= 0 {
			b.sum, b.n = b.sum*8, 8 // single boxes give way
		}
		b.at = b.sum / b.n
		blocks, members = append(blocks, b), append(members, 1)
		for n := len(blocks); n > 1 && blocks[n-2].at > blocks[n-1].at; n = len(blocks) {
			a := &blocks[n-2]
			a.sum, a.n = a.sum+blocks[n-1].sum, a.n+blocks[n-1].n
			a.at = a.sum / a.n
			members[n-2] += members[n-1]
			blocks, members = blocks[:n-1], members[:n-1]
		}
		offset += c.to - c.from + cellGap
	}
	last := room.to - room.from - (offset - cellGap)
	i := 0
	for k, b := range blocks {
		at := room.from + min(max(b.at-room.from, 0), max(last, 0))
		for range members[k] {
			w := cells[i].to - cells[i].from
			x := math.Round(at + offsets[i])
			cells[i].from, cells[i].to = x, x+w
			i++
		}
	}
}

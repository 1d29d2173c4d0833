package layout

import "math"

// pack puts the drawings of all parts together: the first, and the others as a block in a corner that it leaves free,
// beside it or below it, whichever gives the best page.
func pack(g Graph, parts []*part, ds []Drawing) Drawing {
	whole := Drawing{Wires: make([]Rect, len(g.Wires)), Boxes: make([]Rect, len(g.Boxes)), Legs: make([][]Line, len(g.Boxes)), Uplinks: make([]Line, len(g.Wires))}
	if len(ds) == 0 {
		whole.Size = Size{2 * margin, 2 * margin}
		return whole
	}
	first, rest := ds[0], ds[1:]
	origin, limit := arrange(first, rest)
	first.move(margin, margin)
	whole.take(parts[0], first)
	whole.Size = first.Size
	if len(rest) > 0 {
		places := make([]Point, len(rest))
		size := shelves(rest, limit, places)
		for i := range rest {
			rest[i].move(margin+origin.X+places[i].X, margin+origin.Y+places[i].Y)
			whole.take(parts[i+1], rest[i])
		}
		whole.Size = Size{max(first.W, origin.X+size.W), max(first.H, origin.Y+size.H)}
	}
	whole.W, whole.H = whole.W+2*margin, whole.H+2*margin
	return whole
}

// arrange finds where the block of the rest goes beside first, and how wide its rows may be.
func arrange(first Drawing, rest []Drawing) (origin Point, limit float64) {
	taken := first.taken()
	score, total := math.Inf(1), 0.0
	for _, d := range rest {
		total += d.W + islandGap
		try := max(total-islandGap, widest(rest))
		size := shelves(rest, try, nil)
		for _, at := range []Point{{first.W - size.W, 0}, {0, 0}, {first.W + islandGap, 0}, {0, first.H + islandGap}} {
			if at.X < 0 || !free(Rect{at.X - islandGap, at.Y - islandGap, size.W + 2*islandGap, size.H + 2*islandGap}, taken) {
				continue
			}
			w, h := max(first.W, at.X+size.W), max(first.H, at.Y+size.H)
			if s := max(w/page, h); s < score*0.99 {
				origin, limit, score = at, try, s
			}
		}
	}
	return origin, limit
}

// taken is all that stands in a drawing.
func (d Drawing) taken() []Rect {
	out := []Rect{d.World}
	out = append(append(out, d.Wires...), d.Boxes...)
	lines := append([]Line(nil), d.Uplinks...)
	for _, l := range d.Legs {
		lines = append(lines, l...)
	}
	for _, l := range lines {
		out = append(out, l.Label)
		for i := 1; i < len(l.Points); i++ {
			a, b := l.Points[i-1], l.Points[i]
			out = append(out, Rect{min(a.X, b.X) - 1, min(a.Y, b.Y) - 1, math.Abs(a.X-b.X) + 2, math.Abs(a.Y-b.Y) + 2})
		}
	}
	return out
}

// free says whether none of taken reaches into r.
func free(r Rect, taken []Rect) bool {
	for _, o := range taken {
		if o.W > 0 && o.H > 0 && o.X < r.X+r.W && r.X < o.X+o.W && o.Y < r.Y+r.H && r.Y < o.Y+o.H {
			return false
		}
	}
	return true
}

func widest(ds []Drawing) float64 {
	w := 0.0
	for _, d := range ds {
		w = max(w, d.W)
	}
	return w
}

// shelves puts drawings in rows of at most a width, and says what all take.
func shelves(ds []Drawing, limit float64, places []Point) Size {
	var all Size
	x, y, high := 0.0, 0.0, 0.0
	for i, d := range ds {
		if x > 0 && x+d.W > limit {
			x, y, high = 0, y+high+islandGap, 0
		}
		if places != nil {
			places[i] = Point{x, y}
		}
		high = max(high, d.H)
		all = Size{max(all.W, x+d.W), max(all.H, y+high)}
		x += d.W + islandGap
	}
	return all
}

// take copies a part's own things.
func (d *Drawing) take(p *part, from Drawing) {
	for _, w := range p.wires {
		d.Wires[w], d.Uplinks[w] = from.Wires[w], from.Uplinks[w]
	}
	for _, list := range [][]int{p.boxes, p.loose} {
		for _, b := range list {
			d.Boxes[b], d.Legs[b] = from.Boxes[b], from.Legs[b]
		}
	}
	if p.world {
		d.World = from.World
	}
}

package layout

import "math"

// draw makes the drawing of a part by itself, beginning at 0, 0.
func (p *part) draw(g *Graph, rows int) Drawing {
	d := Drawing{Wires: make([]Rect, len(g.Wires)), Boxes: make([]Rect, len(g.Boxes)), Legs: make([][]Line, len(g.Boxes)), Uplinks: make([]Line, len(g.Wires))}
	for i, b := range g.Boxes {
		d.Legs[i] = make([]Line, len(b.Legs))
	}
	if len(p.loose) > 0 {
		p.shelf(g, rows, &d)
		return d
	}
	r := p.place(g, rows).route()
	h := r.heights()
	for _, w := range p.wires {
		b := r.bar[w]
		d.Wires[w] = Rect{b.from, h.bar[p.level[w]], b.to - b.from, Bar}
		for _, c := range r.cells[w] {
			if c.joint >= 0 {
				d.Boxes[c.joint] = Rect{c.from, h.box[p.level[w]], c.to - c.from, g.Boxes[c.joint].H}
			} else {
				r.singlesOf(w, c, h, &d)
			}
		}
	}
	if r.world.to > r.world.from {
		d.World = Rect{r.world.from, 0, g.World.W, g.World.H}
	}
	for _, w := range r.ways {
		line := r.line(w, h, &d)
		if w.box < 0 {
			d.Uplinks[w.wire] = line
		} else {
			d.Legs[w.box][w.leg] = line
		}
	}
	d.H = h.end
	d.bounds(r)
	return d
}

// bounds moves the drawing so that it begins at x 0, and fills in its width.
func (d *Drawing) bounds(r *router) {
	from, to := 0.0, r.width
	for _, w := range r.ways {
		for _, s := range w.steps {
			from, to = min(from, s.from, s.to), max(to, s.from, s.to)
		}
	}
	for _, b := range r.bar {
		from, to = min(from, b.from), max(to, b.to)
	}
	d.move(-from, 0)
	d.W = to - from
}

// heights are the y coordinates of the levels.
type heights struct {
	bar, box []float64 // upper edges
	zone     map[int]span
	end      float64
}

// heights stacks the levels: each as high as its highest box and its lines need.
func (r *router) heights() heights {
	h := heights{zone: map[int]span{}}
	lanes := map[int]int{}
	for _, w := range r.ways {
		for _, s := range w.steps {
			lanes[s.zone] = max(lanes[s.zone], s.track+1)
		}
	}
	y := 0.0
	for level := range r.levels {
		start := y
		switch {
		case level > 0:
			y += above + float64(lanes[zone(level, over)])*trackPitch
		case r.world.to > r.world.from:
			start = r.g.World.H
			y += r.g.World.H + above + float64(lanes[zone(0, over)])*trackPitch
		}
		h.zone[zone(level, over)] = span{start, y}
		h.bar = append(h.bar, y)
		y += Bar
		labels, hang := r.extent(level)
		start = y
		if hang > 0 {
			y += below + float64(lanes[zone(level, under)])*trackPitch
		}
		h.zone[zone(level, under)] = span{start, y}
		y += labels
		h.box = append(h.box, y)
		y += hang
	}
	h.end = y
	return h
}

// extent is the height of the labels above a level's boxes, and of the boxes with all that is below them.
func (r *router) extent(level int) (labels, hang float64) {
	for _, w := range r.wires {
		if r.level[w] != level {
			continue
		}
		size := r.uniform(r.singles[w])
		for _, c := range r.cells[w] {
			if c.joint < 0 {
				rows := len(c.boxes)
				if c.stalk > 0 {
					rows = (rows + 1) / 2
				}
				hang = max(hang, float64(rows)*(size.H+rowGap)-rowGap)
				continue
			}
			top, bottom := r.sides(c.joint)
			box := r.g.Boxes[c.joint]
			for _, i := range top {
				labels = max(labels, box.Legs[i].Label.H+labelGap)
			}
			low := 0.0
			for _, i := range bottom {
				low = max(low, box.Legs[i].Label.H+labelGap)
			}
			hang = max(hang, box.H+low)
		}
	}
	return labels, hang
}

// singlesOf places the boxes of a cell and their only legs.
func (r *router) singlesOf(w int, c cell, h heights, d *Drawing) {
	level := r.level[w]
	size := r.uniform(r.singles[w])
	bottom := h.bar[level] + Bar
	if c.stalk == 0 {
		x, y := c.mid(), h.box[level]
		d.Boxes[c.boxes[0]] = Rect{c.from, y, size.W, size.H}
		d.Legs[c.boxes[0]][0] = Line{Points: []Point{{x, bottom}, {x, y}}}
		return
	}
	for i, b := range c.boxes {
		x, edge := c.from, c.from+size.W
		if i%2 == 1 {
			x, edge = c.to-size.W, c.to-size.W
		}
		y := h.box[level] + float64(i/2)*(size.H+rowGap)
		d.Boxes[b] = Rect{x, y, size.W, size.H}
		mid := math.Round(y + size.H/2)
		d.Legs[b][0] = Line{Points: []Point{{c.stalk, bottom}, {c.stalk, mid}, {edge, mid}}}
	}
}

// line makes the points of a way, from its box to its wire, and places its label.
func (r *router) line(w *way, h heights, d *Drawing) Line {
	goal := h.bar[r.level[w.wire]]
	if w.up {
		goal += Bar
	}
	y := r.g.World.H - 6 // within the symbol, which is drawn over it
	var l Line
	if w.box >= 0 {
		box, size := d.Boxes[w.box], r.g.Boxes[w.box].Legs[w.leg].Label
		l.Label = Rect{w.x + labelGap, box.Y - labelGap + 1 - size.H, size.W, size.H}
		y = box.Y
		if !w.up {
			l.Label.Y = box.Y + box.H + labelGap - 1
			y += box.H
		}
	}
	l.Points = []Point{{w.x, y}}
	for _, s := range w.steps {
		z := h.zone[s.zone]
		at := z.to - 12 - float64(s.track)*trackPitch
		if !w.up {
			at = z.from + 12 + float64(s.track)*trackPitch
		}
		l.Points = append(l.Points, Point{s.from, at}, Point{s.to, at})
	}
	l.Points = append(l.Points, Point{w.end(), goal})
	return l
}

// shelf places boxes that are joined to nothing.
func (p *part) shelf(g *Graph, rows int, d *Drawing) {
	columns := (len(p.loose) + rows - 1) / rows
	var size Size
	for _, b := range p.loose {
		size.W, size.H = max(size.W, g.Boxes[b].W), max(size.H, g.Boxes[b].H)
	}
	for i, b := range p.loose {
		x, y := float64(i%columns)*(size.W+cellGap), float64(i/columns)*(size.H+rowGap)
		d.Boxes[b] = Rect{x, y, size.W, size.H}
		d.W, d.H = max(d.W, x+size.W), max(d.H, y+size.H)
	}
}

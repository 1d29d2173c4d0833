package layout

import (
	"math"
	"sort"
)

// The zones of a level, from top to bottom: over its bars, between bars and boxes, and where the boxes hang.
const (
	over = iota
	under
	hanging
	zones
)

// zone is one of a level.
func zone(level, which int) int { return level*zones + which }

// way is the route of one leg, or of an uplink: down from a box, or up from one to a wire on its level.
type way struct {
	box, leg int     // box is -1 for the world's, leg then the wire
	x        float64 // where it begins
	up       bool
	steps    []*step // the horizontal pieces
	wire     int
}

// step is a horizontal piece of a way, in a zone.
type step struct {
	zone     int
	from, to float64
	track    int // counted from where the way comes from
}

// end is the x at which a way meets its wire.
func (w way) end() float64 {
	if n := len(w.steps); n > 0 {
		return w.steps[n-1].to
	}
	return w.x
}

// router leads ways through a placement.
type router struct {
	*placement
	used  map[int][]float64 // x of vertical lines, by zone
	stand map[int][]span    // the cells of a level
	ways  []*way
	world span
}

// route finds the ways of all boxes with several legs, and the uplinks.
func (pl *placement) route() *router {
	r := &router{placement: pl, used: map[int][]float64{}, stand: map[int][]span{}}
	for _, w := range pl.wires {
		level := pl.level[w]
		for _, c := range pl.cells[w] {
			r.stand[level] = append(r.stand[level], c.span)
			if c.joint < 0 {
				x := c.mid()
				r.used[zone(level, under)] = append(r.used[zone(level, under)], x)
			}
		}
	}
	for _, w := range pl.wires {
		for _, c := range pl.cells[w] {
			if c.joint >= 0 {
				r.ports(w, c)
			}
		}
	}
	r.uplinks()
	var bent []*way
	for _, w := range r.ways {
		if !r.straight(w) {
			bent = append(bent, w)
		}
	}
	sort.SliceStable(bent, func(i, j int) bool { return r.length(bent[i]) < r.length(bent[j]) })
	for _, w := range bent {
		r.bend(w)
	}
	r.tracks()
	return r
}

// length is how far a way has to go sideways.
func (r *router) length(w *way) float64 { return math.Abs(r.bar[w.wire].clamp(w.x, 0) - w.x) }

// sides are the legs of a box that leave it at the top, and those that leave it at the bottom.
func (pl *placement) sides(b int) (top, bottom []int) {
	level := pl.level[pl.host[b]]
	for i, l := range pl.g.Boxes[b].Legs {
		if pl.level[l.Wire] > level {
			bottom = append(bottom, i)
		} else {
			top = append(top, i)
		}
	}
	return top, bottom
}

// jointWidth is the width of a box with several legs and their labels.
func (pl *placement) jointWidth(b int) float64 {
	box := pl.g.Boxes[b]
	w := box.W
	top, bottom := pl.sides(b)
	for _, side := range [][]int{top, bottom} {
		label := 0.0
		for _, i := range side {
			label = max(label, box.Legs[i].Label.W)
		}
		if len(side) == 1 {
			if need := 2 * (label + labelGap); need < 1.6*box.W { // the leg in the middle, else to the left
				w = max(w, need)
			}
			w = max(w, label+labelGap+2*stub)
		} else {
			w = max(w, float64(len(side))*(label+labelGap+2*near))
		}
	}
	return math.Ceil(w)
}

// ports chooses where the legs of a box leave it: in the order of where they lead.
func (r *router) ports(w int, c cell) {
	legs := r.g.Boxes[c.joint].Legs
	level := r.level[w]
	top, bottom := r.sides(c.joint)
	for k, side := range [][]int{top, bottom} {
		sort.SliceStable(side, func(i, j int) bool { return r.target(side[i], c) < r.target(side[j], c) })
		label := 0.0
		for _, i := range side {
			label = max(label, legs[i].Label.W)
		}
		for n, i := range side {
			slot := (c.to - c.from) / float64(len(side))
			x := max(min(c.mid(), c.to-label-labelGap), c.from+stub)
			if len(side) > 1 {
				x = c.from + slot*float64(n) + (slot-label-labelGap)/2
			}
			r.ways = append(r.ways, &way{box: c.joint, leg: i, x: math.Round(x), up: k == 0, wire: legs[i].Wire})
			z := zone(level+1, over)
			if k == 0 {
				z = zone(level, under)
			}
			r.used[z] = append(r.used[z], math.Round(x))
		}
	}
}

// target is where the leg of a joint leads.
func (r *router) target(leg int, c cell) float64 {
	w := r.g.Boxes[c.joint].Legs[leg].Wire
	if w == r.host[c.joint] {
		return c.mid()
	}
	return r.bar[w].mid()
}

// uplinks begins the ways from the world, which stands over the middle of its wires.
func (r *router) uplinks() {
	var wires []int
	all := span{math.Inf(1), math.Inf(-1)}
	for _, w := range r.wires {
		if r.g.Wires[w].World {
			wires = append(wires, w)
			all = span{min(all.from, r.bar[w].from), max(all.to, r.bar[w].to)}
		}
	}
	if len(wires) == 0 {
		return
	}
	half := r.g.World.W / 2
	mid := math.Round(span{0, r.width}.clamp(all.mid(), half))
	r.world = span{mid - half, mid + half}
	sort.SliceStable(wires, func(i, j int) bool { return r.bar[wires[i]].from < r.bar[wires[j]].from })
	for i, w := range wires {
		x := math.Round(mid + (float64(2*i+1)/float64(2*len(wires))-0.5)*r.g.World.W*0.7)
		r.ways = append(r.ways, &way{box: -1, leg: w, x: x, wire: w})
		r.used[zone(0, over)] = append(r.used[zone(0, over)], x)
	}
}

// straight takes the straight way, if there is one: the wire, which may grow within its room, is right there, and
// nothing stands between.
func (r *router) straight(w *way) bool {
	if w.up {
		return w.wire == r.host[w.box]
	}
	first := r.first(w)
	room := r.reach[w.wire]
	if w.x < room.from+stub || w.x > room.to-stub {
		return false
	}
	for level := first; level < r.level[w.wire]; level++ {
		if !r.passable(w.x, level) {
			return false
		}
	}
	for level := first; level <= r.level[w.wire]; level++ {
		if level > first && !r.clear(w.x, zone(level, over)) {
			return false
		}
	}
	for level := first; level < r.level[w.wire]; level++ {
		r.pass(w.x, level)
	}
	r.join(w.wire, w.x)
	return true
}

// first is the level whose bars a way downwards meets first.
func (r *router) first(w *way) int {
	if w.box < 0 {
		return 0
	}
	return r.level[r.host[w.box]] + 1
}

// clear says whether a vertical line has room in a zone.
func (r *router) clear(x float64, z int) bool {
	for _, u := range r.used[z] {
		if math.Abs(u-x) < near {
			return false
		}
	}
	return true
}

// passable says whether a vertical line can go through a level between its boxes.
func (r *router) passable(x float64, level int) bool {
	for _, c := range r.stand[level] {
		if x > c.from-near && x < c.to+near {
			return false
		}
	}
	return r.clear(x, zone(level, under)) && r.clear(x, zone(level, hanging))
}

// pass takes the place of a vertical line through a level and to the next.
func (r *router) pass(x float64, level int) {
	for _, z := range []int{zone(level, under), zone(level, hanging), zone(level+1, over)} {
		r.used[z] = append(r.used[z], x)
	}
}

// join lets a wire grow to x.
func (r *router) join(w int, x float64) {
	b := r.bar[w]
	r.bar[w] = span{min(b.from, x-stub), max(b.to, x+stub)}
}

// bend leads a way that cannot go straight, level by level.
func (r *router) bend(w *way) {
	if w.up {
		z := zone(r.level[w.wire], under)
		r.last(w, z, w.x)
		return
	}
	x, goal := w.x, r.level[w.wire]
	for level := r.first(w); level < goal; level++ {
		to := r.passage(x, r.bar[w.wire].clamp(x, near), level)
		r.sideways(w, zone(level, over), x, to)
		r.pass(to, level)
		x = to
	}
	r.last(w, zone(goal, over), x)
}

// last leads a way sideways to where its wire is.
func (r *router) last(w *way, z int, x float64) {
	want, room := r.bar[w.wire].clamp(x, stub), r.reach[w.wire]
	if room.from+stub <= x && x <= room.to-stub && !w.up {
		want = x
	}
	if want != x || len(w.steps) == 0 || w.up {
		for n := 0.0; n < 400; n++ {
			if c := want + n*near/2; c < room.to-stub/2 && r.clear(c, z) {
				want = c
				break
			}
			if c := want - n*near/2; c > room.from+stub/2 && r.clear(c, z) {
				want = c
				break
			}
		}
	}
	r.sideways(w, z, x, want)
	r.used[z] = append(r.used[z], want)
	r.join(w.wire, want)
}

// sideways adds a horizontal piece, if there is any.
func (r *router) sideways(w *way, z int, from, to float64) {
	if from != to {
		w.steps = append(w.steps, &step{zone: z, from: from, to: to})
	}
}

// passage is the cheapest x at which a line coming from x and going to goal gets through a level.
func (r *router) passage(x, goal float64, level int) float64 {
	candidates := []float64{x, goal, -near * 2, r.width + near*2}
	for _, c := range r.stand[level] {
		for _, n := range []float64{1, 2, 3, 4} {
			candidates = append(candidates, c.from-n*near, c.to+n*near)
		}
	}
	for n := 3.0; n < 40; n++ { // beside everything there is always room
		candidates = append(candidates, -near*n, r.width+near*n)
	}
	best, cost := 0.0, math.Inf(1)
	for _, c := range candidates {
		if !r.passable(c, level) || c != x && !r.clear(c, zone(level, over)) || !r.clear(c, zone(level+1, over)) {
			continue
		}
		k := math.Abs(c-x) + math.Abs(c-goal)
		if c != x {
			k += 20
		}
		for _, w := range r.wires {
			if b := r.bar[w]; r.level[w] == level && c > b.from && c < b.to {
				k += 150 // behind a bar, it looks joined to it
			}
		}
		if k < cost {
			best, cost = c, k
		}
	}
	return best
}

// tracks gives horizontal pieces that overlap different heights, in the order that crosses least: of those that go
// the same way, the one that begins further on comes first.
func (r *router) tracks() {
	by := map[int][]*step{}
	for _, w := range r.ways {
		for _, s := range w.steps {
			by[s.zone] = append(by[s.zone], s)
		}
	}
	for _, steps := range by {
		sort.SliceStable(steps, func(i, j int) bool {
			a, b := steps[i], steps[j]
			if right := a.to > a.from; right != (b.to > b.from) {
				return right
			} else if right {
				return a.from > b.from
			}
			return a.from < b.from
		})
		for i, s := range steps {
			for _, o := range steps[:i] {
				if max(min(s.from, s.to), min(o.from, o.to))-near < min(max(s.from, s.to), max(o.from, o.to)) {
					s.track = max(s.track, o.track+1)
				}
			}
		}
	}
}

// crossings counts how often ways cross, as far as their horizontal pieces tell.
func (r *router) crossings() int {
	n := 0
	for _, w := range r.ways {
		for _, s := range w.steps {
			lo, hi := min(s.from, s.to), max(s.from, s.to)
			for _, x := range r.used[s.zone] {
				if x > lo && x < hi {
					n++
				}
			}
		}
	}
	return n
}

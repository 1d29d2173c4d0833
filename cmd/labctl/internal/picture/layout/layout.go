// Package layout places wires, boxes and the lines between them as network people draw them: wires are horizontal
// bars in levels, boxes hang below the uppermost wire they are joined to, and their legs lead down to the others. The
// same graph always gives the same drawing; no box, bar or label lies on another, and no line runs through a box.
//
// It must not know what the wires and boxes stand for, what is written in them, nor how they are drawn: all it gets
// is sizes, all it gives is coordinates. Lengths are in pixels, y grows downwards.
package layout

import "math"

// Size is the extent of something.
type Size struct{ W, H float64 }

// Point is a place.
type Point struct{ X, Y float64 }

// Rect is a place with an extent; X and Y are its upper left corner.
type Rect struct{ X, Y, W, H float64 }

// Graph is what is to be placed.
type Graph struct {
	World Size // of the symbol above all wires of World; zero if there is none
	Wires []Wire
	Boxes []Box
}

// Wire is a horizontal bar.
type Wire struct {
	Level int     // from the top; the uppermost of wires that hang together need not be 0
	Least float64 // width that its label needs
	World bool    // is joined to the symbol of the world
}

// Box is something that is joined to wires. One without legs stands by itself.
type Box struct {
	Size
	Legs []Leg
}

// Leg joins a box to a wire. Its label is put beside it, next to the box.
type Leg struct {
	Wire  int // index of Graph.Wires; no two legs of a box have the same
	Label Size
}

// Drawing is where everything is. Its slices go by those of Graph.
type Drawing struct {
	Size
	World Rect
	Wires []Rect
	Boxes []Rect // at least as large as asked for
	Legs  [][]Line
	// Uplinks are the lines from the world's symbol to its wires; of other wires they are empty.
	Uplinks []Line
}

// Line is a way of horizontal and vertical pieces from a box to a wire.
type Line struct {
	Points []Point
	Label  Rect
}

// The distances.
const (
	Bar        = 24  // height of a wire's bar
	margin     = 24  // around the drawing
	cellGap    = 18  // between boxes beside each other
	rowGap     = 12  // between boxes of a stalk below each other
	hook       = 12  // from a stalk to its boxes
	spanGap    = 44  // between wires beside each other
	stub       = 14  // how far a bar reaches beyond its outermost line
	near       = 8   // the least distance between parallel lines of different legs
	labelGap   = 5   // between a leg and its label
	below      = 20  // from a bar to the boxes, without any line that crosses over
	above      = 26  // from the boxes to the next bar, likewise
	trackPitch = 10  // between horizontal lines
	islandGap  = 56  // between parts that do not hang together
	growth     = 160 // how far a wire leaves its room to meet a line
)

// page is the shape that drawings come near to if they can: width by height.
const page = 1.55

// fewest is how many boxes beside each other are never put into rows.
const fewest = 4

// Arrange places everything.
func Arrange(g Graph) Drawing {
	parts := split(g)
	for _, p := range parts {
		p.improve(&g)
	}
	best, score := Drawing{}, math.Inf(1)
	for _, rows := range wraps(parts) {
		var ds []Drawing
		for _, p := range parts {
			ds = append(ds, p.draw(&g, rows))
		}
		d := pack(g, parts, ds)
		if s := max(d.W/page, d.H); s < score*0.93 { // rather fewer rows than a slightly better shape
			best, score = d, s
		}
	}
	return best
}

// wraps are the numbers of rows below a wire that are worth trying, the fewest first.
func wraps(parts []*part) []int {
	most := 0
	for _, p := range parts {
		for _, s := range p.singles {
			most = max(most, len(s))
		}
		most = max(most, len(p.loose))
	}
	out := []int{1}
	for n := 2; n <= (most+1)/2; n += 1 + n/12 {
		out = append(out, n)
	}
	return out
}

// move shifts a drawing.
func (d *Drawing) move(dx, dy float64) {
	at := func(r *Rect) { r.X, r.Y = r.X+dx, r.Y+dy }
	line := func(l *Line) {
		at(&l.Label)
		for i := range l.Points {
			l.Points[i].X, l.Points[i].Y = l.Points[i].X+dx, l.Points[i].Y+dy
		}
	}
	at(&d.World)
	for i := range d.Wires {
		at(&d.Wires[i])
		line(&d.Uplinks[i])
	}
	for i := range d.Boxes {
		at(&d.Boxes[i])
		for j := range d.Legs[i] {
			line(&d.Legs[i][j])
		}
	}
}

package picture

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/picture/layout"
	"github.com/labctl-dev/labctl/lab"
)

// TestNothingOverlaps holds over labs of all shapes that boxes, wires and texts are apart from each other, that lines
// run through no box and no text, and that everything is on the paper.
func TestNothingOverlaps(t *testing.T) {
	seeds := 400
	if testing.Short() {
		seeds = 60
	}
	for seed := range seeds {
		p := random(uint64(seed))
		if ok := t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { geometry(t, compose(p)) }); !ok && seed > 20 {
			return
		}
	}
	for name, l := range map[string]lab.Lab{"deploy3": deploy3(), "campus": campus(), "flat": flat(200), "flat5": flat(5), "flat6": flat(6), "empty": {Name: "empty"}} {
		t.Run(name, func(t *testing.T) { geometry(t, compose(Picture{Lab: l})) })
	}
}

// area is a shape that must stay clear of others.
type area struct {
	what  string
	group int // shapes of one group may hold each other
	text  bool
	layout.Rect
}

func geometry(t *testing.T, s scene) {
	t.Helper()
	areas := solid(s)
	for i, a := range areas {
		if a.X < 0 || a.Y < 0 || a.X+a.W > s.W+0.5 || a.Y+a.H > s.H+0.5 {
			t.Errorf("%s is beyond the paper: %v in %v", a.what, a.Rect, s.Size)
		}
		for _, b := range areas[:i] {
			if a.group == b.group && a.text != b.text && s.groups[a.group].role != "legend" {
				if text, box := a, b; text.text && !holds(box.Rect, text.Rect) || box.text && !holds(text.Rect, box.Rect) {
					t.Errorf("%s is not within %s: %v, %v", a.what, b.what, a.Rect, b.Rect)
				}
			} else if overlap(a.Rect, b.Rect) {
				t.Errorf("%s lies on %s: %v, %v", a.what, b.what, a.Rect, b.Rect)
			}
		}
	}
	for gi, g := range s.groups {
		for _, sh := range g.shapes {
			for i := 1; i < len(sh.line); i++ {
				lineClear(t, s, areas, gi, sh.line[i-1], sh.line[i])
			}
		}
	}
	parallels(t, s)
}

// solid are boxes, wires and texts; texts a pixel less than estimated on each side.
func solid(s scene) []area {
	var out []area
	for gi, g := range s.groups {
		for _, sh := range g.shapes {
			switch {
			case sh.class == "dot":
			case sh.rect != nil:
				out = append(out, area{fmt.Sprint(sh.class, " ", g.title), gi, false, *sh.rect})
			case sh.text != "":
				f := fontOf(kind(sh.class))
				if sh.class == "nat" {
					f = fontOf(addrText)
				}
				out = append(out, area{fmt.Sprintf("text %q", sh.text), gi, true, layout.Rect{X: sh.at.X, Y: sh.at.Y - f.size*0.8, W: f.width(sh.text) - 1, H: f.size}})
			}
		}
	}
	return out
}

// lineClear holds that a piece of a line touches no text, no box but at its edge, and runs along no wire. It may cross
// behind wires.
func lineClear(t *testing.T, s scene, areas []area, group int, a, b layout.Point) {
	t.Helper()
	r := layout.Rect{X: min(a.X, b.X) - 0.5, Y: min(a.Y, b.Y) - 0.5, W: max(a.X-b.X, b.X-a.X) + 1, H: max(a.Y-b.Y, b.Y-a.Y) + 1}
	upright := a.X == b.X
	if !upright && a.Y != b.Y {
		t.Errorf("a line runs askew: %v %v", a, b)
	}
	for _, x := range areas {
		role := s.groups[x.group].role
		inner := layout.Rect{X: x.X + 1, Y: x.Y + 1, W: x.W - 2, H: x.H - 2}
		switch {
		case role == "network" && upright: // drawn over it
		case overlap(inner, r):
			t.Errorf("the line of %q from %v to %v runs through %s at %v", s.groups[group].title, a, b, x.what, x.Rect)
		}
	}
}

// parallels holds that lines of different machines do not run on each other, but for those of a stalk.
func parallels(t *testing.T, s scene) {
	t.Helper()
	type piece struct {
		group, machine int
		a, b           layout.Point
	}
	var pieces []piece
	for gi, g := range s.groups {
		for _, sh := range g.shapes {
			for i := 1; i < len(sh.line); i++ {
				pieces = append(pieces, piece{gi, g.machine, sh.line[i-1], sh.line[i]})
			}
		}
	}
	stalk := func(g int) bool {
		m := s.groups[g]
		return len(m.shapes) == 1 && m.machine >= 0 && len(m.shapes[0].line) == 3
	}
	for i, p := range pieces {
		for _, q := range pieces[:i] {
			if p.group == q.group || stalk(p.group) && stalk(q.group) && slices.Equal(s.groups[p.group].networks, s.groups[q.group].networks) {
				continue
			}
			along := func(a, b, c, d float64) bool { return max(min(a, b), min(c, d)) < min(max(a, b), max(c, d)) }
			if p.a.X == p.b.X && q.a.X == q.b.X && max(p.a.X-q.a.X, q.a.X-p.a.X) < 3 && along(p.a.Y, p.b.Y, q.a.Y, q.b.Y) ||
				p.a.Y == p.b.Y && q.a.Y == q.b.Y && p.a.X != p.b.X && q.a.X != q.b.X && max(p.a.Y-q.a.Y, q.a.Y-p.a.Y) < 3 && along(p.a.X, p.b.X, q.a.X, q.b.X) {
				t.Errorf("lines of %q and %q run on each other: %v %v, %v %v", s.groups[p.group].title, s.groups[q.group].title, p.a, p.b, q.a, q.b)
			}
		}
	}
}

func overlap(a, b layout.Rect) bool {
	return a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H
}

func holds(a, b layout.Rect) bool {
	return a.X <= b.X && a.Y <= b.Y+1 && b.X+b.W <= a.X+a.W+1 && b.Y+b.H <= a.Y+a.H+1
}

// random is a lab of any shape: several uplinks or none, trees and rings of routers, machines on many networks, on one
// or on none, names and groups of any length; with marks or without.
func random(seed uint64) Picture {
	r := rand.New(rand.NewPCG(seed, 1))
	l := lab.Lab{Name: word(r, 1, 20)}
	for i := range 1 + r.IntN(9) {
		n := net(fmt.Sprintf("%s%d", word(r, 1, 14), i), fmt.Sprintf("10.%d.0.0/24", i), "")
		if r.IntN(3) == 0 {
			n.CIDR6 = lab.ULA(l.Name, n.Name)
		}
		if n.Uplink = r.IntN(5) == 0; n.Uplink && r.IntN(2) == 0 {
			n.CIDR = lab.Network{}.CIDR
		}
		l.Networks = append(l.Networks, n)
	}
	some := func(n int) []string {
		var out []string
		for _, i := range r.Perm(len(l.Networks))[:min(n, len(l.Networks))] {
			out = append(out, l.Networks[i].Name)
		}
		return out
	}
	for i := range r.IntN(len(l.Networks) + 1) {
		m := router(fmt.Sprintf("r%s%d", word(r, 0, 9), i), some(1+r.IntN(4))...)
		for k := range r.IntN(4) {
			m.Routing.Publish = append(m.Routing.Publish, lab.Publish{Proto: lab.TCP, Port: uint16(80 + k), Machine: word(r, 1, 30), To: 80})
		}
		for _, n := range m.NICs {
			if r.IntN(2) == 0 {
				m.Routing.Masquerade = append(m.Routing.Masquerade, n.Network)
			}
		}
		l.Machines = append(l.Machines, m)
	}
	for i := range r.IntN(40) {
		joined := 1
		if x := r.IntN(12); x < 4 {
			joined = x
		}
		m := server(fmt.Sprintf("%s%d", word(r, 1, 16), i), some(joined)...)
		for range r.IntN(3) {
			m.Groups = append(m.Groups, word(r, 1, 40))
		}
		l.Machines = append(l.Machines, m)
	}
	p := Picture{Lab: lab.Arrange(l)}
	if r.IntN(2) == 0 {
		p.mark(r)
	}
	return p
}

func (p *Picture) mark(r *rand.Rand) {
	statuses := []Status{Same, New, Changed, Again, Gone, Extra, Missing, Here, Way}
	p.Marks, p.Subtitle = map[Thing]Mark{}, word(r, 0, 30)
	for _, n := range p.Lab.Networks {
		p.Marks[Thing{Network: n.Name}] = Mark{Status: statuses[r.IntN(len(statuses))], Lines: []string{word(r, 1, 12)}}
	}
	for _, m := range p.Lab.Machines {
		p.Marks[Thing{Machine: m.Name}] = Mark{Status: statuses[r.IntN(len(statuses))], Lines: []string{word(r, 1, 30) + " " + word(r, 1, 30), word(r, 1, 9)}}
	}
	for range r.IntN(9) {
		p.Legend = append(p.Legend, Entry{statuses[r.IntN(len(statuses))], word(r, 1, 40)})
		p.Notes = append(p.Notes, word(r, 1, 200))
	}
}

// word is a text of odd letters.
func word(r *rand.Rand, low, high int) string {
	letters := []rune("abcdefghijklmnopqrstuvwxyzMW0123456789-<&\"'>é網")
	out := make([]rune, low+r.IntN(high-low+1))
	for i := range out {
		out[i] = letters[r.IntN(len(letters))]
	}
	return string(out)
}

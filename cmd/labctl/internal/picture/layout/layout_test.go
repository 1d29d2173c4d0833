package layout

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func box(legs ...int) Box {
	b := Box{Size: Size{100, 60}}
	for _, w := range legs {
		b.Legs = append(b.Legs, Leg{Wire: w, Label: Size{40, 12}})
	}
	return b
}

func wires(levels ...int) []Wire {
	var out []Wire
	for _, l := range levels {
		out = append(out, Wire{Level: l, Least: 80})
	}
	return out
}

// bends counts the horizontal pieces of all lines.
func bends(d Drawing) int {
	n := 0
	for _, legs := range d.Legs {
		for _, l := range legs {
			for i := 1; i < len(l.Points); i++ {
				if l.Points[i].Y == l.Points[i-1].Y {
					n++
				}
			}
		}
	}
	return n
}

// TestStraight: a chain of routers is drawn without a bend, whatever order it is given in.
func TestStraight(t *testing.T) {
	for _, g := range []Graph{
		{Wires: wires(0, 1, 2), Boxes: []Box{box(0, 1), box(1, 2), box(2), box(1), box(0)}},
		{Wires: wires(2, 1, 0), Boxes: []Box{box(1, 0), box(2), box(1, 2), box(1)}},
		{Wires: wires(0, 1, 1), Boxes: []Box{box(0, 1), box(0, 2), box(1), box(2), box(2)}},
	} {
		if n := bends(Arrange(g)); n != 0 {
			t.Errorf("%d bends in %v", n, g)
		}
	}
}

// TestOrder: wires that one box joins stand beside each other, so that its lines cross nothing.
func TestOrder(t *testing.T) {
	g := Graph{Wires: wires(0, 1, 1, 1, 1), Boxes: []Box{box(0, 1), box(0, 2), box(0, 3), box(0, 4), box(1, 4), box(2, 3)}}
	d := Arrange(g)
	apart := func(a, b int) int {
		n := 0
		for _, w := range d.Wires[1:] {
			if x := w.X; x > min(d.Wires[a].X, d.Wires[b].X) && x < max(d.Wires[a].X, d.Wires[b].X) {
				n++
			}
		}
		return n
	}
	if apart(1, 4)+apart(2, 3) != 0 {
		t.Errorf("joined wires are apart: %v", d.Wires)
	}
}

// TestWrap: many boxes go into rows under the same wire; few never do.
func TestWrap(t *testing.T) {
	rows := func(n int) int {
		g := Graph{Wires: wires(0)}
		for range n {
			g.Boxes = append(g.Boxes, box(0))
		}
		seen := map[float64]bool{}
		for _, r := range Arrange(g).Boxes {
			seen[r.Y] = true
		}
		return len(seen)
	}
	if rows(1) != 1 || rows(4) != 1 || rows(12) < 2 || rows(200) < 8 || rows(200) > 25 {
		t.Errorf("rows: 1: %d, 4: %d, 12: %d, 200: %d", rows(1), rows(4), rows(12), rows(200))
	}
}

// TestParts: what hangs together is one part, the world first.
func TestParts(t *testing.T) {
	g := Graph{World: Size{100, 50}, Wires: wires(0, 0, 0, 1, 0), Boxes: []Box{box(0), box(0), box(1, 3), box(), box(4)}}
	g.Wires[1].World, g.Wires[4].World = true, true
	var got [][]int
	for _, p := range split(g) {
		got = append(got, p.wires)
	}
	if diff := cmp.Diff([][]int{{1, 3, 4}, {0}, {2}, nil}, got); diff != "" {
		t.Error(diff)
	}
}

func TestShift(t *testing.T) {
	for _, c := range []struct {
		i, j int
		want []int
	}{{0, 3, []int{1, 2, 3, 0}}, {3, 0, []int{3, 0, 1, 2}}, {1, 2, []int{0, 2, 1, 3}}} {
		got := []int{0, 1, 2, 3}
		shift(got, c.i, c.j)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%d to %d: %s", c.i, c.j, diff)
		}
	}
}

package picture

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/picture/layout"
)

// bar is a network.
func (m model) bar(i int, r layout.Rect, shift layout.Point) group {
	n := m.networks[i]
	r.X, r.Y = r.X+shift.X, r.Y+shift.Y
	g := group{role: "network", classes: []string{m.color(i)}, title: n.detail, machine: -1, networks: []int{i}}
	g.shapes = append(g.shapes, shape{class: "bar", rect: &r, round: 5})
	x, y := r.X+barPad, r.Y+r.H/2+4.5
	put := func(k kind, s string) {
		g.shapes = append(g.shapes, shape{class: string(k), text: s, at: layout.Point{X: x, Y: y}})
		x += fontOf(k).width(s) + barGap
	}
	put(wireText, n.name)
	for _, f := range n.facts {
		put(factText, f)
	}
	for _, s := range n.marks {
		put(markText, s)
	}
	if far := r.X + r.W - barPad - fontOf(wireText).width(n.name); far > x+1200 { // a wire too long to see its beginning
		x = far
		put(wireText, n.name)
	}
	return g
}

// box is a machine.
func (m model) box(i int, r layout.Rect, shift layout.Point) group {
	x := m.machines[i]
	r.X, r.Y = r.X+shift.X, r.Y+shift.Y
	g := group{role: "machine", title: x.detail, machine: i}
	for _, l := range x.legs {
		g.networks = append(g.networks, l.network)
	}
	round, sign := 3.0, serverIcon
	if x.router {
		g.classes = append(g.classes, "router")
		round, sign = 12, routerIcon
	}
	if x.wall && !x.router {
		sign = wallIcon
	}
	if x.off {
		g.classes = append(g.classes, "off")
	}
	if x.status != "" {
		g.classes = append(g.classes, string(x.status))
	}
	g.shapes = append(g.shapes, shape{class: "box", rect: &r, round: round})
	left, y := r.X+boxPad, r.Y+boxPad-2
	g.shapes = append(g.shapes, shape{class: "icon", path: place(sign, left, y+1.5)})
	room := r.W - 2*boxPad
	put := func(k kind, s string, x, room float64) {
		f := fontOf(k)
		g.shapes = append(g.shapes, shape{class: string(k), text: f.fit(s, room), at: layout.Point{X: x, Y: y + f.size}})
		y += f.height()
	}
	put(nameText, x.name, left+icon, room-icon)
	y++
	for _, l := range x.lines {
		put(l.kind, l.text, left, room)
	}
	return g
}

// cloud is the world.
func (m model) cloud(d layout.Drawing, shift layout.Point) group {
	x, y := d.World.X+shift.X, d.World.Y+shift.Y
	g := group{role: "world", title: "the world outside", machine: -1}
	if s := m.status(Thing{}); s != "" {
		g.classes = append(g.classes, string(s))
		g.title = strings.TrimSpace(g.title + "\n" + m.Marks[Thing{}].Detail)
	}
	for i, n := range m.networks {
		if n.uplink {
			g.networks = append(g.networks, i)
		}
	}
	const text = "world"
	w := fontOf(worldText).width(text)
	g.shapes = []shape{
		{class: "cloud", path: place(cloudShape, x, y)},
		{class: string(worldText), text: text, at: layout.Point{X: x + (world.W-w)/2 + 2, Y: y + 43}},
	}
	return g
}

// legend adds what the statuses mean, below everything.
func (s *scene) legend(p Picture) {
	if len(p.Legend)+len(p.Notes) == 0 {
		return
	}
	f := fontOf(keyText)
	x, y := float64(edge), s.H-4
	for _, e := range p.Legend {
		w := 22 + f.width(e.Text) + 26
		if x > edge && x+w > s.W-edge {
			x, y = edge, y+22
		}
		r := layout.Rect{X: x, Y: y, W: 15, H: 15}
		s.groups = append(s.groups, group{role: "legend", classes: []string{string(e.Status)}, machine: -1, shapes: []shape{
			{class: "swatch", rect: &r, round: 3},
			{class: string(keyText), text: e.Text, at: layout.Point{X: x + 22, Y: y + 12}},
		}})
		x += w
		s.W = max(s.W, x-26+edge)
	}
	if len(p.Legend) > 0 {
		y += 26
	}
	for _, n := range p.Notes {
		n = f.fit(n, max(s.W, 640)-2*edge)
		s.groups = append(s.groups, group{role: "legend", machine: -1, shapes: []shape{{class: string(keyText), text: n, at: layout.Point{X: edge, Y: y + 12}}}})
		s.W = max(s.W, f.width(n)+2*edge)
		y += 19
	}
	s.H = y + edge
}

// The symbols, as paths from 0, 0: capital letters are followed by absolute coordinates.
const (
	// A server: a case with two drives.
	serverIcon = "M 1 1 H 12 V 13 H 1 Z M 3.5 4.5 H 9.5 M 3.5 7.5 H 9.5 M 9 10.7 H 9.6"
	// A router: a disk with arrows in and out.
	routerIcon = "M 13.5 7 A 6.5 6.5 0 0 1 0.5 7 A 6.5 6.5 0 0 1 13.5 7 Z M 7 6 V 2 M 5.5 3.6 L 7 2 L 8.5 3.6 M 7 8 V 12 M 5.5 10.4 L 7 12 L 8.5 10.4 M 2 7 H 5.5 M 4 5.5 L 5.5 7 L 4 8.5 M 12 7 H 8.5 M 10 5.5 L 8.5 7 L 10 8.5"
	// A server with a firewall: a wall of bricks.
	wallIcon = "M 0.5 1 H 13.5 V 13 H 0.5 Z M 0.5 5 H 13.5 M 0.5 9 H 13.5 M 5 1 V 5 M 9.5 1 V 5 M 2.8 5 V 9 M 7.2 5 V 9 M 11.6 5 V 9 M 5 9 V 13 M 9.5 9 V 13"
	// The world: a cloud.
	cloudShape = "M 28 58 A 19 19 0 0 1 22 21 A 22 22 0 0 1 58 10 A 20 20 0 0 1 93 17 A 21 21 0 0 1 98 58 Z"
)

// place moves a symbol.
func place(path string, x, y float64) string {
	fields := strings.Fields(path)
	command, n := "", 0
	for i, f := range fields {
		v, err := strconv.ParseFloat(f, 64)
		if err != nil {
			command, n = f, 0
			continue
		}
		vertical := n%2 == 1
		switch command {
		case "H":
			vertical = false
		case "V":
			vertical = true
		case "A": // rx ry rotation large sweep x y
			if n%7 < 5 {
				n++
				continue
			}
			vertical = n%7 == 6
		}
		if n++; vertical {
			v += y
		} else {
			v += x
		}
		fields[i] = number(v)
	}
	return strings.Join(fields, " ")
}

// rounded is a path along points with rounded corners.
func rounded(points []layout.Point, radius float64) string {
	var b strings.Builder
	fmt.Fprintf(&b, "M %s %s", number(points[0].X), number(points[0].Y))
	for i := 1; i < len(points)-1; i++ {
		a, p, c := points[i-1], points[i], points[i+1]
		r := min(radius, distance(a, p)/2, distance(p, c)/2)
		from, to := toward(p, a, r), toward(p, c, r)
		fmt.Fprintf(&b, " L %s %s Q %s %s %s %s", number(from.X), number(from.Y), number(p.X), number(p.Y), number(to.X), number(to.Y))
	}
	last := points[len(points)-1]
	fmt.Fprintf(&b, " L %s %s", number(last.X), number(last.Y))
	return b.String()
}

// distance and toward are for points beside or above each other.
func distance(a, b layout.Point) float64 { return max(a.X-b.X, b.X-a.X) + max(a.Y-b.Y, b.Y-a.Y) }

func toward(p, q layout.Point, n float64) layout.Point {
	d := distance(p, q)
	if d == 0 {
		return p
	}
	return layout.Point{X: p.X + (q.X-p.X)*n/d, Y: p.Y + (q.Y-p.Y)*n/d}
}

// number writes a coordinate with at most one decimal.
func number(v float64) string {
	s := strconv.FormatFloat(v, 'f', 1, 64)
	s = strings.TrimSuffix(s, ".0")
	if s == "-0" {
		return "0"
	}
	return s
}

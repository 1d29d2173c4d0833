package picture

import (
	"fmt"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/picture/layout"
)

// scene is a drawing as shapes with coordinates, in the order they are drawn.
type scene struct {
	layout.Size
	name   string // for those who do not see it
	groups []group
}

// group is the shapes of one thing.
type group struct {
	role     string   // "machine", "network", "leg", "world", "title" or "legend"
	classes  []string // how it is drawn
	title    string   // shown when pointed at
	machine  int      // index of the machine it is or belongs to, or -1
	networks []int    // likewise
	shapes   []shape
}

// shape is one thing that is drawn. Exactly one of rect, path and text is set.
type shape struct {
	class string
	rect  *layout.Rect
	round float64 // radius of a rect's corners
	path  string
	line  []layout.Point // what path goes along, of a leg
	text  string
	at    layout.Point // of a text: where its base line begins
}

// The distances within things.
const (
	boxPad     = 8
	boxTextMax = 158 // but for addresses, which are never cut
	icon       = 19  // width of a machine's symbol with the gap behind it
	barPad     = 12
	barGap     = 12 // between the texts of a bar
	edge       = 24 // around the picture, as in package layout
)

// world is the size of the cloud.
var world = layout.Size{W: 124, H: 62}

// compose makes the scene of a picture.
func compose(p Picture) scene {
	m := newModel(p)
	d := layout.Arrange(m.graph())
	head := m.title()
	down := 30.0
	if p.Subtitle != "" {
		down += 8
	}
	shift := layout.Point{Y: down}
	s := scene{Size: layout.Size{W: d.W, H: d.H + down}, name: "Lab " + p.Lab.Name}
	for _, t := range head.shapes {
		s.W = max(s.W, t.at.X+fontOf(kind(t.class)).width(t.text)+edge)
	}
	shift.X = (s.W - d.W) / 2
	s.groups = append(s.groups, head)
	s.groups = append(s.groups, m.legs(d, shift)...)
	if m.world {
		s.groups = append(s.groups, m.cloud(d, shift))
	}
	for i := range m.networks {
		s.groups = append(s.groups, m.bar(i, d.Wires[i], shift))
	}
	s.groups = append(s.groups, m.dots(d, shift))
	for i := range m.machines {
		s.groups = append(s.groups, m.box(i, d.Boxes[i], shift))
	}
	s.legend(p)
	return s
}

// graph is what the layout is made for.
func (m model) graph() layout.Graph {
	var g layout.Graph
	if m.world {
		g.World = world
	}
	for _, n := range m.networks {
		g.Wires = append(g.Wires, layout.Wire{Level: n.level, Least: n.width(), World: n.uplink})
	}
	for _, x := range m.machines {
		b := layout.Box{Size: x.size()}
		for _, l := range x.legs {
			b.Legs = append(b.Legs, layout.Leg{Wire: l.network, Label: l.size(len(x.legs))})
		}
		g.Boxes = append(g.Boxes, b)
	}
	return g
}

// width is what a wire's texts need.
func (n network) width() float64 {
	w := 2*barPad + fontOf(wireText).width(n.name)
	for _, f := range n.facts {
		w += barGap + fontOf(factText).width(f)
	}
	for _, s := range n.marks {
		w += barGap + fontOf(markText).width(s)
	}
	return w
}

// size is that of a machine's box.
func (x machine) size() layout.Size {
	w, h := min(icon+fontOf(nameText).width(x.name), boxTextMax), fontOf(nameText).height()+1
	for _, l := range x.lines {
		need := fontOf(l.kind).width(l.text)
		if l.kind != addrText {
			need = min(need, boxTextMax)
		}
		w, h = max(w, need), h+fontOf(l.kind).height()
	}
	return layout.Size{W: max(w, 76) + 2*boxPad, H: h + 2*boxPad - 2}
}

// size is that of the label beside a leg; the only leg of a machine has none, since its box tells.
func (l leg) size(legs int) layout.Size {
	if legs == 1 {
		return layout.Size{}
	}
	var s layout.Size
	f := fontOf(addrText)
	for _, t := range l.label {
		s.W, s.H = max(s.W, f.width(t)), s.H+f.height()
	}
	return s
}

// title is the head of the picture.
func (m model) title() group {
	routers := 0
	for _, x := range m.machines {
		if x.router {
			routers++
		}
	}
	sub := fmt.Sprintf("%s, %s, %s", count(len(m.networks), "network"), count(routers, "router"), count(len(m.machines)-routers, "server"))
	if m.Subtitle != "" {
		sub = m.Subtitle
	}
	name := m.Lab.Name
	return group{role: "title", machine: -1, shapes: []shape{
		{class: string(titleText), text: name, at: layout.Point{X: edge, Y: 34}},
		{class: string(keyText), text: sub, at: layout.Point{X: edge + fontOf(titleText).width(name) + 12, Y: 34}},
	}}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// color is the class for a network's colour; with marks statuses take their place.
func (m model) color(network int) string {
	if m.marked() {
		return string(m.networks[network].status)
	}
	if m.networks[network].uplink {
		return "c0"
	}
	n := 0
	for i := range network {
		if !m.networks[i].uplink {
			n++
		}
	}
	return fmt.Sprintf("c%d", 1+n%9)
}

// legs are all lines between boxes and wires, those that are marked last and so on top.
func (m model) legs(d layout.Drawing, shift layout.Point) []group {
	var out []group
	for i, x := range m.machines {
		for j, l := range x.legs {
			g := m.leg(d.Legs[i][j], shift, m.color(l.network), l.status)
			g.machine, g.networks = i, []int{l.network}
			g.title = strings.Join(append([]string{x.name + " on " + m.networks[l.network].name}, l.label...), "\n")
			if l.down {
				g.classes = append(g.classes, "down")
			}
			if len(x.legs) > 1 {
				g.shapes = append(g.shapes, m.label(l, d.Legs[i][j].Label, shift)...)
			}
			out = append(out, g)
		}
	}
	for i, n := range m.networks {
		if n.uplink {
			g := m.leg(d.Uplinks[i], shift, m.color(i), m.status(Thing{}))
			g.networks = []int{i}
			out = append(out, g)
		}
	}
	slices.SortStableFunc(out, func(a, b group) int { return rank(a) - rank(b) })
	return out
}

// rank puts what is in the background first.
func rank(g group) int {
	if slices.Contains(g.classes, string(Same)) {
		return 0
	}
	return 1
}

// leg is one line.
func (m model) leg(l layout.Line, shift layout.Point, color string, s Status) group {
	if s != "" {
		color = string(s)
	}
	points := make([]layout.Point, len(l.Points))
	for i, p := range l.Points {
		points[i] = layout.Point{X: p.X + shift.X, Y: p.Y + shift.Y}
	}
	return group{role: "leg", classes: []string{color}, machine: -1, shapes: []shape{{class: "line", path: rounded(points, 5), line: points}}}
}

// label is what stands beside a leg.
func (m model) label(l leg, r layout.Rect, shift layout.Point) []shape {
	var out []shape
	f := fontOf(addrText)
	y := r.Y + shift.Y
	for _, t := range l.label {
		class := string(addrText)
		if strings.HasPrefix(t, "NAT") {
			class = "nat"
		}
		out = append(out, shape{class: class, text: t, at: layout.Point{X: r.X + shift.X, Y: y + f.size}})
		y += f.height()
	}
	return out
}

// dots are where legs meet their wires.
func (m model) dots(d layout.Drawing, shift layout.Point) group {
	g := group{role: "dots", machine: -1}
	seen := map[layout.Point]bool{}
	dot := func(p layout.Point) {
		if !seen[p] {
			seen[p] = true
			r := layout.Rect{X: p.X + shift.X - 3, Y: p.Y + shift.Y - 3, W: 6, H: 6}
			g.shapes = append(g.shapes, shape{class: "dot", rect: &r, round: 3})
		}
	}
	for i, x := range m.machines {
		for j := range x.legs {
			points := d.Legs[i][j].Points
			p := points[len(points)-1]
			if len(x.legs) == 1 {
				p = points[0] // a drop line begins at its wire
			}
			dot(p)
		}
	}
	for i, n := range m.networks {
		if n.uplink {
			dot(d.Uplinks[i].Points[len(d.Uplinks[i].Points)-1])
		}
	}
	return g
}

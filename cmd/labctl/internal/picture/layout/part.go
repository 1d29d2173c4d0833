package layout

import (
	"slices"
	"sort"
)

// part is what hangs together: a forest of wires, in which a wire's children are those that boxes at it lead down to.
type part struct {
	wires   []int
	boxes   []int       // joined to them
	loose   []int       // boxes without legs; such a part has nothing else
	world   bool        // has wires of the world
	level   map[int]int // of wires, from 0 without gaps
	levels  int
	host    map[int]int   // the wire below which a box hangs
	singles map[int][]int // boxes with one leg, by wire
	joints  map[int][]int // boxes with several, by the wire they hang from
	roots   []int
	kids    map[int][]int // wires by the wire above
}

// split finds the parts: first that of the world, then by how many boxes they have.
func split(g Graph) []*part {
	group, world := groups(g)
	at := map[int]*part{}
	var parts []*part
	for i := range g.Wires {
		p := at[group[i]]
		if p == nil {
			p = &part{world: world == group[i]}
			at[group[i]] = p
			parts = append(parts, p)
		}
		p.wires = append(p.wires, i)
	}
	lone := &part{}
	for i, b := range g.Boxes {
		if len(b.Legs) == 0 {
			lone.loose = append(lone.loose, i)
			continue
		}
		p := at[group[b.Legs[0].Wire]]
		p.boxes = append(p.boxes, i)
	}
	if len(lone.loose) > 0 {
		parts = append(parts, lone)
	}
	sort.SliceStable(parts, func(i, j int) bool {
		a, b := parts[i], parts[j]
		return a.world && !b.world || a.world == b.world && len(a.boxes) > len(b.boxes)
	})
	for _, p := range parts {
		p.number(g)
		p.hang(g)
		p.grow(g)
	}
	return parts
}

// groups gives every wire the first wire of those that it hangs together with, by boxes or by the world, and says which
// that of the world is, or -1.
func groups(g Graph) (group []int, world int) {
	group, world = make([]int, len(g.Wires)), -1
	for i := range group {
		group[i] = i
	}
	find := func(i int) int {
		for group[i] != i {
			i = group[i]
		}
		return i
	}
	join := func(a, b int) {
		a, b = find(a), find(b)
		group[max(a, b)] = min(a, b)
	}
	for i, w := range g.Wires {
		switch {
		case w.World && world >= 0:
			join(world, i)
		case w.World:
			world = i
		}
	}
	for _, b := range g.Boxes {
		for _, l := range b.Legs {
			join(b.Legs[0].Wire, l.Wire)
		}
	}
	for i := range group {
		group[i] = find(i)
	}
	if world >= 0 {
		world = group[world]
	}
	return group, world
}

// number closes gaps between levels.
func (p *part) number(g Graph) {
	var seen []int
	for _, w := range p.wires {
		seen = append(seen, g.Wires[w].Level)
	}
	slices.Sort(seen)
	seen = slices.Compact(seen)
	p.level, p.levels = map[int]int{}, len(seen)
	for _, w := range p.wires {
		p.level[w] = slices.Index(seen, g.Wires[w].Level)
	}
}

// hang chooses the wire that each box hangs from: the uppermost, of equal ones its first.
func (p *part) hang(g Graph) {
	p.host, p.singles, p.joints = map[int]int{}, map[int][]int{}, map[int][]int{}
	for _, b := range p.boxes {
		legs := g.Boxes[b].Legs
		h := legs[0].Wire
		for _, l := range legs {
			if p.level[l.Wire] < p.level[h] {
				h = l.Wire
			}
		}
		p.host[b] = h
		if len(legs) == 1 {
			p.singles[h] = append(p.singles[h], b)
		} else {
			p.joints[h] = append(p.joints[h], b)
		}
	}
}

// grow makes the forest: a wire's parent is the lowest above it that a box leads down from.
func (p *part) grow(g Graph) {
	p.kids = map[int][]int{}
	parent := map[int]int{}
	var found []int // in the order of boxes, so that what one box leads to stands together
	for _, b := range p.boxes {
		h := p.host[b]
		for _, l := range g.Boxes[b].Legs {
			if p.level[l.Wire] <= p.level[h] {
				continue
			}
			old, has := parent[l.Wire]
			if !has {
				found = append(found, l.Wire)
			}
			if !has || p.level[h] > p.level[old] {
				parent[l.Wire] = h
			}
		}
	}
	for _, w := range found {
		p.kids[parent[w]] = append(p.kids[parent[w]], w)
	}
	for _, w := range p.wires {
		if _, has := parent[w]; !has {
			p.roots = append(p.roots, w)
		}
	}
}

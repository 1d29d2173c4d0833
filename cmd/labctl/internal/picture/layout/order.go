package layout

import (
	"math"
	"slices"
	"sort"
)

// improve orders the forest so that legs are short and cross little: each wire's children by the mean of where they
// are drawn to (the barycentre), then by trying every child in every place among its siblings.
func (p *part) improve(g *Graph) {
	if len(p.wires) < 3 {
		return
	}
	best := p.cost(g)
	for range 3 {
		roots, kids := p.order()
		p.barycentre(g)
		if c := p.cost(g); c >= best {
			p.roots, p.kids = roots, kids
			break
		} else {
			best = c
		}
	}
	tries := 6000 / len(p.wires)
	for again := true; again && tries > 0; {
		again = false
		for _, list := range p.lists() {
			for i := range list {
				for j := range list {
					if i == j || tries <= 0 {
						continue
					}
					tries--
					shift(list, i, j)
					if c := p.cost(g); c < best {
						best, again = c, true
					} else {
						shift(list, j, i)
					}
				}
			}
		}
	}
}

// shift takes the element at i to j.
func shift(list []int, i, j int) {
	x := list[i]
	copy(list[i:], list[i+1:])
	copy(list[j+1:], list[j:len(list)-1])
	list[j] = x
}

// lists are the orders that can be changed: of the roots and of each wire's children.
func (p *part) lists() [][]int {
	out := [][]int{p.roots}
	for _, w := range p.wires {
		out = append(out, p.kids[w])
	}
	return out
}

// order is a copy of the present one.
func (p *part) order() ([]int, map[int][]int) {
	kids := map[int][]int{}
	for w, k := range p.kids {
		kids[w] = slices.Clone(k)
	}
	return slices.Clone(p.roots), kids
}

// cost is how far legs go sideways, and how often they cross.
func (p *part) cost(g *Graph) float64 {
	r := p.place(g, 2).route()
	c := 120 * float64(r.crossings())
	for _, w := range r.ways {
		for _, s := range w.steps {
			c += math.Abs(s.to - s.from)
		}
	}
	return c
}

// barycentre sorts siblings by the mean of where they are and of the wires outside that boxes join them, or what is
// below them, to.
func (p *part) barycentre(g *Graph) {
	pl := p.place(g, 2)
	sum, n := map[int]float64{}, map[int]float64{}
	up := map[int]int{}
	for _, w := range p.wires {
		sum[w], n[w] = pl.room[w].mid(), 1
		for _, k := range p.kids[w] {
			up[k] = w
		}
	}
	chain := func(w int) []int { // w and what it hangs below
		out := []int{w}
		for next, has := up[w]; has; next, has = up[next] {
			out = append(out, next)
		}
		return out
	}
	for _, b := range p.boxes {
		for _, a := range g.Boxes[b].Legs {
			for _, c := range g.Boxes[b].Legs {
				above := chain(c.Wire)
				for _, w := range chain(a.Wire) {
					if !slices.Contains(above, w) {
						sum[w], n[w] = sum[w]+3*pl.bar[c.Wire].mid(), n[w]+3
					}
				}
			}
		}
	}
	for _, list := range p.lists() {
		sort.SliceStable(list, func(i, j int) bool { return sum[list[i]]/n[list[i]] < sum[list[j]]/n[list[j]] })
	}
}

package reach

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// together puts passages between kinds into few: those of the same services and rules whose ends make up every pair of
// some and others. p is the proof that lets them through.
func (b *between) together(all []passing, p *Proof) []Passage {
	var order []string
	same := map[string][]passing{}
	for _, x := range all {
		key := fmt.Sprint(x.Services, x.Family, x.Unusual, x.By)
		if same[key] == nil {
			order = append(order, key)
		}
		same[key] = append(same[key], x)
	}
	var wide []broad
	for _, key := range order {
		for _, r := range rectangles(same[key]) {
			wide = append(wide, broad{same[key][0].Passage, r})
		}
	}
	out := []Passage{}
	for _, x := range satellites(wide) {
		x.From, x.To = b.parties(x.from, p), b.parties(x.to, p)
		out = append(out, x.Passage)
	}
	slices.SortStableFunc(out, func(x, y Passage) int {
		return cmp.Or(weight(x)-weight(y), strings.Compare(fmt.Sprint(x.From), fmt.Sprint(y.From)), strings.Compare(fmt.Sprint(x.To), fmt.Sprint(y.To)), slices.Compare(x.Services, y.Services))
	})
	return out
}

// broad is a Passage between many kinds.
type broad struct {
	Passage
	rectangle
}

// satellites takes those whose way is unusual in among those whose way is not, where the same rules open the same on the
// same: a network's own routers, and hosts there that nobody knows, beside the machines on it.
func satellites(all []broad) []broad {
	var out []broad
	for _, x := range all {
		if !x.Unusual {
			out = append(out, x)
		}
	}
	for _, x := range all {
		if !x.Unusual {
			continue
		}
		i := slices.IndexFunc(out, func(y broad) bool {
			return !y.Unusual && slices.Equal(x.Services, y.Services) && x.Family == y.Family && slices.Equal(x.By, y.By) && slices.Equal(x.to, y.to)
		})
		if i < 0 {
			out = append(out, x)
			continue
		}
		out[i].from = append(slices.Clone(out[i].from), x.from...)
	}
	return out
}

// weight puts what the world can do first, and what no ordinary program does last.
func weight(p Passage) int {
	switch {
	case p.Unusual:
		return 2
	case slices.ContainsFunc(p.From, func(x Party) bool { return x.Kind == "world" }):
		return 0
	}
	return 1
}

// rectangle is every pair of from and to, but for those of one with itself.
type rectangle struct{ from, to []int }

// rectangles puts pairs together: first those among each other, then those that have the same targets.
func rectangles(all []passing) []rectangle {
	targets := map[int][]int{}
	var order []int
	for _, x := range all {
		if targets[x.from] == nil {
			order = append(order, x.from)
		}
		if !slices.Contains(targets[x.from], x.to) {
			targets[x.from] = append(targets[x.from], x.to)
		}
	}
	among := map[string][]int{} // sources, by what they reach and they themselves
	for _, from := range order {
		slices.Sort(targets[from])
		among[mutual(from, targets[from])] = append(among[mutual(from, targets[from])], from)
	}
	var out []rectangle
	alike := map[string]int{}
	for _, from := range order {
		key := "to " + fmt.Sprint(targets[from])
		to := targets[from]
		if m := mutual(from, to); len(among[m]) > 1 {
			key, to = m, everyone(from, to)
		}
		i, seen := alike[key]
		if !seen {
			i = len(out)
			alike[key] = i
			out = append(out, rectangle{to: to})
		}
		out[i].from = append(out[i].from, from)
	}
	return out
}

func everyone(from int, to []int) []int {
	out := append(slices.Clone(to), from)
	slices.Sort(out)
	return slices.Compact(out)
}

func mutual(from int, to []int) string { return "among " + fmt.Sprint(everyone(from, to)) }

// parties are the names of kinds. A network stands for all hosts on it where all of them are meant, known or not; routers
// are meant only with it.
func (b *between) parties(kinds []int, p *Proof) []Party {
	have := map[string]bool{}
	for _, k := range kinds {
		for _, name := range b.kinds[k].names {
			have[name] = true
		}
	}
	var out []Party
	covered := map[string]bool{}
	for _, n := range p.lab.Networks {
		w := p.wires[n.Name]
		if n.Uplink || !have[n.Name] || slices.ContainsFunc(w.nodes, func(m *node) bool { return !have[m.name] && !m.forwards }) {
			continue
		}
		out = append(out, Party{n.Name, "network"})
		covered[n.Name] = true
		for _, m := range w.nodes {
			covered[m.name] = true
		}
	}
	for name := range have {
		switch {
		case covered[name]:
		case name == "world":
			out = append(out, Party{name, "world"})
		case p.wires[name] != nil:
			out = append(out, Party{name, "hosts"})
		default:
			out = append(out, Party{name, "machine"})
		}
	}
	slices.SortFunc(out, func(a, b Party) int { return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Kind, b.Kind)) })
	return out
}

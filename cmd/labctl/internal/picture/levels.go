package picture

import (
	"slices"

	"github.com/labctl-dev/labctl/lab"
)

// levelsOf is how far each network is from the world: the number of routers between, for those that no router leads
// out of one more than the nearest network that a machine of theirs is on, and for what hangs on nothing of that the
// distance from the network with most routers.
func levelsOf(l lab.Lab, ways *lab.Topology) map[string]int {
	out := map[string]int{}
	for _, n := range l.Networks {
		if n.Uplink {
			out[n.Name] = 0
			continue
		}
		for _, v6 := range []bool{false, true} {
			hops, ok := ways.Path(n.Name, "", v6)
			if old, has := out[n.Name]; ok && (!has || len(hops) < old) {
				out[n.Name] = len(hops)
			}
		}
	}
	routers, machines := map[string]int{}, map[string]int{}
	joined := map[string][]string{} // network -> all on which one of its machines is
	for i := range l.Machines {
		m := &l.Machines[i]
		for _, a := range m.NICs {
			machines[a.Network]++
			if m.Router {
				routers[a.Network]++
			}
			for _, b := range m.NICs {
				if a.Network != b.Network {
					joined[a.Network] = append(joined[a.Network], b.Network)
				}
			}
		}
	}
	follow(out, joined)
	for len(out) < len(l.Networks) {
		root := ""
		for _, n := range l.Networks {
			if _, has := out[n.Name]; has {
				continue
			}
			if root == "" || routers[n.Name] > routers[root] || routers[n.Name] == routers[root] && machines[n.Name] > machines[root] {
				root = n.Name
			}
		}
		out[root] = 0
		follow(out, joined)
	}
	return out
}

// follow gives levels to all that is joined to what has one, the nearest first.
func follow(levels map[string]int, joined map[string][]string) {
	var edge []string
	deepest := 0
	for n, k := range levels {
		edge, deepest = append(edge, n), max(deepest, k)
	}
	slices.Sort(edge)
	for k := 0; k <= deepest; k++ {
		for i := 0; i < len(edge); i++ {
			if levels[edge[i]] != k {
				continue
			}
			for _, next := range joined[edge[i]] {
				if _, has := levels[next]; !has {
					levels[next] = k + 1
					edge, deepest = append(edge, next), max(deepest, k+1)
				}
			}
		}
	}
}

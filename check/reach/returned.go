package reach

import (
	"slices"

	"github.com/labctl-dev/labctl/lab"
)

// returned is what the world outside sends back into the lab of what came to it over an uplink: by the router it names,
// or, without one, straight onto the uplink. A gateway surely knows what is behind the routers on its own uplink if that
// is routed; what else the world knows of the lab's addresses is its own business, and may happen or not.
type returned struct {
	over   string
	to     addrs
	router *node
	sure   bool
}

// returns fills in what comes back, by the uplink that it left over. Of several ways the first is taken.
func (p *Proof) returns() {
	p.back = map[string][]returned{}
	for _, left := range p.lab.Networks {
		if !left.Uplink {
			continue
		}
		all := p.behind(left, true)
		for _, other := range p.lab.Networks {
			if other.Uplink && other.Name != left.Name {
				all = append(append(all, p.behind(other, false)...), returned{over: other.Name, to: p.wires[other.Name].owned.minus(links)})
			}
		}
		for i, r := range all { // two uplinks may lead to the same networks
			all[i].sure = r.sure && !slices.ContainsFunc(all, func(o returned) bool { return o.over != r.over && len(o.to.and(r.to)) > 0 })
		}
		p.back[left.Name] = all
	}
}

// behind are the lab's networks that an uplink's other side knows the way to, if it says so.
func (p *Proof) behind(uplink lab.Network, sure bool) []returned {
	if !uplink.Routed {
		return nil
	}
	var out []returned
	for _, n := range p.lab.Networks {
		for _, v6 := range []bool{false, true} {
			prefix, ok := n.Prefix(v6)
			hops, way := p.ways.Path(uplink.Name, n.Name, v6)
			if !ok || n.Uplink || !way || len(hops) == 0 {
				continue
			}
			if r := p.nodes[hops[0].Router]; r.on(uplink.Name).addr[family(v6)].IsValid() {
				out = append(out, returned{uplink.Name, prefixes(prefix), r, sure})
			}
		}
	}
	return out
}

// returned is an answer that leaves the lab. Only what surely comes back does.
func (r *replier) returned(n *node, in string, a reply) {
	rest := a.now
	if n.world {
		for _, back := range r.p.back[in] {
			b := a.now
			if b.dst = rest.dst.and(back.to); len(b.dst) == 0 || !back.sure {
				continue
			}
			rest.dst = rest.dst.minus(back.to)
			r.arrive(back.router, in, a.narrow(b))
		}
	}
	if len(rest.dst) > 0 {
		r.lost(a.narrow(rest), n, nil, "the answer goes to "+n.name+" over "+in+", which did not ask")
	}
}

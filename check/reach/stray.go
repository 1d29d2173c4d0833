package reach

import (
	"net/netip"

	"github.com/labctl-dev/labctl/guest/nft"
)

// fromWorld is the answer of the world: it knows the uplinks' own addresses, and the lab's networks only where the
// uplink says so.
func (r *replier) fromWorld(a reply) {
	last := a.asked.hops[len(a.asked.hops)-1]
	network := last.out
	w := r.p.wires[network]
	on := a.now
	if on.dst = a.now.dst.and(union(w.prefix[0], w.prefix[1], links)); len(on.dst) > 0 {
		r.wire(network, netip.Addr{}, a.narrow(on))
	}
	off := a.now
	if off.dst = a.now.dst.minus(union(w.prefix[0], w.prefix[1], links)); len(off.dst) == 0 {
		return
	}
	if w.network.Routed && last.node.forwards {
		r.arrive(last.node, network, a.narrow(off))
		return
	}
	r.lost(a.narrow(off), r.p.outside, nil, "the world outside has no route back over "+network+" (masquerade there, or say routed: true)")
}

// stray is an answer at a router that has not seen the question: to its connection tracking a new connection, which
// the policy may let through, and translation may spoil.
func (r *replier) stray(n *node, in string, a reply) {
	for _, o := range n.ask(nft.Arrive, moment{in: in, state: nft.New}, a.now) {
		if o.action == nft.DNAT {
			r.lost(a.narrow(o.box), n, o.rule, spoiled)
		} else {
			r.strayOut(n, in, a.narrow(o.box))
		}
	}
}

// spoiled is what becomes of an answer that a router translates by itself.
const spoiled = "the answer is translated as if it were a new connection"

func (r *replier) strayOut(n *node, in string, a reply) {
	if !n.forwards {
		r.pass(n, in, nft.New, a)
		return
	}
	for _, part := range n.split(a.now.without(n.local)) {
		for _, o := range n.ask(nft.Leave, moment{in: in, out: part.net, state: nft.New}, part.box) {
			if o.action == nft.Masquerade {
				r.lost(a.narrow(o.box), n, o.rule, spoiled)
			} else {
				r.pass(n, in, nft.New, a.narrow(o.box))
			}
		}
	}
	own := a.now
	if own.dst = a.now.dst.and(n.local); len(own.dst) > 0 {
		r.pass(n, in, nft.New, a.narrow(own))
	}
}

func (b box) without(dst addrs) box { b.dst = b.dst.minus(dst); return b }

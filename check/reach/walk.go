package reach

import (
	"net/netip"
	"slices"

	"github.com/labctl-dev/labctl/guest/nft"
)

// flow is a set of packets that open connections, somewhere on their way.
type flow struct {
	now, orig        box // as they are, and as they were sent
	snatted, dnatted bool
	natural          bool // sent the way a program sends that leaves the choice of its address to the kernel
	hops             []hop
	gate             *nft.Rule // of a host's own filter, that let it in where it is
}

// hop is a machine that has passed a flow on, or taken it.
type hop struct {
	node             *node
	in, out          string
	pre, post        box // before and after translation
	snatted, dnatted bool
	rule             *nft.Rule // that let it through; nil where nothing asks
	gate             *nft.Rule // of its host's own filter, that let it in; nil where there is none
}

// end is where a set of packets ends: taken by a machine, or not. All ends of what was sent are apart from each other.
type end struct {
	flow
	node  *node // that took it or did not
	taken bool
	rule  *nft.Rule // that dropped it, if one did
	why   string    // it was not taken
}

// narrow is the part of a flow that is in b.
func (f flow) narrow(b box) flow {
	f.now = b
	f.orig.proto, f.orig.sport = b.proto, b.sport
	if !f.snatted {
		f.orig.src = b.src
	}
	if !f.dnatted {
		f.orig.dst, f.orig.dport = b.dst, b.dport
	}
	return f
}

// walker follows flows and collects their ends.
type walker struct {
	p     *Proof
	proto values // that packets makes
	ends  []end
}

func (w *walker) drop(f flow, n *node, r *nft.Rule, why string) {
	w.ends = append(w.ends, end{flow: f, node: n, rule: r, why: why})
}

func (w *walker) take(f flow, n *node) { w.ends = append(w.ends, end{flow: f, node: n, taken: true}) }

// send is n opening connections itself.
func (w *walker) send(n *node, f flow) {
	for _, part := range n.split(f.now) {
		f := f.narrow(part.box)
		if part.net == "" {
			w.drop(f, n, nil, n.name+" has no route there")
			continue
		}
		mine := n.on(part.net)
		for _, v6 := range []bool{false, true} {
			a := mine.addr[family(v6)]
			if !a.IsValid() {
				a = netip.IPv4Unspecified() // nothing is natural
			}
			b := f.now
			if b.src = f.now.src.and(one(a)); len(b.src) > 0 {
				g := f.narrow(b)
				g.natural = f.natural
				w.leave(n, hop{node: n, out: part.net}, part.via, g)
			}
			if b.src = f.now.src.and(universe(v6)).minus(one(a)); len(b.src) > 0 {
				g := f.narrow(b)
				g.natural = false
				w.leave(n, hop{node: n, out: part.net}, part.via, g)
			}
		}
	}
}

func family(v6 bool) int {
	if v6 {
		return 1
	}
	return 0
}

// part is what of some packets leaves by one route; net is "" for what has none.
type part struct {
	box box
	net string
	via netip.Addr
}

// split is what a node's routing table makes of packets.
func (n *node) split(b box) []part {
	var out []part
	rest := b.dst
	for _, r := range n.routes {
		if len(rest) == 0 {
			return out
		}
		if hit := rest.and(r.to); len(hit) > 0 {
			c := b
			c.dst = hit
			out = append(out, part{c, r.net, r.via})
			rest = rest.minus(r.to)
		}
	}
	if len(rest) > 0 {
		b.dst = rest
		out = append(out, part{box: b})
	}
	return out
}

// leave is postrouting: translation of the source, and out onto the wire.
func (w *walker) leave(n *node, h hop, via netip.Addr, f flow) {
	if h.pre.proto == nil {
		h.pre = f.now
	}
	for _, o := range n.ask(nft.Leave, moment{in: h.in, out: h.out, state: nft.New, dnated: h.dnatted}, f.now) {
		g, h := f.narrow(o.box), h
		if o.action == nft.Masquerade {
			a := n.on(h.out).addr[family(!all4.has(o.box.src[0].from))]
			if !a.IsValid() {
				w.drop(g, n, o.rule, n.name+" has no address to hide it behind")
				continue
			}
			if !h.dnatted {
				h.pre = o.box
			} else {
				h.pre.src = o.box.src
			}
			g.now.src, g.snatted, h.snatted = one(a), true, true
		}
		w.out(h, via, g)
	}
}

func (w *walker) out(h hop, via netip.Addr, f flow) {
	for _, f := range w.filtered(h.node, outward, moment{in: h.in, out: h.out, state: nft.New}, f) {
		h := h
		if !h.snatted && !h.dnatted {
			h.pre = f.now
		}
		h.post = f.now
		f.hops = append(slices.Clone(f.hops), h)
		w.wire(h.out, via, f, func(n *node, f flow) { w.arrive(n, h.out, f) })
	}
}

// wire brings packets to whoever has via, or each destination, on a network.
func (w *walker) wire(network string, via netip.Addr, f flow, arrive func(*node, flow)) {
	on := w.p.wires[network]
	if via.IsValid() {
		switch n := on.owner[numOf(via)]; {
		case n != nil:
			arrive(n, f)
		case on.network.Uplink:
			arrive(w.p.outside, f)
		default:
			w.drop(f, nil, nil, "nobody on "+network+" has the address "+via.String())
		}
		return
	}
	rest := f.now.dst
	mine := rest.and(on.owned)
	if len(mine) > 0 {
		for _, n := range on.nodes {
			if !mine.meets(n.mine) { // nearly always
				continue
			}
			hit := mine.and(n.mine)
			if i := n.on(network); n.forwards || len(n.ifaces) > 1 { // only the addresses on this network are asked for here
				hit = hit.and(i.addrs())
			}
			if len(hit) == 0 {
				continue
			}
			b := f.now
			b.dst = hit
			arrive(n, f.narrow(b))
		}
		rest = rest.minus(on.owned)
	}
	b := f.now
	if b.dst = rest.and(on.useless); len(b.dst) > 0 {
		w.drop(f.narrow(b), nil, nil, "it is no machine's address")
	}
	if b.dst = rest.minus(on.useless); len(b.dst) > 0 {
		arrive(on.stranger, f.narrow(b))
	}
}

func (i iface) addrs() addrs {
	var out []addrs
	for _, a := range []netip.Addr{i.addr[0], i.addr[1], i.link} {
		if a.IsValid() {
			out = append(out, one(a))
		}
	}
	return union(out...)
}

func (a addrs) or(b addrs) addrs {
	if len(b) == 0 {
		return a
	}
	return union(a, b)
}

// arrive is a node getting packets that open connections.
func (w *walker) arrive(n *node, in string, f flow) {
	if n.world || n.stranger {
		w.foreign(n, in, f)
		return
	}
	if slices.ContainsFunc(f.hops, func(h hop) bool { return h.node == n && h.in == in }) {
		w.drop(f, n, nil, "it goes round in a loop")
		return
	}
	for _, f := range w.filtered(n, nft.Early, moment{in: in, state: nft.New}, f) {
		// Linux takes no IPv4 packet from outside that has an address of its own as source; of IPv6 it does.
		b := f.now
		if b.src = f.now.src.and(n.local).and(all4); len(b.src) > 0 {
			w.drop(f.narrow(b), n, nil, "its source is an address of "+n.name)
		}
		if b.src = f.now.src.minus(n.local.and(all4)); len(b.src) > 0 {
			w.route(n, in, f.narrow(b))
		}
	}
}

// foreign is the end of what has left the lab.
func (w *walker) foreign(n *node, in string, f flow) {
	if n.stranger {
		w.take(f, n)
		return
	}
	b := f.now
	if b.dst = f.now.dst.minus(w.p.inside).minus(w.p.nobody); len(b.dst) > 0 {
		w.take(f.narrow(b), n)
	}
	if b.dst = f.now.dst.minus(w.p.inside).and(w.p.nobody); len(b.dst) > 0 {
		w.drop(f.narrow(b), n, nil, "it is no machine's address")
	}
	rest := f.now
	rest.dst = f.now.dst.and(w.p.inside)
	for _, r := range w.p.back[in] {
		if b.dst = rest.dst.and(r.to); len(b.dst) == 0 {
			continue
		}
		rest.dst = rest.dst.minus(r.to)
		g := f.narrow(b)
		g.natural = g.natural && r.sure
		if r.router != nil {
			w.arrive(r.router, r.over, g)
			continue
		}
		w.wire(r.over, netip.Addr{}, g, func(m *node, f flow) { w.arrive(m, r.over, f) })
	}
	if len(rest.dst) > 0 {
		w.drop(f.narrow(rest), n, nil, "it leaves the lab over "+in+", and does not come back")
	}
}

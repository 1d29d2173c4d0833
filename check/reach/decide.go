package reach

import (
	"slices"

	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/lab"
)

// filtered is what of a flow a hook lets through; the rest is dropped.
func (w *walker) filtered(n *node, hook nft.Hook, m moment, f flow) []flow {
	var out []flow
	for _, o := range n.ask(hook, m, f.now) {
		g := f.narrow(o.box)
		if o.action == nft.Drop {
			w.drop(g, n, o.rule, "")
			continue
		}
		if last := len(g.hops) - 1; o.rule != nil && last >= 0 && g.hops[last].node == n {
			g.hops = slices.Clone(g.hops)
			g.hops[last].rule = o.rule
		}
		if hook == nft.Early {
			g.gate = nil
			if o.rule != nil && o.rule.Origin.Kind == nft.Outside {
				g.gate = o.rule
			}
		}
		out = append(out, g)
	}
	return out
}

// route is what follows once a packet may come from where it does: translation of the destination, the decision
// whether it is for the machine itself, and the filter for that.
func (w *walker) route(n *node, in string, f flow) {
	h := hop{node: n, in: in, gate: f.gate}
	for _, o := range n.ask(nft.Arrive, moment{in: in, state: nft.New}, f.now) {
		if o.action == nft.DNAT {
			w.translate(n, h, f.narrow(o.box), o.rule)
		} else {
			w.decide(n, h, f.narrow(o.box))
		}
	}
}

// translate gives packets a new destination. What has it already is not translated: to the kernel such a connection
// has no status "dnat".
func (w *walker) translate(n *node, h hop, f flow, r *nft.Rule) {
	same := f.now
	same.dst, same.dport = one(r.To.Addr()), only(r.To.Port())
	for _, b := range f.now.minus(same) {
		g := f.narrow(b)
		h := h
		h.pre, h.dnatted = b, true
		g.now.dst, g.now.dport, g.dnatted = same.dst, same.dport, true
		w.decide(n, h, g)
	}
	if b := f.now.and(same); !b.empty() {
		w.decide(n, h, f.narrow(b))
	}
}

func (w *walker) decide(n *node, h hop, f flow) {
	mine := n.local.or(n.on(h.in).link6())
	b := f.now
	if b.dst = f.now.dst.and(mine); len(b.dst) > 0 {
		g := f.narrow(b)
		if !h.dnatted {
			h.pre = b
		}
		h.post = b
		g.hops = append(slices.Clone(g.hops), h)
		for _, g := range w.filtered(n, nft.Input, moment{in: h.in, state: nft.New, dnated: h.dnatted}, g) {
			w.take(g, n)
		}
	}
	if b.dst = f.now.dst.minus(mine); len(b.dst) == 0 {
		return
	}
	f = f.narrow(b)
	if !n.forwards {
		w.drop(f, n, nil, n.name+" is no router")
		return
	}
	// RFC 4291, 2.5.6: link-local addresses are not forwarded.
	link := f.now
	if link.dst = f.now.dst.and(links); len(link.dst) > 0 {
		w.drop(f.narrow(link), n, nil, "link-local addresses are not forwarded")
	}
	b.dst = b.dst.minus(links)
	link = b
	if link.src = b.src.and(links); !link.empty() {
		w.drop(f.narrow(link), n, nil, "link-local addresses are not forwarded")
	}
	if b.src = b.src.minus(links); !b.empty() {
		w.forward(n, h, f.narrow(b))
	}
}

func (i iface) link6() addrs {
	if !i.link.IsValid() {
		return nil
	}
	return one(i.link)
}

func (w *walker) forward(n *node, h hop, f flow) {
	for _, part := range n.split(f.now) {
		g := f.narrow(part.box)
		if part.net == "" {
			w.drop(g, n, nil, n.name+" has no route there")
			continue
		}
		h := h
		h.out = part.net
		if !h.dnatted {
			h.pre = g.now
		}
		h.post = g.now
		g.hops = append(slices.Clone(g.hops), h)
		for _, g := range w.filtered(n, nft.Forward, moment{in: h.in, out: h.out, state: nft.New, dnated: h.dnatted}, g) {
			last := g.hops[len(g.hops)-1]
			g.hops = g.hops[:len(g.hops)-1]
			w.leave(n, last, part.via, g)
		}
	}
}

// packets is what opens connections in one family: every protocol, and of ICMP echo requests. Other kinds of ICMP
// open nothing: connection tracking calls them invalid, related to an open connection, or does not track them.
func (w *walker) packets(src, dst addrs, v6 bool) []box {
	own, echo := uint16(icmp), uint16(8)
	if v6 {
		own, echo = icmpv6, 128
	}
	b := box{src: src.and(universe(v6)), dst: dst.and(universe(v6)), proto: w.proto.minus(only(own)), sport: everyPort, dport: everyPort}
	c := b
	c.proto, c.dport = w.proto.and(only(own)), only(echo)
	var out []box
	for _, x := range []box{b, c} {
		if !x.empty() {
			out = append(out, x)
		}
	}
	return out
}

// service is a service as protocols and ports, in one family.
func service(s lab.Service, v6 bool) (proto, dport values) {
	switch s.Proto {
	case lab.TCP:
		return only(tcp), values{{s.From, s.To}}
	case lab.UDP:
		return only(udp), values{{s.From, s.To}}
	case lab.ICMP:
		if v6 {
			return only(icmpv6), everyPort
		}
		return only(icmp), everyPort
	}
	return values{{0, 255}}, everyPort
}

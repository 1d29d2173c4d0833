package reach

import (
	"net/netip"
	"slices"

	"github.com/labctl-dev/labctl/guest/nft"
)

// answer is what comes of packets that were taken: a part of them for which a connection works, or does not because
// the answer is lost. The answers to an end are apart from each other.
type answer struct {
	orig, now box // of the packets that asked: as sent, and as taken
	open      bool
	node      *node     // that lost the answer
	rule      *nft.Rule // that dropped it, if one did
	why       string
	back      []hop // the way of the answer
}

// reply is an answer on its way. Its box is the header of the answer: its destination is who asked.
type reply struct {
	now    box
	asked  *end
	origin *node
	src    addrs // of the packets that asked, as sent, that are still meant
	dst    addrs
	sport  values
	dport  values
	taken  box // what of asked.now is still meant
	undone int // source translations taken back
	redone int // destination translations taken back
	met    []*node
	back   []hop
}

// replier follows answers and collects what comes of them.
type replier struct {
	p   *Proof
	out []answer
}

// answers says for every packet that an end took whether a connection comes of it.
func (p *Proof) answers(e *end, origin *node) []answer {
	r := &replier{p: p}
	for _, proto := range []values{only(tcp), only(icmp), only(icmpv6), {{0, 0}, {2, 5}, {7, 57}, {59, 255}}} {
		asked := e.now
		asked.proto = asked.proto.and(proto)
		if asked.empty() {
			continue
		}
		back := box{src: asked.dst, dst: asked.src, proto: asked.proto, sport: asked.dport, dport: asked.sport}
		if proto[0].from == icmp || proto[0].from == icmpv6 {
			back.sport, back.dport = everyPort, only(map[uint16]uint16{icmp: 0, icmpv6: 129}[proto[0].from])
		}
		r.send(e.node, reply{now: back, asked: e, origin: origin, taken: asked,
			src: e.orig.src, dst: e.orig.dst, sport: e.orig.sport, dport: e.orig.dport})
	}
	return r.out
}

func (a reply) isICMP() bool {
	return a.now.proto.has(icmp) && len(a.now.proto) == 1 && a.now.proto[0].to == icmp || a.now.proto.has(icmpv6) && a.now.proto[0].from == icmpv6
}

func (a reply) isTCP() bool { return len(a.now.proto) == 1 && a.now.proto[0] == ports{tcp, tcp} }

// narrow is the part of an answer that is in b.
func (a reply) narrow(b box) reply {
	a.now = b
	a.taken.proto = b.proto
	snats, dnats := a.asked.translations()
	if a.undone == 0 { // who asked, as the target saw it
		a.taken.src = b.dst
	}
	if a.undone == snats {
		a.src = b.dst
	}
	if a.redone == 0 {
		a.taken.dst = b.src
	}
	if a.redone == dnats {
		a.dst = b.src
	}
	if !a.isICMP() {
		a.taken.sport, a.sport = b.dport, b.dport
		if a.redone == 0 {
			a.taken.dport = b.sport
		}
		if a.redone == dnats {
			a.dport = b.sport
		}
	}
	return a
}

func (e *end) translations() (snats, dnats int) {
	for _, h := range e.hops {
		if h.snatted {
			snats++
		}
		if h.dnatted {
			dnats++
		}
	}
	return snats, dnats
}

func (r *replier) end(a reply, open bool, n *node, rule *nft.Rule, why string) {
	r.out = append(r.out, answer{
		orig: box{src: a.src, dst: a.dst, proto: a.now.proto, sport: a.sport, dport: a.dport},
		now:  a.taken, open: open, node: n, rule: rule, why: why, back: a.back,
	})
}

func (r *replier) lost(a reply, n *node, rule *nft.Rule, why string) { r.end(a, false, n, rule, why) }

// send is the target answering.
func (r *replier) send(n *node, a reply) {
	if n.world {
		r.fromWorld(a)
		return
	}
	if n.stranger { // hosts that nobody knows send the way they were asked; what holds for them is a guess
		last := a.asked.hops
		if len(last) == 0 {
			r.end(a, true, nil, nil, "")
			return
		}
		h := last[len(last)-1]
		if slices.ContainsFunc(h.node.ifaces, func(i iface) bool { return i.network == n.name }) && h.in != "" {
			r.arrive(h.node, n.name, a)
			return
		}
		r.wire(n.name, netip.Addr{}, a)
		return
	}
	if a := r.translateOwn(n, &a); a != nil {
		r.lost(*a, n, nil, "the answer does not match the connection")
		return
	}
	link := a.now
	if link.dst = a.now.dst.and(links); len(link.dst) > 0 { // back over the interface it came by
		r.wire(a.asked.hops[len(a.asked.hops)-1].in, netip.Addr{}, a.narrow(link))
	}
	rest := a.now
	if rest.dst = a.now.dst.minus(links); len(rest.dst) == 0 {
		return
	}
	a = a.narrow(rest)
	for _, part := range n.split(a.now) {
		b := a.narrow(part.box)
		if part.net == "" {
			r.lost(b, n, nil, n.name+" has no route back")
			continue
		}
		b.back = append(slices.Clone(b.back), hop{node: n, out: part.net})
		r.wire(part.net, part.via, b)
	}
}

// translateOwn takes back the translation of the target itself: a router whose published port leads to itself.
func (r *replier) translateOwn(n *node, a *reply) *reply {
	last := a.asked.hops[len(a.asked.hops)-1]
	if last.node != n {
		return a
	}
	a.met = append(slices.Clone(a.met), n)
	if last.dnatted {
		b := a.now
		b.src, b.sport = last.pre.dst, last.pre.dport
		a.redone++
		*a = a.narrow(b)
	}
	return nil
}

// wire brings an answer to whoever has via, or each destination, on a network.
func (r *replier) wire(network string, via netip.Addr, a reply) {
	w := &walker{p: r.p}
	w.wire(network, via, flow{now: a.now}, func(n *node, f flow) { r.arrive(n, network, a.narrow(f.now)) })
	for _, e := range w.ends {
		r.lost(a.narrow(e.now), nil, nil, e.why)
	}
}

// arrive is a node getting an answer.
func (r *replier) arrive(n *node, in string, a reply) {
	if n.world || n.stranger {
		if n == a.origin {
			r.finish(a)
			return
		}
		r.returned(n, in, a)
		return
	}
	if slices.ContainsFunc(a.back, func(h hop) bool { return h.node == n && h.in == in }) {
		r.lost(a, n, nil, "the answer goes round in a loop")
		return
	}
	entry, known := a.entry(n)
	state := nft.Established
	if !known {
		state = nft.New
		if a.isTCP() || a.isICMP() {
			state = nft.Invalid
		}
	}
	for _, a := range r.filtered(n, nft.Early, moment{in: in, state: state}, a) {
		if !known && n != a.origin && state == nft.New {
			r.stray(n, in, a)
			continue
		}
		if known {
			a = a.takeBack(entry, n)
		}
		r.pass(n, in, state, a)
	}
}

// entry is what n's connection tracking knows of the connection that a answers. The machine that asked always knows.
func (a reply) entry(n *node) (hop, bool) {
	for _, h := range a.asked.hops {
		if h.node == n && !slices.Contains(a.met, n) && len(h.post.src.and(a.now.dst)) > 0 && len(h.post.dst.and(a.now.src)) > 0 {
			return h, true
		}
	}
	return hop{}, n == a.origin
}

// takeBack undoes a router's translations.
func (a reply) takeBack(h hop, n *node) reply {
	if h.node == nil {
		return a
	}
	a.met = append(slices.Clone(a.met), n)
	b := a.now
	if h.snatted {
		b.dst = h.pre.src
		a.undone++
	}
	if h.dnatted {
		b.src, b.sport = h.pre.dst, h.pre.dport
		a.redone++
	}
	return a.narrow(b)
}

// filtered is what of an answer a hook lets through.
func (r *replier) filtered(n *node, hook nft.Hook, m moment, a reply) []reply {
	var out []reply
	for _, o := range n.ask(hook, m, a.now) {
		if o.action == nft.Drop {
			r.lost(a.narrow(o.box), n, o.rule, "")
		} else {
			out = append(out, a.narrow(o.box))
		}
	}
	return out
}

// pass is the decision about an answer: it is for the machine itself, or goes on.
func (r *replier) pass(n *node, in string, state nft.State, a reply) {
	mine := n.mine
	b := a.now
	if b.dst = a.now.dst.and(mine); len(b.dst) > 0 {
		c := a.narrow(b)
		if n != a.origin {
			r.lost(c, n, nil, "the answer comes to "+n.name+", which did not ask")
		} else {
			for _, c := range r.filtered(n, nft.Input, moment{in: in, state: state}, c) {
				r.finish(c)
			}
		}
	}
	if b.dst = a.now.dst.minus(mine); len(b.dst) == 0 {
		return
	}
	a = a.narrow(b)
	if !n.forwards {
		r.lost(a, n, nil, "the answer comes to "+n.name+", which is no router")
		return
	}
	r.forward(n, in, state, a)
}

func (r *replier) forward(n *node, in string, state nft.State, a reply) {
	for _, part := range n.split(a.now) {
		b := a.narrow(part.box)
		if part.net == "" {
			r.lost(b, n, nil, n.name+" has no route back")
			continue
		}
		b.back = append(slices.Clone(b.back), hop{node: n, in: in, out: part.net})
		for _, c := range r.filtered(n, nft.Forward, moment{in: in, out: part.net, state: state}, b) {
			for _, c := range r.filtered(n, outward, moment{in: in, out: part.net, state: state}, c) {
				r.wire(part.net, part.via, c)
			}
		}
	}
}

// finish is an answer that has come back. A TCP connection needs more: every router that saw the question must have
// seen the answer, or it takes what follows for no connection.
func (r *replier) finish(a reply) {
	snats, dnats := a.asked.translations()
	if a.undone != snats || a.redone != dnats {
		r.lost(a, a.origin, nil, "the answer does not match the question: a router that translated it was passed by")
		return
	}
	if !a.isTCP() {
		r.end(a, true, nil, nil, "")
		return
	}
	for _, h := range a.asked.hops {
		if h.in == "" || h.node == a.asked.node || slices.Contains(a.met, h.node) {
			continue
		}
		for _, o := range h.node.ask(nft.Forward, moment{in: h.in, out: h.out, state: nft.Invalid}, a.asked.now) {
			if o.action == nft.Drop {
				r.lost(a, h.node, o.rule, "the answer takes another way: "+h.node.name+" sees half of the connection")
				return
			}
		}
	}
	r.end(a, true, nil, nil, "")
}

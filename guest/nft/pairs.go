package nft

import (
	"net/netip"
	"slices"

	"github.com/labctl-dev/labctl/lab"
)

// pair is the addresses of a flow as one machine sees them: all of src to all of dst.
type pair struct {
	src, dst           []netip.Prefix
	srcWorld, dstWorld bool
	hidden             bool // src is the address of a router that masquerades
	input              bool
	whole              bool // of input: every address of the machine is meant, known or not
}

// pairs are what a flow is at m: the part of its ends between which a way leads through m (or with input, to m), and
// for each router before m on such a way that hides what is behind it, that router's own address as source.
func (c *compiler) pairs(f *flow, m lab.Machine, v6 bool, input bool) []pair {
	i := family(v6)
	to := f.to[i]
	whole := input && (to.any || slices.Contains(to.machines, m.Name))
	p := &pairing{c: c, m: m, v6: v6, plain: pair{input: input, whole: whole}, hidden: map[netip.Addr]*pair{}}
	if input {
		to = c.own(to, m, v6, whole)
	}
	if !input {
		for _, w := range c.through(f, m, v6) {
			p.add(w.from, w.to)
		}
		return p.all()
	}
	for _, s := range c.senders(f, m, i) {
		for _, d := range byNetwork(to.places, lab.Machine{}) { // its own addresses are the targets
			p.add(s, d)
		}
	}
	return p.all()
}

// sources and targets are the places of a flow's ends, the world being one on each uplink, or one without a network.
func (c *compiler) sources(f *flow, family int) []place {
	out := slices.Clone(f.from[family].places)
	if f.from[family].world {
		for _, n := range c.lab.Networks {
			if n.Uplink {
				out = append(out, place{network: n.Name})
			}
		}
	}
	return out
}

// senders are the sources by network, without those of m itself. Hosts that are none of them share what is made of them.
func (c *compiler) senders(f *flow, m lab.Machine, family int) []*group {
	sources := c.sources(f, family)
	if slices.ContainsFunc(sources, func(p place) bool { return p.machine == m.Name }) {
		return byNetwork(sources, m)
	}
	if f.sources[family] == nil {
		f.sources[family] = byNetwork(sources, lab.Machine{})
		for _, g := range f.sources[family] {
			g.prefixes = normal(g.prefixes)
		}
	}
	return f.sources[family]
}

func (f *flow) targets(family int) []place {
	out := slices.Clone(f.to[family].places)
	if f.to[family].world {
		out = append(out, place{})
	}
	return out
}

// stretch is what a flow has on two networks between which a way leads.
type stretch struct{ from, to *group }

// through are the stretches of a flow that lead through a router. All routers' are found at once and remembered, but
// for those of a router that is an end itself.
func (c *compiler) through(f *flow, m lab.Machine, v6 bool) []stretch {
	i := family(v6)
	sources, targets := c.sources(f, i), f.targets(i)
	own := func(p place) bool { return p.machine == m.Name }
	if slices.ContainsFunc(sources, own) || slices.ContainsFunc(targets, own) {
		return c.stretches(byNetwork(sources, m), byNetwork(targets, m), v6)[m.Name]
	}
	if f.ways[i] == nil {
		f.ways[i] = c.stretches(byNetwork(sources, lab.Machine{}), byNetwork(targets, lab.Machine{}), v6)
	}
	return f.ways[i][m.Name]
}

// stretches are by the routers on their ways.
func (c *compiler) stretches(sources, targets []*group, v6 bool) map[string][]stretch {
	out := map[string][]stretch{}
	for _, s := range sources {
		for _, d := range targets {
			hops, ok := c.path(s.network, d.network, v6)
			if !ok {
				continue
			}
			for _, h := range hops {
				out[h.Router] = append(out[h.Router], stretch{s, d})
			}
		}
	}
	return out
}

// own is the part of an end that is m itself: its addresses that lie on a network that is meant, or with whole a
// place on each of its networks.
func (c *compiler) own(e end, m lab.Machine, v6, whole bool) end {
	var out end
	for _, nic := range m.NICs {
		a, ok := nic.Address(v6)
		n, _ := c.lab.Network(nic.Network)
		switch {
		case whole && (ok || n.Uplink && !n.CIDR.IsValid() && !v6):
			out.places = append(out.places, place{everything[family(v6)], nic.Network, m.Name})
		case !whole && ok && slices.ContainsFunc(e.places, func(p place) bool { return p.prefix.Contains(a) }):
			out.places = append(out.places, place{Single(a), nic.Network, m.Name})
		}
	}
	return out
}

// pairing collects the pairs of one flow at one machine.
type pairing struct {
	c      *compiler
	m      lab.Machine
	v6     bool
	plain  pair
	hidden map[netip.Addr]*pair
	order  []netip.Addr // of hidden
}

// group is what an end has on one network; of the world's network "" it is nothing.
type group struct {
	network  string
	prefixes []netip.Prefix
	world    bool
}

// byNetwork groups places, those of m itself left out unless it is no machine: what it sends or gets is no matter of what it forwards, and
// what it sends to itself no matter of anybody.
func byNetwork(all []place, m lab.Machine) []*group {
	var out []*group
	at := map[string]*group{}
	for _, p := range all {
		if m.Name != "" && p.machine == m.Name {
			continue
		}
		g := at[p.network]
		if g == nil {
			g = &group{network: p.network}
			at[p.network] = g
			out = append(out, g)
		}
		if p.prefix.IsValid() {
			g.prefixes = append(g.prefixes, p.prefix)
		} else {
			g.world = true
		}
	}
	return out
}

// add puts the sources on one network and the targets on one in, if m is on the way. From the world to the world is
// nobody's business.
func (p *pairing) add(s, d *group) {
	if len(s.prefixes) == 0 && len(d.prefixes) == 0 {
		return
	}
	hops, ok := p.c.path(s.network, d.network, p.v6)
	if !ok {
		return
	}
	before, on := hops, p.plain.input
	for i, h := range hops {
		if h.Router == p.m.Name {
			before, on = hops[:i], true
			break
		}
	}
	if !on {
		return
	}
	into := &p.plain
	if a, ok := p.c.mask(before, p.v6); ok {
		into = p.hidden[a]
		if into == nil {
			into = &pair{hidden: true, input: p.plain.input, whole: p.plain.whole, src: []netip.Prefix{Single(a)}}
			p.hidden[a] = into
			p.order = append(p.order, a)
		}
	} else {
		if into.src == nil {
			into.src = slices.Clip(s.prefixes)
		} else {
			into.src = append(into.src, s.prefixes...)
		}
		into.srcWorld = into.srcWorld || s.world
	}
	into.dst = append(into.dst, d.prefixes...)
	into.dstWorld = into.dstWorld || d.world
}

func (p *pairing) all() []pair {
	var out []pair
	if len(p.plain.src) > 0 || p.plain.srcWorld {
		out = append(out, p.plain)
	}
	slices.SortFunc(p.order, netip.Addr.Compare)
	for _, a := range p.order {
		out = append(out, *p.hidden[a])
	}
	return out
}

// mask is the address that a packet has as its source after hops, where one of them masquerades: the last one's. It
// is none where that address is not known.
func (c *compiler) mask(hops []lab.Hop, v6 bool) (netip.Addr, bool) {
	for i := len(hops) - 1; i >= 0; i-- {
		m := c.machines[hops[i].Router]
		if masquerades(*m, hops[i].Out, v6) {
			nic, _ := m.NIC(hops[i].Out)
			return nic.Address(v6)
		}
	}
	return netip.Addr{}, false
}

func masquerades(m lab.Machine, network string, v6 bool) bool {
	switch {
	case m.Routing == nil:
		return false
	case v6:
		return slices.Contains(m.Routing.Masquerade6, network)
	}
	return slices.Contains(m.Routing.Masquerade, network)
}

// side is the addresses that are beyond a router's interface.
func (c *compiler) side(router, network string, v6 bool) Addrs {
	networks, world := c.ways.Beyond(router, network, v6)
	var here, elsewhere []netip.Prefix
	for _, n := range c.lab.Networks {
		p, ok := n.Prefix(v6)
		switch {
		case !ok:
		case slices.Contains(networks, n.Name):
			here = append(here, p)
		default:
			elsewhere = append(elsewhere, p)
		}
	}
	if world {
		return Addrs{Not: true, Prefixes: normal(elsewhere)}
	}
	return Addrs{Prefixes: normal(here)}
}

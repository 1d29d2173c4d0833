package reach

import (
	"slices"

	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/lab"
)

// Numbers of protocols (IANA). In a box of ICMP the type stands in dport, and sport means nothing.
const (
	icmp   = 1
	tcp    = 6
	udp    = 17
	icmpv6 = 58
)

// box is a set of packets: every combination of its parts. It is empty if one of them is.
type box struct {
	src, dst     addrs
	proto        values // 0 to 255
	sport, dport values
}

func (b box) empty() bool {
	return len(b.src) == 0 || len(b.dst) == 0 || len(b.proto) == 0 || len(b.sport) == 0 || len(b.dport) == 0
}

func (b box) and(c box) box {
	return box{b.src.and(c.src), b.dst.and(c.dst), b.proto.and(c.proto), b.sport.and(c.sport), b.dport.and(c.dport)}
}

// meets says whether b and c have a packet in common. It is asked far more often than anything else.
func (b box) meets(c box) bool {
	return b.proto.meets(c.proto) && b.dport.meets(c.dport) && b.dst.meets(c.dst) && b.src.meets(c.src) && b.sport.meets(c.sport)
}

// minus is what is in b and not in c, as boxes that do not overlap.
func (b box) minus(c box) []box {
	if !b.meets(c) {
		return []box{b}
	}
	var out []box
	put := func(x box) {
		if !x.empty() {
			out = append(out, x)
		}
	}
	x := b
	x.src = b.src.minus(c.src)
	put(x)
	x.src = b.src.and(c.src)
	x.dst = b.dst.minus(c.dst)
	put(x)
	x.dst = b.dst.and(c.dst)
	x.proto = b.proto.minus(c.proto)
	put(x)
	x.proto = b.proto.and(c.proto)
	x.sport = b.sport.minus(c.sport)
	put(x)
	x.sport = b.sport.and(c.sport)
	x.dport = b.dport.minus(c.dport)
	put(x)
	return out
}

// filter is a ruleset made ready: the boxes of its rules.
type filter struct {
	chains map[nft.Hook][]chain
}

type chain struct {
	nft.Chain
	rules []rule
}

type rule struct {
	*nft.Rule
	boxes []box // the union is what matches, apart from interfaces, states and marks
	local bool
}

func newFilter(r nft.Ruleset) *filter {
	f := &filter{chains: map[nft.Hook][]chain{}}
	for _, c := range r.Chains {
		made := chain{Chain: c}
		for i := range c.Rules {
			made.rules = append(made.rules, rule{Rule: &c.Rules[i], boxes: boxes(c.Rules[i].Match), local: c.Rules[i].Match.Local})
		}
		f.chains[c.Hook] = append(f.chains[c.Hook], made)
	}
	return f
}

// boxes are what a match says of a packet's header: one box for each family it lets through.
func boxes(m nft.Match) []box {
	families := []bool{false, true}
	if m.Family || len(m.Src.Prefixes) > 0 || len(m.Dst.Prefixes) > 0 || m.Proto == lab.ICMP {
		families = []bool{m.V6}
	}
	var out []box
	for _, v6 := range families {
		b := box{src: set(m.Src, v6), dst: set(m.Dst, v6), proto: values{{0, 255}}, sport: everyPort, dport: everyPort}
		switch {
		case m.Proto == lab.TCP:
			b.proto = only(tcp)
		case m.Proto == lab.UDP:
			b.proto = only(udp)
		case m.Proto == lab.ICMP && v6:
			b.proto = only(icmpv6)
		case m.Proto == lab.ICMP:
			b.proto = only(icmp)
		}
		b.sport, b.dport = portSet(m.Sport), portSet(m.Dport)
		if !b.empty() {
			out = append(out, b)
		}
	}
	return out
}

func set(a nft.Addrs, v6 bool) addrs {
	if len(a.Prefixes) == 0 {
		return universe(v6)
	}
	s := prefixes(a.Prefixes...)
	if a.Not {
		return universe(v6).minus(s)
	}
	return s.and(universe(v6))
}

func portSet(all []nft.Ports) values {
	if len(all) == 0 {
		return everyPort
	}
	out := make(values, 0, len(all))
	for _, p := range all {
		out = append(out, ports{p.From, p.To})
	}
	slices.SortFunc(out, func(a, b ports) int { return int(a.from) - int(b.from) })
	return out
}

// moment is what a chain is asked about besides the header.
type moment struct {
	in, out string
	state   nft.State
	dnated  bool
	local   addrs // the machine's own addresses
}

// outcome is what a chain decides for a part of the packets it was asked about. rule is nil where the chain's own
// policy decides.
type outcome struct {
	box    box
	rule   *nft.Rule
	action nft.Action
}

// ask runs packets through a chain. The outcomes are apart from each other, and all together they are b.
func (c *chain) ask(b box, m moment) []outcome {
	var out []outcome
	rest := []box{b}
	for i := range c.rules {
		r := &c.rules[i]
		if !r.applies(m) {
			continue
		}
		for _, match := range r.boxes {
			if r.local {
				match.dst = match.dst.and(m.local)
			}
			if !slices.ContainsFunc(rest, match.meets) { // nearly always
				continue
			}
			var left []box
			for _, b := range rest {
				if !match.meets(b) {
					left = append(left, b)
					continue
				}
				out = append(out, outcome{b.and(match), r.Rule, r.Action})
				left = append(left, b.minus(match)...)
			}
			rest = left
		}
		if len(rest) == 0 {
			return out
		}
	}
	action := nft.Accept
	if c.Drop {
		action = nft.Drop
	}
	for _, b := range rest {
		out = append(out, outcome{b, nil, action})
	}
	return out
}

// ask runs packets through all chains of a machine at a hook; a machine without a filter accepts everything. Of an
// outcome that no rule but several chains accept, the rule is the last one that did.
func (n *node) ask(hook nft.Hook, m moment, b box) []outcome {
	out := []outcome{{box: b, action: nft.Accept}}
	m.local = n.local
	chains := n.chains(hook)
	for i := range chains {
		var next []outcome
		for _, before := range out {
			if before.action != nft.Accept {
				next = append(next, before)
				continue
			}
			for _, o := range chains[i].ask(before.box, m) {
				if o.rule == nil && o.action == nft.Accept {
					o.rule = before.rule
				}
				next = append(next, o)
			}
		}
		out = next
	}
	return out
}

// chains are those of a hook: what stands outside of the machine is asked first.
func (n *node) chains(hook nft.Hook) []chain {
	switch {
	case n.filter == nil && n.gates == nil:
		return nil
	case n.gates == nil:
		return n.filter.chains[hook]
	case n.filter == nil:
		return n.gates.chains[hook]
	}
	return slices.Concat(n.gates.chains[hook], n.filter.chains[hook])
}

func (r *rule) applies(m moment) bool {
	match := &r.Match
	return (len(match.In) == 0 || slices.Contains(match.In, m.in)) &&
		(len(match.Out) == 0 || slices.Contains(match.Out, m.out)) &&
		(len(match.State) == 0 || slices.Contains(match.State, m.state)) &&
		(!match.DNATed || m.dnated)
}

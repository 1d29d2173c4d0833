// Package reach proves who can open what to whom: it follows sets of packets through the lab's routing tables and the
// very rulesets that its machines run, there and back, and says which rule on which machine decides.
//
// It is exact for what it knows: addresses and ports are sets and never samples; connection tracking, translation,
// one-way routes and answers that take another way are followed as Linux does it (check/reach's own test compares it
// with the kernel). It does not know programs: that a port is open here means that packets get there.
//
// It must not know how a ruleset came to be, nor the policy it was made from, except to name it. It must not know the
// spec's syntax or files.
package reach

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/lab"
)

// Proof answers questions about one lab. It is made once and asked often; asking changes nothing, and different
// goroutines may ask at once.
type Proof struct {
	lab     lab.Lab
	ways    *lab.Topology
	sets    map[string]nft.Ruleset
	nodes   map[string]*node // machines
	wires   map[string]*wire
	outside *node
	inside  addrs
	standIn map[string]netip.Prefix
	broken  error // the policy could not be compiled
}

// Prove makes the proof of a complete lab from the rulesets that its policy is compiled to. A policy that cannot be
// compiled is an error; Findings of the lab says more about it.
func Prove(l lab.Lab) (*Proof, error) {
	sets, err := nft.All(l)
	if err != nil {
		return nil, fmt.Errorf("cannot prove anything about lab %s: %w", l.Name, err)
	}
	return With(l, sets), nil
}

// With makes the proof from given rulesets, by machine: those that were found in the running lab, for instance.
func With(l lab.Lab, sets map[string]nft.Ruleset) *Proof {
	p := &Proof{lab: l, ways: lab.NewTopology(l), sets: sets, standIn: map[string]netip.Prefix{}}
	p.build(sets)
	p.open()
	return p
}

// Verdict is what holds for one set of packets: from every one of Src to every one of Dst over every one of Ports.
type Verdict struct {
	Allowed bool   `json:"allowed"` // a connection comes of it; of UDP and ICMP: request and answer arrive
	From    string `json:"from"`    // a machine, a network (hosts on it that the lab does not know), or "world"
	To      string `json:"to"`
	// Usual is the way a program goes that leaves the choice of its address to the kernel and asks for an address it
	// can know. What is not usual counts for "never" and not for "reaches".
	Usual    bool     `json:"usual"`
	Packet   Packet   `json:"packet"`            // one of them, as it is sent
	Decision Decision `json:"decision"`          // what decided
	Path     []Step   `json:"path"`              // the way of the packet, up to where it ends
	Back     []Step   `json:"back,omitempty"`    // the way of the answer
	Lost     bool     `json:"lost,omitempty"`    // the packet arrives, and the answer does not
	Ports    []string `json:"ports,omitempty"`   // of To, e.g. "22", "8000-8010"; of ICMP none
	Sources  int      `json:"sources,omitempty"` // how many source ports it holds for, of 65536

	orig, now box
}

// Packet is one packet.
type Packet struct {
	Src   netip.Addr `json:"src"`
	Dst   netip.Addr `json:"dst"`
	Proto string     `json:"proto"` // "tcp", "udp", "icmp", or a number
	Sport uint16     `json:"sport,omitempty"`
	Dport uint16     `json:"dport,omitempty"`
}

func (k Packet) String() string {
	at := func(a netip.Addr, port uint16) string {
		if port == 0 {
			return a.String()
		}
		return netip.AddrPortFrom(a, port).String()
	}
	if !k.Src.IsValid() {
		return fmt.Sprintf("%s to %s", k.Proto, at(k.Dst, k.Dport))
	}
	return fmt.Sprintf("%s from %s to %s", k.Proto, at(k.Src, k.Sport), at(k.Dst, k.Dport))
}

// Decision is the rule that decided, or the reason without a rule.
type Decision struct {
	Machine string     `json:"machine,omitempty"`
	Origin  nft.Origin `json:"origin,omitzero"`
	Why     string     `json:"why,omitempty"`
}

func (d Decision) String() string {
	var parts []string
	if d.Origin.Name != "" {
		at := ""
		if d.Origin.Path != "" {
			at = " (" + d.Origin.Path + ")"
		}
		parts = append(parts, fmt.Sprintf("%s rule %q%s on %s", d.Origin.Kind, d.Origin.Name, at, d.Machine))
	}
	if d.Why != "" {
		parts = append(parts, d.Why)
	}
	return strings.Join(parts, ": ")
}

// Step is one machine on a way.
type Step struct {
	Machine string     `json:"machine"`
	In      string     `json:"in,omitempty"`
	Out     string     `json:"out,omitempty"`
	Rule    nft.Origin `json:"rule,omitzero"` // that let it through
	NAT     string     `json:"nat,omitempty"` // what was translated: "10.0.0.5 to 192.0.2.10"
}

// Query asks by which ways from reaches a service of to: both are the name of a machine, of a network (hosts on it
// that the lab does not know), or "world". Every packet that could be meant is in exactly one of the verdicts.
func (p *Proof) Query(from, to string, s lab.Service) ([]Verdict, error) {
	a, err := p.node(from)
	if err != nil {
		return nil, err
	}
	b, err := p.node(to)
	if err != nil {
		return nil, err
	}
	var out []Verdict
	for _, v6 := range []bool{false, true} {
		for _, e := range p.ends(a, b.doors, kinds(s, v6), v6) {
			out = append(out, p.verdicts(a, b, e, s, v6)...)
		}
	}
	return out, nil
}

// Trace asks what comes of one packet that from sends to open a connection. Without Src it is every address of from,
// of which one is usual; without Sport every port that Linux chooses from. Hosts that the lab does not know may hand
// it to any router on their wire: the first step of the path says which.
func (p *Proof) Trace(from string, k Packet) ([]Verdict, error) {
	n, err := p.node(from)
	if err != nil {
		return nil, err
	}
	proto := map[string]lab.Proto{"tcp": lab.TCP, "udp": lab.UDP, "icmp": lab.ICMP}[k.Proto]
	if proto == "" || !k.Dst.IsValid() {
		return nil, fmt.Errorf("cannot trace %s: it needs a destination and one of tcp, udp, icmp", k)
	}
	v6 := k.Dst.Is6()
	number, dport := service(lab.Service{Proto: proto, From: k.Dport, To: k.Dport}, v6)
	only := box{src: union(all4, all6), dst: one(k.Dst), proto: number, sport: everyPort, dport: dport}
	if k.Src.IsValid() {
		only.src = one(k.Src)
	}
	if proto != lab.ICMP {
		only.sport = ephemeral
		if k.Sport != 0 {
			only.sport = values{{k.Sport, k.Sport}}
		}
	}
	var out []Verdict
	for _, e := range p.ends(n, one(k.Dst), number, v6) {
		hit := e.orig.and(only)
		if hit.empty() {
			continue
		}
		now := e.now
		now.proto, now.sport = hit.proto, hit.sport
		if !e.snatted {
			now.src = hit.src
		}
		if !e.dnatted {
			now.dst, now.dport = hit.dst, hit.dport
		}
		e.flow = e.flow.narrow(now)
		e.orig.src, e.orig.dst, e.orig.dport = hit.src, hit.dst, hit.dport
		target := e.node
		if target == nil {
			target = &node{}
		}
		out = append(out, p.judge(n, target, e)...)
	}
	return out, nil
}

// node is a machine, the strangers on a network, or the world.
func (p *Proof) node(name string) (*node, error) {
	if n := p.nodes[name]; n != nil {
		return n, nil
	}
	if w := p.wires[name]; w != nil {
		return w.stranger, nil
	}
	if name == "world" {
		return p.outside, nil
	}
	return nil, fmt.Errorf("there is no machine or network called %q", name)
}

// open fills in the doors of all nodes.
func (p *Proof) open() {
	for _, n := range p.nodes {
		n.doors = union(n.local, n.links)
	}
	p.outside.doors = p.outside.local
	for _, w := range p.wires {
		w.stranger.doors = w.stranger.local
	}
	for name, set := range p.sets {
		for _, c := range set.Chains {
			for _, r := range c.Rules {
				if r.Action != nft.DNAT {
					continue
				}
				from := prefixes(r.Match.Dst.Prefixes...)
				if r.Match.Local {
					from = p.nodes[name].local
				}
				for _, n := range p.nodes {
					if n.local.has(numOf(r.To.Addr())) {
						n.doors = union(n.doors, from)
					}
				}
			}
		}
	}
}

// ends are the ends of everything that n can send to dst by proto in one family.
func (p *Proof) ends(n *node, dst addrs, proto values, v6 bool) []end {
	w := &walker{p: p, proto: proto}
	if n.world || n.stranger {
		p.foreigners(w, n, dst, v6)
		return w.ends
	}
	for _, b := range w.packets(n.local, dst.minus(special).minus(n.local), v6) {
		w.send(n, flow{now: b, orig: b, natural: true})
	}
	if v6 {
		for _, i := range n.ifaces {
			if !i.link.IsValid() {
				continue
			}
			near := dst.and(p.wires[i.network].owned).and(links).minus(n.links)
			for _, b := range w.packets(one(i.link), near, true) {
				f := flow{now: b, orig: b, natural: true}
				w.out(hop{node: n, out: i.network}, netip.Addr{}, f)
			}
		}
	}
	return w.ends
}

// kinds are the protocols of a service.
func kinds(s lab.Service, v6 bool) values {
	proto, _ := service(s, v6)
	return proto
}

// foreigners sends what hosts that the lab does not know can send. They keep to nothing: whatever the destination,
// they may hand it to any machine on their wire. It is usual where they send straight to an address on their wire, or
// the uplink says that its side knows the way.
func (p *Proof) foreigners(w *walker, n *node, dst addrs, v6 bool) {
	dst = dst.minus(special).minus(n.local)
	for _, i := range n.ifaces {
		wire := p.wires[i.network]
		src := n.local
		if n.stranger {
			src = src.and(wire.prefix[family(v6)])
		}
		for _, b := range w.packets(src, dst.and(wire.owned), v6) {
			f := flow{now: b, orig: b, natural: true}
			w.wire(i.network, netip.Addr{}, f, func(m *node, f flow) { w.arrive(m, i.network, f) })
		}
		if v6 {
			for _, b := range w.packets(links.minus(wire.owned), wire.owned.and(links), true) {
				f := flow{now: b, orig: b, natural: true}
				w.wire(i.network, netip.Addr{}, f, func(m *node, f flow) { w.arrive(m, i.network, f) })
			}
		}
		for _, m := range wire.nodes {
			if !m.forwards {
				continue
			}
			gateway, _, _ := p.ways.Gateway(i.network, v6)
			usual := n.world && wire.network.Routed || n.stranger && gateway == m.name
			for _, b := range w.packets(src, dst.minus(wire.owned), v6) {
				w.arrive(m, i.network, flow{now: b, orig: b, natural: usual})
			}
		}
	}
}

// verdicts are what an end says about a service of b.
func (p *Proof) verdicts(a, b *node, e end, s lab.Service, v6 bool) []Verdict {
	proto, dport := service(s, v6)
	meant := e.now
	meant.dst = e.now.dst.and(b.local.or(b.links))
	meant.proto, meant.dport = e.now.proto.and(proto), e.now.dport.and(dport)
	if meant.empty() || e.taken && e.node != b {
		return nil
	}
	e.flow = e.flow.narrow(meant)
	return p.judge(a, b, e)
}

// judge makes verdicts of an end whose packets are all meant.
func (p *Proof) judge(a, b *node, e end) []Verdict {
	if !e.taken {
		d := Decision{Why: e.why}
		if e.node != nil {
			d.Machine = e.node.name
		}
		if e.rule != nil {
			d.Origin = e.rule.Origin
		}
		return []Verdict{p.verdict(a, b, e, Verdict{Decision: d, orig: e.orig, now: e.now})}
	}
	var out []Verdict
	for _, r := range p.answers(&e, a) {
		v := Verdict{Allowed: r.open, Lost: !r.open, orig: r.orig, now: r.now, Back: steps(r.back)}
		if r.open {
			v.Decision = p.decider(e)
		} else {
			v.Decision.Why = r.why
			if r.node != nil {
				v.Decision.Machine = r.node.name
			}
			if r.rule != nil {
				v.Decision.Origin = r.rule.Origin
			}
		}
		out = append(out, p.verdict(a, b, e, v))
	}
	return out
}

// decider is the rule that lets a flow through: the last on its way that comes from the policy, else the last.
func (p *Proof) decider(e end) Decision {
	var d Decision
	for _, h := range e.hops {
		if h.rule != nil && (d.Machine == "" || h.rule.Origin.Kind == nft.FromPolicy || d.Origin.Kind != nft.FromPolicy) {
			d = Decision{Machine: h.node.name, Origin: h.rule.Origin}
		}
	}
	if d.Machine == "" {
		d.Why = "no filter is between them"
	}
	return d
}

// verdict fills in what all verdicts have.
func (p *Proof) verdict(a, b *node, e end, v Verdict) Verdict {
	v.From, v.To, v.Usual = a.name, b.name, e.natural
	v.Path, v.Packet = steps(e.hops), sample(v.orig)
	for _, r := range v.now.dport {
		switch {
		case v.Packet.Proto == "icmp":
		case r.from == r.to:
			v.Ports = append(v.Ports, fmt.Sprint(r.from))
		default:
			v.Ports = append(v.Ports, fmt.Sprintf("%d-%d", r.from, r.to))
		}
	}
	for _, r := range v.orig.sport {
		v.Sources += int(r.to) - int(r.from) + 1
	}
	return v
}

func steps(hops []hop) []Step {
	var out []Step
	for _, h := range hops {
		s := Step{Machine: h.node.name, In: h.in, Out: h.out}
		if h.rule != nil {
			s.Rule = h.rule.Origin
		}
		var nat []string
		if h.snatted {
			nat = append(nat, "from "+h.post.src[0].from.addr().String())
		}
		if h.dnatted {
			nat = append(nat, "to "+netip.AddrPortFrom(h.post.dst[0].from.addr(), h.post.dport[0].from).String())
		}
		s.NAT = strings.Join(nat, ", ")
		out = append(out, s)
	}
	return out
}

// ephemeral are the source ports that Linux chooses from (net.ipv4.ip_local_port_range).
var ephemeral = values{{32768, 60999}}

// sample is one packet of a box, as plain as can be.
func sample(b box) Packet {
	k := Packet{Src: plain(b.src), Dst: plain(b.dst)}
	switch n := b.proto; {
	case n.has(tcp):
		k.Proto = "tcp"
	case n.has(udp):
		k.Proto = "udp"
	case n.has(icmp) && k.Dst.Is4(), n.has(icmpv6) && k.Dst.Is6():
		k.Proto = "icmp"
		return k
	default:
		k.Proto = fmt.Sprintf("protocol %d", n[0].from)
		return k
	}
	k.Dport = max(b.dport[0].from, min(1, b.dport[len(b.dport)-1].to))
	k.Sport = b.sport[0].from
	if usual := b.sport.and(ephemeral); len(usual) > 0 {
		k.Sport = usual[0].from
	}
	return k
}

// plain is an address of a set, of the world's a well-known public one if it is in there.
func plain(a addrs) netip.Addr {
	for _, known := range []string{"8.8.8.8", "2001:4860:4860::8888"} {
		if known := netip.MustParseAddr(known); a.has(numOf(known)) {
			return known
		}
	}
	return a[0].from.addr()
}

// Names are everybody that can be asked about: machines in name order, networks of the lab, and the world.
func (p *Proof) Names() []string {
	var out []string
	for i := range p.lab.Machines {
		out = append(out, p.lab.Machines[i].Name)
	}
	slices.Sort(out)
	return append(out, "world")
}

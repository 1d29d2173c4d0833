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
	nobody  addrs // broadcast and network addresses
	back    map[string][]returned
	standIn map[string]netip.Prefix
	broken  error // the policy could not be compiled
	gated   []lab.FilterRule
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

// Rulesets are what the proof was made from, by machine; they must not be changed.
func (p *Proof) Rulesets() map[string]nft.Ruleset { return p.sets }

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
		n.doors = n.mine
	}
	p.outside.doors = p.outside.local
	for _, w := range p.wires {
		w.stranger.doors = w.stranger.local
	}
	all := p.leads()
	for _, n := range p.nodes {
		for again := true; again; { // what leads to a door is a door
			again = false
			for _, l := range all {
				if n.doors.has(l.to) && len(l.from.minus(n.doors)) > 0 {
					n.doors, again = union(n.doors, l.from), true
				}
			}
		}
	}
}

// lead is addresses of a router, some ports of which lead to another address.
type lead struct {
	from addrs
	to   num
}

func (p *Proof) leads() []lead {
	var out []lead
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
				out = append(out, lead{from, numOf(r.To.Addr())})
			}
		}
	}
	return out
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
	near, dst := dst.and(links), dst.minus(special).minus(n.local)
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
			for _, b := range w.packets(links.minus(wire.owned), near.and(wire.owned), true) {
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

// Names are everybody that can be asked about: machines in name order, networks of the lab, and the world.
func (p *Proof) Names() []string {
	var out []string
	for i := range p.lab.Machines {
		out = append(out, p.lab.Machines[i].Name)
	}
	slices.Sort(out)
	return append(out, "world")
}

package reach

import (
	"net/netip"
	"slices"

	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/lab"
)

// node is whoever sends and takes packets: a machine, the world, or the strangers on a network.
type node struct {
	name     string
	world    bool // everything outside
	stranger bool // hosts on a network that the lab does not know, e.g. those with an address by DHCP
	forwards bool
	ifaces   []iface
	local    addrs // its own addresses, link-local ones apart
	links    addrs // its link-local addresses
	mine     addrs // both
	routes   []route
	filter   *filter
	gates    *filter // what its host filters at its interfaces
	doors    addrs   // by which it may be reached: its own addresses, and those of routers that translate to it
}

type iface struct {
	network string
	addr    [2]netip.Addr // IPv4, IPv6; those of an uplink without CIDR stand for what the target gives
	link    netip.Addr
}

// route is an entry of a routing table, networks the node is on included.
type route struct {
	to   addrs
	bits int // of the prefix: the longest decides
	net  string
	via  netip.Addr // invalid: the destination is on the network itself
}

// wire is a network.
type wire struct {
	network  lab.Network
	prefix   [2]addrs
	nodes    []*node // with an interface on it, sorted by name
	owner    map[num]*node
	owned    addrs
	stranger *node // the world, on an uplink
	useless  addrs // broadcast and network addresses
}

// standIns are documentation networks (RFC 5737): an uplink without CIDR gets one of them in the proof. Which one
// does not matter, since labctl's targets give uplinks a network that overlaps none of the lab's.
var standIns = []netip.Prefix{
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("198.18.0.0/16"),
}

// build makes nodes and wires of a lab.
func (p *Proof) build(rulesets map[string]nft.Ruleset) {
	p.nodes, p.wires = map[string]*node{}, map[string]*wire{}
	p.outside = &node{name: "world", world: true}
	for _, n := range p.lab.Networks {
		w := &wire{network: n, owner: map[num]*node{}, stranger: &node{name: n.Name, stranger: true}}
		if n.Uplink {
			w.stranger = p.outside
			p.outside.ifaces = append(p.outside.ifaces, iface{network: n.Name})
		} else {
			w.stranger.ifaces = []iface{{network: n.Name}}
		}
		for i, v6 := range []bool{false, true} {
			if prefix, ok := p.prefix(n, v6); ok {
				w.prefix[i] = prefixes(prefix)
				if !v6 {
					w.useless = union(one(prefix.Masked().Addr()), one(lab.Broadcast(prefix)))
				} else {
					w.useless = union(w.useless, one(prefix.Masked().Addr()))
				}
			}
		}
		p.wires[n.Name] = w
	}
	for i := range p.lab.Machines {
		p.machine(&p.lab.Machines[i], rulesets)
	}
	p.inside = p.landed()
	for _, w := range p.wires {
		w.stranger.local = union(w.stranger.local, union(w.prefix[0], w.prefix[1]).minus(w.owned).minus(w.useless))
	}
	p.outside.local = union(all4, all6).minus(p.inside).minus(special)
	for _, w := range p.wires {
		p.nobody = union(p.nobody, w.useless)
	}
	p.outside.local = p.outside.local.minus(p.nobody)
	for i := range p.lab.Machines {
		p.routes(p.nodes[p.lab.Machines[i].Name])
	}
	p.returns()
}

// landed are the addresses of the lab's own networks and machines, those that stand for what an uplink gives included.
// Rules do not know these and take them for the world.
func (p *Proof) landed() addrs {
	var out []addrs
	for _, w := range p.wires {
		if !w.network.Uplink {
			out = append(out, w.prefix[0], w.prefix[1])
		} else {
			out = append(out, w.owned.minus(links))
		}
	}
	return union(out...)
}

// prefix is the network's prefix, or what stands for it.
func (p *Proof) prefix(n lab.Network, v6 bool) (netip.Prefix, bool) {
	if got, ok := n.Prefix(v6); ok {
		return got, true
	}
	if !n.Uplink || n.CIDR.IsValid() || v6 {
		return netip.Prefix{}, false
	}
	got, ok := p.standIn[n.Name]
	if !ok {
		for _, s := range standIns {
			if !slices.ContainsFunc(p.lab.Networks, func(o lab.Network) bool { return o.CIDR.Overlaps(s) || p.standIn[o.Name].Overlaps(s) }) {
				got = s
				break
			}
		}
		p.standIn[n.Name] = got
	}
	return got, got.IsValid()
}

func (p *Proof) machine(m *lab.Machine, rulesets map[string]nft.Ruleset) {
	n := &node{name: m.Name, forwards: m.Router}
	if r, ok := rulesets[m.Name]; ok {
		n.filter = newFilter(r)
	}
	for _, nic := range m.NICs {
		w := p.wires[nic.Network]
		if w == nil {
			continue
		}
		i := iface{network: nic.Network, link: lab.LinkLocal(nic.MAC)}
		for f, v6 := range []bool{false, true} {
			a, ok := nic.Address(v6)
			if !ok && !v6 && !w.network.CIDR.IsValid() && len(w.prefix[0]) > 0 {
				a, ok = p.lease(w), true
			}
			if !ok {
				continue
			}
			i.addr[f] = a
			n.local = union(n.local, one(a))
			w.owner[numOf(a)], w.owned = n, union(w.owned, one(a))
		}
		if i.link.IsValid() {
			n.links = union(n.links, one(i.link))
			w.owner[numOf(i.link)], w.owned = n, union(w.owned, one(i.link))
		}
		n.ifaces = append(n.ifaces, i)
		w.nodes = append(w.nodes, n)
	}
	n.mine = union(n.local, n.links)
	p.nodes[m.Name] = n
}

// lease is the next address of an uplink without CIDR.
func (p *Proof) lease(w *wire) netip.Addr {
	a := w.prefix[0][0].from
	a.lo += 10
	for w.owned.has(a) {
		a = a.next()
	}
	return a.addr()
}

// gateway is the address of an uplink's own way out.
func (p *Proof) gateway(network string, v6 bool) netip.Addr {
	prefix, ok := p.prefix(p.wires[network].network, v6)
	if !ok {
		return netip.Addr{}
	}
	return lab.Gateway(prefix)
}

func (p *Proof) routes(n *node) {
	for _, i := range n.ifaces {
		w := p.wires[i.network]
		for f, v6 := range []bool{false, true} {
			if prefix, ok := p.prefix(w.network, v6); ok && i.addr[f].IsValid() {
				n.routes = append(n.routes, route{to: prefixes(prefix), bits: prefix.Bits(), net: i.network})
			}
		}
	}
	for _, r := range p.ways.Routes(n.name) {
		via := r.Via
		if !via.IsValid() {
			via = p.gateway(r.Network, r.To.Addr().Is6())
		}
		n.routes = append(n.routes, route{to: prefixes(r.To).and(universe(r.To.Addr().Is6())), bits: r.To.Bits(), net: r.Network, via: via})
	}
	slices.SortStableFunc(n.routes, func(a, b route) int { return b.bits - a.bits })
}

// on is the node's interface on a network.
func (n *node) on(network string) iface {
	for _, i := range n.ifaces {
		if i.network == network {
			return i
		}
	}
	return iface{}
}

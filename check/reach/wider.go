package reach

import (
	"slices"

	"github.com/labctl-dev/labctl/check"
	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/lab"
)

// wider finds rules of a host's filter that let something from elsewhere onto a network that no router of it would let
// through, to it or from it: what the routers' rules stop, that filter is to stop, too. What comes from the network itself
// is left out, as on a wire, and so is labctl's own way in.
func (p *Proof) wider(network string, filter lab.Filter) []check.Finding {
	var out []check.Finding
	w := p.wires[network]
	if w == nil || len(w.prefix[0]) == 0 || len(w.nodes) == 0 {
		return nil
	}
	far := all4.minus(special).minus(w.prefix[0]).minus(prefixes(slices.Concat(filter.Admin, nft.Admin(p.lab, w.network, false))...))
	for _, n := range w.nodes {
		if n.forwards { // nobody else sends from its addresses
			far = far.minus(n.local)
		}
	}
	let := p.letOnto(network, far)
	anywhere := slices.DeleteFunc(slices.SortedFunc(slices.Values(filter.Rules), lab.FilterRule.Before), func(r lab.FilterRule) bool { return r.Deny && len(r.Machines) > 0 })
	for i := range anywhere { // what one machine's interface lets in is on the network
		anywhere[i].Machines = nil
	}
	for _, c := range gate("", network, anywhere) {
		if c.Hook != nft.Early {
			continue
		}
		made := newFilter(nft.Ruleset{Chains: []nft.Chain{c}})
		told := map[string]bool{}
		for _, b := range opening(far) {
			for _, o := range made.chains[nft.Early][0].ask(b, moment{in: network, state: nft.New}) {
				rest := []box{o.box}
				if o.action != nft.Accept || o.rule == nil || told[o.rule.Origin.Name] {
					continue
				}
				for _, x := range let {
					rest = subtract(rest, x)
				}
				if len(rest) > 0 {
					told[o.rule.Origin.Name] = true
					out = append(out, finding(check.Warning, "networks."+network, "%s lets %s onto %s, which no router on it would let through",
						o.rule.Origin.Name, sample(rest[0]), network))
				}
			}
		}
	}
	return out
}

func subtract(from []box, b box) []box {
	var out []box
	for _, x := range from {
		out = append(out, x.minus(b)...)
	}
	return out
}

// opening is what opens connections over IPv4 from src to anybody: see walker.packets.
func opening(src addrs) []box {
	w := &walker{proto: values{{0, 255}}}
	return w.packets(src, all4.minus(special), false)
}

// letOnto are the packets of IPv4 from far that some router on a network would let through: that come over it for the
// router or to be passed on, and that the router passes on to it.
func (p *Proof) letOnto(network string, far addrs) []box {
	var out []box
	for _, n := range p.wires[network].nodes {
		if !n.forwards {
			continue
		}
		from := p.over(n.name, network).and(far)
		for _, b := range opening(from) {
			out = append(out, n.lets(network, network, b)...)
		}
		for _, i := range n.ifaces {
			if i.network == network {
				continue
			}
			for _, b := range opening(p.over(n.name, i.network).and(far)) {
				out = append(out, n.lets(i.network, network, b)...)
			}
		}
	}
	return out
}

// over are the addresses that a router reaches over one of its networks.
func (p *Proof) over(router, network string) addrs {
	names, world := p.ways.Beyond(router, network, false)
	var out, all addrs
	for _, n := range p.lab.Networks {
		of := p.wires[n.Name].prefix[0]
		all = union(all, of)
		if slices.Contains(names, n.Name) {
			out = union(out, of)
		}
	}
	if world {
		out = union(out, all4.minus(all))
	}
	return out
}

// lets is what of packets that come over a network this router lets through, as they are on the network on: on is that
// one itself for all that it takes or passes on, or another for what it passes on to that.
func (n *node) lets(in, on string, b box) []box {
	var out []box
	here := in == on
	for _, e := range n.filter.through(nft.Early, moment{in: in, state: nft.New, local: n.local}, b) {
		for _, o := range n.filter.ask(nft.Arrive, moment{in: in, state: nft.New, local: n.local}, e) {
			now, m := o.box, moment{in: in, state: nft.New, local: n.local}
			if o.action == nft.DNAT {
				if here { // one that is translated comes for the port that is published
					out = append(out, o.box)
					continue
				}
				now.dst, now.dport, m.dnated = one(o.rule.To.Addr()), only(o.rule.To.Port()), true
			}
			out = append(out, n.passes(m, on, now, here)...)
		}
	}
	return out
}

// passes is what of packets a router takes (if they are asked for) or passes on.
func (n *node) passes(m moment, on string, b box, here bool) []box {
	var out []box
	own := b
	if own.dst = b.dst.and(n.local); here && !own.empty() {
		out = append(out, n.filter.through(nft.Input, m, own)...)
	}
	if here { // what it passes on to where it is itself is as if it were for somebody else there
		b.dst = b.dst.minus(n.local)
	}
	for _, part := range n.split(b) {
		if part.net == "" || part.box.empty() || here == (part.net == on) {
			continue
		}
		m.out = part.net
		for _, x := range n.filter.through(nft.Forward, m, part.box) {
			if here {
				out = append(out, x)
				continue
			}
			for _, o := range n.filter.ask(nft.Leave, m, x) {
				if o.action != nft.Masquerade { // else it comes from the router
					out = append(out, o.box)
				}
			}
		}
	}
	return out
}

// ask runs packets through all chains of a hook; nobody's filter lets everything through.
func (f *filter) ask(hook nft.Hook, m moment, b box) []outcome {
	return (&node{filter: f, local: m.local}).ask(hook, m, b)
}

// through is what of packets a hook accepts.
func (f *filter) through(hook nft.Hook, m moment, b box) []box {
	var out []box
	for _, o := range f.ask(hook, m, b) {
		if o.action == nft.Accept {
			out = append(out, o.box)
		}
	}
	return out
}

package nft

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/labctl-dev/labctl/lab"
)

// door is one published port in one family, on one network of its router.
type door struct {
	router  string
	publish lab.Publish
	v6      bool
	network string     // where it is offered
	addr    netip.Addr // of the router there; invalid where it is not known
	target  netip.Addr // of the machine
	hops    []lab.Hop  // from the router to the machine, the router not among them
	src     []Addrs    // who may come, as routers after this one see them
}

// publish resolves the published ports of all routers.
func (c *compiler) publish() error {
	for i := range c.lab.Machines {
		m := c.lab.Machines[i]
		if m.Routing == nil {
			continue
		}
		for _, p := range m.Routing.Publish {
			if _, ok := c.lab.Machine(p.Machine); !ok {
				return fmt.Errorf("%s: there is no machine called %q", p.Path, p.Machine)
			}
			for _, nic := range m.NICs {
				n, _ := c.lab.Network(nic.Network)
				if p.Network == n.Name || p.Network == "" && n.Uplink {
					c.door(m, p, nic, false)
					c.door(m, p, nic, true)
				}
			}
		}
	}
	return nil
}

func (c *compiler) door(m lab.Machine, p lab.Publish, nic lab.NIC, v6 bool) {
	d := door{router: m.Name, publish: p, v6: v6, network: nic.Network}
	d.addr, _ = nic.Address(v6)
	n, _ := c.lab.Network(nic.Network)
	if !d.addr.IsValid() && (v6 || n.CIDR.IsValid()) {
		return
	}
	exit, ok := "", false
	target, _ := c.lab.Machine(p.Machine)
	if d.target, exit, d.hops, ok = c.nearest(m, target, v6); !ok {
		return
	}
	d.src = []Addrs{c.side(m.Name, nic.Network, v6)}
	if d.src[0].Not && len(d.src[0].Prefixes) == 0 {
		d.src[0] = Addrs{}
	}
	if masquerades(m, exit, v6) {
		out, _ := m.NIC(exit)
		a, _ := out.Address(v6)
		d.src = []Addrs{{Prefixes: []netip.Prefix{Single(a)}}}
	}
	c.doors = append(c.doors, d)
}

// nearest is the address of a machine that a router reaches over the fewest others, the interface it leaves by, and
// the routers after it.
func (c *compiler) nearest(m, target lab.Machine, v6 bool) (addr netip.Addr, exit string, hops []lab.Hop, ok bool) {
	for _, to := range target.NICs {
		a, has := to.Address(v6)
		if !has {
			continue
		}
		if target.Name == m.Name {
			return a, to.Network, nil, true
		}
		for _, from := range m.NICs {
			if n, _ := c.lab.Network(from.Network); n.Uplink && from.Network != to.Network {
				continue
			}
			way, has := c.path(from.Network, to.Network, v6)
			if !has || slices.ContainsFunc(way, func(h lab.Hop) bool { return h.Router == m.Name }) {
				continue
			}
			if !ok || len(way) < len(hops) {
				addr, exit, hops, ok = a, from.Network, way, true
			}
		}
	}
	return addr, exit, hops, ok
}

// arrive translates published ports.
func (c *compiler) arrive(m lab.Machine) Chain {
	chain := Chain{Name: "arrive", Hook: Arrive, NAT: true}
	for _, d := range c.doors {
		if d.router != m.Name {
			continue
		}
		match := Match{In: []string{d.network}, V6: d.v6, Proto: d.publish.Proto, Dport: []Ports{{d.publish.Port, d.publish.Port}}}
		if d.addr.IsValid() {
			match.Dst = Addrs{Prefixes: []netip.Prefix{Single(d.addr)}}
		} else {
			match.Local, match.Family = true, true
		}
		chain.Rules = append(chain.Rules, Rule{Match: match, Action: DNAT, To: netip.AddrPortFrom(d.target, d.publish.To), Origin: d.origin()})
	}
	return chain
}

func (d door) origin() Origin {
	return Origin{Kind: FromPublish, Name: fmt.Sprintf("%s/%d of %s to %s:%d", d.publish.Proto, d.publish.Port, d.router, d.publish.Machine, d.publish.To), Path: d.publish.Path}
}

// published lets published flows through m, or with input in to it.
func (c *compiler) published(m lab.Machine, input bool) []Rule {
	var out []Rule
	for _, d := range c.doors {
		match := Match{V6: d.v6, Proto: d.publish.Proto, Dport: []Ports{{d.publish.To, d.publish.To}},
			Dst: Addrs{Prefixes: []netip.Prefix{Single(d.target)}}}
		rule := Rule{Match: match, Log: d.publish.Log, Action: Accept, Origin: d.origin()}
		target := d.publish.Machine == m.Name
		switch {
		case target != input:
		case d.router == m.Name:
			rule.Match.In = []string{d.network}
			// A translation that changes nothing leaves no mark on the connection.
			rule.Match.DNATed = netip.AddrPortFrom(d.addr, d.publish.Port) != netip.AddrPortFrom(d.target, d.publish.To)
			out = append(out, rule)
		case target || slices.ContainsFunc(d.hops, func(h lab.Hop) bool { return h.Router == m.Name }):
			for _, src := range c.seen(d, m) {
				rule.Match.Src = src
				out = append(out, rule)
			}
		}
	}
	return out
}

// seen is who comes through a door as m sees them: themselves, or the last router before m that hides them.
func (c *compiler) seen(d door, m lab.Machine) []Addrs {
	before := d.hops
	for i, h := range d.hops {
		if h.Router == m.Name {
			before = d.hops[:i]
		}
	}
	if a, ok := c.mask(before, d.v6); ok {
		return []Addrs{{Prefixes: []netip.Prefix{Single(a)}}}
	}
	return d.src
}

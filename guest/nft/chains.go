package nft

import (
	"net/netip"
	"slices"

	"github.com/labctl-dev/labctl/lab"
)

var (
	linkLocal   = netip.MustParsePrefix("fe80::/10")
	everything  = [2]netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	unspecified = [2]netip.Prefix{netip.MustParsePrefix("0.0.0.0/32"), netip.MustParsePrefix("::/128")}
)

// early drops what cannot come from where it comes: addresses that are beyond another interface, and the router's own.
func (c *compiler) early(m lab.Machine) Chain {
	chain := Chain{Name: "spoof", Hook: Early}
	resolver := c.lab.Resolver()
	for i, v6 := range []bool{false, true} {
		var nets []string
		var own []netip.Prefix
		for _, nic := range m.NICs {
			nets = append(nets, nic.Network)
			if a, ok := nic.Address(v6); ok {
				own = append(own, Single(a))
			}
		}
		if len(own) > 0 {
			chain.Rules = append(chain.Rules, Rule{
				Match:  Match{In: nets, V6: v6, Src: Addrs{Prefixes: normal(own)}},
				Action: Drop, Origin: Origin{Kind: AntiSpoof, Name: "the router's own address"},
			})
		}
		for _, n := range nets {
			s := c.side(m.Name, n, v6)
			match := Match{In: []string{n}, V6: v6}
			switch {
			case s.Not && len(s.Prefixes) == 0: // everything may come from there
				continue
			case s.Not:
				match.Src = Addrs{Prefixes: s.Prefixes}
			default:
				if v6 { // neighbour discovery
					s.Prefixes = append(s.Prefixes, linkLocal, unspecified[i])
				} else if net, _ := c.lab.Network(n); m.ServesInstalls(net) || m.Routing != nil && slices.Contains(m.Routing.DHCP, n) {
					s.Prefixes = append(s.Prefixes, unspecified[i])
				}
				if resolver.IsValid() && resolver.Is6() == v6 { // which answers on every network
					s.Prefixes = append(s.Prefixes, Single(resolver))
				}
				match.Src = Addrs{Not: true, Prefixes: normal(s.Prefixes)}
				match.Family = len(s.Prefixes) == 0
			}
			chain.Rules = append(chain.Rules, Rule{Match: match, Action: Drop, Origin: Origin{Kind: AntiSpoof, Name: "not from " + n}})
		}
	}
	return chain
}

// leave hides what comes from beyond the other interfaces behind the router's own address.
func (c *compiler) leave(m lab.Machine) Chain {
	chain := Chain{Name: "leave", Hook: Leave, NAT: true}
	for _, v6 := range []bool{false, true} {
		for _, nic := range m.NICs {
			if !masquerades(m, nic.Network, v6) {
				continue
			}
			s := c.side(m.Name, nic.Network, v6)
			if s.Not {
				s.Not = false
			} else {
				s.Not = true
				if v6 {
					s.Prefixes = normal(append(s.Prefixes, linkLocal))
				}
			}
			if len(s.Prefixes) == 0 {
				continue
			}
			chain.Rules = append(chain.Rules, Rule{
				Match:  Match{Out: []string{nic.Network}, V6: v6, Src: s},
				Action: Masquerade, Origin: Origin{Kind: FromNAT, Name: "masquerade on " + nic.Network, Path: "routers." + m.Name + "." + masqueradeField(v6)},
			})
		}
	}
	return chain
}

func masqueradeField(v6 bool) string {
	if v6 {
		return "masquerade6"
	}
	return "masquerade"
}

// input is who may open what on the machine itself.
func (c *compiler) input(m lab.Machine) Chain {
	rules := append(connections(), Rule{
		Match: Match{In: []string{Loopback}}, Action: Accept, Origin: Origin{Kind: Housekeeping, Name: "loopback"},
	}, Rule{ // multicast listeners and neighbours (RFC 4890, 4.4.1)
		Match:  Match{V6: true, Proto: lab.ICMP, Dport: []Ports{{130, 132}, {135, 136}, {143, 143}}},
		Action: Accept, Origin: Origin{Kind: Housekeeping, Name: "neighbour discovery"},
	}, Rule{ // solicitations and advertisements (the same)
		Match:  Match{V6: true, Proto: lab.ICMP, Dport: []Ports{{133, 134}}},
		Action: Accept, Origin: Origin{Kind: Housekeeping, Name: "router advertisements"},
	})
	rules = append(rules, c.admin(m)...)
	rules = append(rules, c.serves(m)...)
	for _, f := range c.rules {
		rules = append(rules, c.flow(f, m, true)...)
	}
	rules = append(rules, c.published(m, true)...)
	return Chain{Name: "input", Hook: Input, Drop: true, Rules: append(rules, last("to the machine itself"))}
}

// AdminName and AdminPath are the name and the path of the rules that let labctl in.
const (
	AdminName = "labctl's own way in"
	AdminPath = "implied.admin"
)

// Admin is from where labctl comes in over the interface on a network, in one family.
func Admin(l lab.Lab, n lab.Network, v6 bool) []netip.Prefix {
	var out []netip.Prefix
	if l.Implied != nil && len(l.Implied.Admin) > 0 {
		for _, p := range l.Implied.Admin {
			if p.Addr().Is6() == v6 {
				out = append(out, p)
			}
		}
		return normal(out)
	}
	for _, a := range l.Doors(n) {
		if a.Is6() == v6 {
			out = append(out, Single(a))
		}
	}
	return normal(out)
}

// admin lets labctl in.
func (c *compiler) admin(m lab.Machine) []Rule {
	var out []Rule
	for _, nic := range m.NICs {
		n, _ := c.lab.Network(nic.Network)
		for _, v6 := range []bool{false, true} {
			if from := Admin(c.lab, n, v6); len(from) > 0 {
				out = append(out, Rule{
					Match:  Match{In: []string{n.Name}, V6: v6, Src: Addrs{Prefixes: from}, Proto: lab.TCP, Dport: []Ports{{22, 22}}},
					Action: Accept, Origin: Origin{Kind: Implied, Name: AdminName, Path: AdminPath},
				})
			}
		}
	}
	return out
}

// What addresses are got by.
const (
	uplinkAddress = "an address from the uplink"
	givenAddress  = "an address by DHCP"
	givesV4       = "DHCP"
	givesV6       = "DHCPv6"
)

// serves lets in what a router answers itself, and what any machine needs where its addresses are given.
func (c *compiler) serves(m lab.Machine) []Rule {
	var out []Rule
	add := func(name, path string, match Match) {
		out = append(out, Rule{Match: match, Action: Accept, Origin: Origin{Kind: Implied, Name: name, Path: path}})
	}
	if r, at := m.Routing, "routers."+m.Name+"."; r != nil {
		if len(r.DNS) > 0 {
			add("name service", at+"dns", Match{In: r.DNS, Proto: lab.UDP, Dport: []Ports{{53, 53}}})
			add("name service", at+"dns", Match{In: r.DNS, Proto: lab.TCP, Dport: []Ports{{53, 53}}})
		}
		if len(r.NTP) > 0 {
			add("time", at+"ntp", Match{In: r.NTP, Proto: lab.UDP, Dport: []Ports{{123, 123}}})
		}
		if len(r.DHCP) > 0 {
			add(givesV4, at+"dhcp", Match{In: r.DHCP, Family: true, Proto: lab.UDP, Sport: []Ports{{68, 68}}, Dport: []Ports{{67, 67}}})
			add(givesV6, at+"dhcp", Match{In: r.DHCP, V6: true, Src: Addrs{Prefixes: []netip.Prefix{linkLocal}}, Proto: lab.UDP, Dport: []Ports{{547, 547}}})
		}
	}
	for _, r := range m.Roles {
		var on []string
		for _, nic := range m.NICs {
			if n, ok := c.lab.Network(nic.Network); ok && r.Installs && m.ServesInstalls(n) {
				on = append(on, n.Name)
			}
		}
		if len(on) > 0 { // who asks for an address has none that a policy could name
			add(givesV4, m.Path("roles", r.Name), Match{In: on, Family: true, Proto: lab.UDP, Sport: []Ports{{68, 68}}, Dport: []Ports{{67, 67}}})
			add(givesV6, m.Path("roles", r.Name), Match{In: on, V6: true, Src: Addrs{Prefixes: []netip.Prefix{linkLocal}}, Proto: lab.UDP, Dport: []Ports{{547, 547}}})
		}
	}
	for _, nic := range m.NICs {
		n, _ := c.lab.Network(nic.Network)
		in, from, path := []string{nic.Network}, "", "networks."+nic.Network
		switch {
		case n.Uplink && !n.CIDR.IsValid():
			from = uplinkAddress
		case n.Assign == lab.DHCP && !m.Router:
			from = givenAddress
		default:
			continue
		}
		add(from, path, Match{In: in, Family: true, Proto: lab.UDP, Sport: []Ports{{67, 67}}, Dport: []Ports{{68, 68}}})
		add(from, path, Match{In: in, V6: true, Src: Addrs{Prefixes: []netip.Prefix{linkLocal}}, Proto: lab.UDP, Dport: []Ports{{546, 546}}})
	}
	return out
}

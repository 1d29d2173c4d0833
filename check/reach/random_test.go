package reach

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/labctl-dev/labctl/lab"
)

// random makes a lab of a seed: routers in a tree, now and then with a loop; networks of one family or both, of many
// sizes, with addresses written down, given or made by the machines themselves; uplinks that know the way back and
// others; translation, ports published through one router or two; hosts with two legs, host firewalls, services that
// routers and machines give, and a policy of everything that a policy may say.
func random(seed uint64) lab.Lab {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 3))}
	g.l = lab.Lab{Name: "x", Domain: "x.lab"}
	g.uplinks()
	g.routers()
	g.hosts()
	g.l = lab.Arrange(g.l)
	g.nat()
	g.policy()
	return g.l
}

type generator struct {
	*rand.Rand
	l     lab.Lab
	inner []string
	outer []string
}

func (g *generator) chance(percent int) bool { return g.IntN(100) < percent }

func (g *generator) uplinks() {
	for i := range []int{1, 1, 1, 2, 0}[g.IntN(5)] {
		n := lab.Network{Name: fmt.Sprintf("up%d", i), Uplink: true, MTU: 1500, Routed: g.chance(40)}
		switch g.IntN(9) {
		case 0, 1: // the target gives addresses
		case 2, 3:
			n.CIDR = netip.MustParsePrefix(fmt.Sprintf("172.31.%d.0/24", i))
		case 4:
			n.CIDR = netip.MustParsePrefix(fmt.Sprintf("fd99:%d::/64", i))
		default:
			n.CIDR = netip.MustParsePrefix(fmt.Sprintf("172.31.%d.0/24", i))
			n.CIDR6 = netip.MustParsePrefix(fmt.Sprintf("fd99:%d::/64", i))
		}
		g.l.Networks = append(g.l.Networks, n)
		g.outer = append(g.outer, n.Name)
	}
}

func (g *generator) network() string {
	i := len(g.inner)
	n := lab.Network{Name: fmt.Sprintf("n%d", i), MTU: 1500}
	four := netip.MustParsePrefix(fmt.Sprintf("10.%d.0.0/%d", i, pick(g, []int{24, 24, 24, 27, 16, 22})))
	six := netip.MustParsePrefix(fmt.Sprintf("fd00:%d::/%d", i, pick(g, []int{64, 64, 64, 112, 56})))
	switch g.IntN(5) {
	case 0:
		n.CIDR = four
	case 1:
		n.CIDR = six
	default:
		n.CIDR, n.CIDR6 = four, six
	}
	switch g.IntN(6) {
	case 0, 1:
		n.Assign = lab.SLAAC
	case 2:
		n.Assign = lab.DHCP
	}
	g.l.Networks = append(g.l.Networks, n)
	g.inner = append(g.inner, n.Name)
	return n.Name
}

func pick[T any](g *generator, all []T) T { return all[g.IntN(len(all))] }

func (g *generator) routers() {
	g.network()
	for i := range 2 + g.IntN(3) {
		on := []string{}
		switch {
		case i == 0 && len(g.outer) > 0:
			on = append(on, g.outer[0], g.inner[0])
		case len(g.outer) > 0 && g.chance(20):
			on = append(on, pick(g, g.outer))
		default:
			on = append(on, pick(g, g.inner))
		}
		for range 1 + g.IntN(2) {
			on = append(on, g.network())
		}
		if i > 0 && g.chance(15) { // a loop
			on = append(on, pick(g, g.inner))
		}
		g.machine(fmt.Sprintf("r%d", i), on, true)
	}
}

func (g *generator) machine(name string, on []string, router bool) {
	m := lab.Machine{Name: name, Router: router}
	if router {
		m.Routing = &lab.Routing{}
	}
	seen := map[string]bool{}
	for _, n := range on {
		if !seen[n] {
			m.NICs = append(m.NICs, lab.NIC{Network: n, Link: lab.Up})
		}
		seen[n] = true
	}
	g.l.Machines = append(g.l.Machines, m)
}

func (g *generator) hosts() {
	all := slices.Concat(g.inner, g.outer)
	for i := range 3 + g.IntN(4) {
		on := []string{pick(g, all)}
		if g.chance(30) {
			on = append(on, pick(g, all))
		}
		g.machine(fmt.Sprintf("h%d", i), on, false)
		m := &g.l.Machines[len(g.l.Machines)-1]
		m.Firewall = g.chance(30)
	}
	for i := range g.l.Machines {
		for _, group := range []string{"blue", "green"} {
			if g.chance(35) {
				g.l.Machines[i].Groups = append(g.l.Machines[i].Groups, group)
			}
		}
	}
}

func (g *generator) nat() {
	var names []string
	for _, m := range g.l.Machines {
		names = append(names, m.Name)
	}
	for i := range g.l.Machines {
		m := &g.l.Machines[i]
		if !m.Router {
			continue
		}
		for _, nic := range m.NICs {
			often := 12
			if slices.Contains(g.outer, nic.Network) {
				often = 60
			}
			if g.chance(often) {
				m.Routing.Masquerade = append(m.Routing.Masquerade, nic.Network)
			}
			if g.chance(often / 2) {
				m.Routing.Masquerade6 = append(m.Routing.Masquerade6, nic.Network)
			}
			if g.chance(often / 2) {
				m.Routing.Publish = append(m.Routing.Publish, lab.Publish{Network: nic.Network, Proto: pick(g, []lab.Proto{lab.TCP, lab.TCP, lab.UDP}),
					Port: pick(g, []uint16{80, 8080, 53}), Machine: pick(g, names), To: pick(g, []uint16{80, 22, 53}), Path: "routers." + m.Name + ".publish"})
			}
		}
		for _, nic := range m.NICs {
			for _, service := range []*[]string{&m.Routing.DNS, &m.Routing.DHCP, &m.Routing.NTP} {
				if g.chance(15) {
					*service = append(*service, nic.Network)
				}
			}
		}
	}
	if g.chance(30) {
		g.relay()
	}
	if g.chance(50) {
		g.l.Implied = &lab.Implied{DNS: []string{pick(g, names)}}
		if g.chance(30) {
			g.l.Implied.NTP = []string{pick(g, names), "any"}[:1+g.IntN(2)]
		}
		if g.chance(30) {
			g.l.Implied.Admin = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fe80::/10")}
		}
	}
}

// relay publishes a port through two routers: what the first leads to is a published port of the second.
func (g *generator) relay() {
	for i := range g.l.Machines {
		for j := range g.l.Machines {
			a, b := &g.l.Machines[i], &g.l.Machines[j]
			if i == j || !a.Router || !b.Router || !g.chance(50) {
				continue
			}
			for _, nic := range b.NICs {
				if _, ok := a.NIC(nic.Network); !ok || len(a.NICs) < 2 {
					continue
				}
				in := pick(g, a.NICs).Network
				to := pick(g, g.l.Machines).Name
				a.Routing.Publish = append(a.Routing.Publish, lab.Publish{Network: in, Proto: lab.TCP, Port: 8005, Machine: b.Name, To: 8080, Log: g.chance(20), Path: "routers." + a.Name + ".publish.relay"})
				b.Routing.Publish = append(b.Routing.Publish, lab.Publish{Network: nic.Network, Proto: lab.TCP, Port: 8080, Machine: to, To: 80, Path: "routers." + b.Name + ".publish.relay"})
				return
			}
		}
	}
}

func (g *generator) policy() {
	ends := []string{"world", "any", "blue", "green", "world"}
	groups := map[string]bool{}
	for _, m := range g.l.Machines {
		ends = append(ends, m.Name)
		for _, x := range m.Groups {
			groups[x] = true
		}
	}
	ends = append(append(ends, g.inner...), g.outer...)
	ends = slices.DeleteFunc(ends, func(s string) bool { return (s == "blue" || s == "green") && !groups[s] })
	some := func() []string {
		out := []string{pick(g, ends)}
		for g.chance(30) {
			out = append(out, pick(g, ends))
		}
		return out
	}
	for i := range 2 + g.IntN(5) {
		r := lab.Rule{Name: fmt.Sprintf("rule%d", i), From: some(), To: some(), Log: g.chance(10), Path: fmt.Sprintf("policy.%d", i)}
		for r.Allow == nil || g.chance(45) {
			s, err := lab.ParseService(pick(g, []string{"tcp/22", "tcp/80", "tcp/8000-8010", "udp/53", "icmp", "tcp", "udp", "any", "icmp", "tcp/22"}))
			if err != nil {
				panic(err)
			}
			r.Allow = append(r.Allow, s)
		}
		g.l.Policy = append(g.l.Policy, r)
	}
}

// TestRandom holds that the random labs have in them what labs can have, and connections that meet it.
func TestRandom(t *testing.T) {
	seen := map[string]int{}
	note := func(what string, yes bool) { seen[what] += rank(yes) }
	for seed := uint64(1); seed <= 120; seed++ {
		l := random(seed)
		for _, n := range l.Networks {
			note("routed uplink", n.Uplink && n.Routed)
			note("uplink by DHCP", n.Uplink && !n.CIDR.IsValid())
			note("IPv6 only", !n.Uplink && n.CIDR.Addr().Is6())
			note("both families", n.CIDR6.IsValid())
			note("SLAAC", n.Assign == lab.SLAAC)
			note("DHCP", n.Assign == lab.DHCP)
		}
		for _, m := range l.Machines {
			note("host with a firewall", m.Firewall)
			note("group", len(m.Groups) > 0)
			note("two legs", !m.Router && len(m.NICs) > 1)
		}
		for _, r := range l.Policy {
			note("log", r.Log)
		}
		p, err := Prove(l)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range l.Machines {
			for _, from := range p.Names() {
				all, _ := p.Query(from, m.Name, serviceOf("tcp"))
				for _, v := range all {
					dnats := 0
					for _, s := range v.Path {
						dnats += rank(strings.Contains(s.NAT, "to "))
					}
					note("open by a published port", v.Allowed && dnats == 1)
					note("open through two published ports", v.Allowed && dnats == 2)
					note("answer lost", v.Lost)
				}
			}
		}
	}
	for what, n := range seen {
		if n < 5 {
			t.Errorf("%s: only %d times", what, n)
		}
	}
	t.Log(seen)
}

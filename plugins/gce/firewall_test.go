package gce

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/labctl-dev/labctl/check/reach"
	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/schema"
)

// deployment loads a step of labs/deployment as it is on Compute Engine.
func deployment(t *testing.T, name string, tags ...string) lab.Lab {
	t.Helper()
	s, err := schema.Load(schema.Options{Args: []string{"../../labs/" + name + ".cue"}, Tags: tags, Target: "cloud"})
	if err != nil {
		t.Fatal(err)
	}
	l := s.Lab
	l.Target = "cloud"
	return l
}

// packet is one that opens a connection.
type packet struct {
	src, dst netip.Addr
	proto    lab.Proto
	port     uint16
}

// TestWallsAgree compares what a network's VPC rules decide about random packets from outside the network with what the
// rulesets of its routers decide, read by the words of package nft and nothing else: neither narrower nor wider.
func TestWallsAgree(t *testing.T) {
	for _, l := range []lab.Lab{deployment(t, "deploy3", "probe=true"), deployment(t, "deploy4")} {
		ways := lab.NewTopology(l)
		rules, err := walls(l, ways, admin(l))
		if err != nil {
			t.Fatal(err)
		}
		sets, err := nft.All(l)
		if err != nil {
			t.Fatal(err)
		}
		random := rand.New(rand.NewPCG(7, 7))
		allowed := 0
		for _, n := range l.Networks {
			for range 20000 {
				p := draw(random, l)
				if n.CIDR.Contains(p.src) || iap.Contains(p.src) {
					continue
				}
				vpc := through(rules, n.Name, p)
				router := slices.ContainsFunc(l.Machines, func(m lab.Machine) bool {
					_, on := m.NIC(n.Name)
					return on && m.Router && lets(gateway{l, ways, m, sets[m.Name], n.Name}, n, p)
				})
				if vpc != router {
					t.Fatalf("%s: network %s: %s %s to %s:%d: the VPC says %v, the routers %v", l.Name, n.Name, p.proto, p.src, p.dst, p.port, vpc, router)
				}
				if vpc {
					allowed++
				}
			}
		}
		if allowed < 100 {
			t.Errorf("only %d packets were let through: the draw is no test", allowed)
		}
	}
}

// draw is a packet of ends and ports that the lab knows, mostly.
func draw(r *rand.Rand, l lab.Lab) packet {
	end := func() netip.Addr {
		switch r.IntN(6) {
		case 0:
			return address(r.Uint32N(0xdfffffff))
		case 1:
			n := l.Networks[r.IntN(len(l.Networks))].CIDR
			s := spansOf(n)[0]
			return address(s.from + r.Uint32N(s.to-s.from+1))
		case 2:
			return netip.MustParseAddr("8.8.8.8")
		}
		m := l.Machines[r.IntN(len(l.Machines))]
		return m.NICs[r.IntN(len(m.NICs))].Addr
	}
	ports := []uint16{22, 25, 53, 80, 123, 443, 3000, 3306, 2222, 8080, uint16(1 + r.IntN(65535))}
	p := packet{end(), end(), []lab.Proto{lab.TCP, lab.UDP, lab.ICMP}[r.IntN(3)], ports[r.IntN(len(ports))]}
	if p.proto == lab.ICMP {
		p.port = 8 // an echo request
	}
	return p
}

// through says whether a network's VPC rules let a packet through.
func through(rules map[string]firewallAttrs, network string, p packet) bool {
	within := func(prefixes []string, a netip.Addr) bool {
		return slices.ContainsFunc(prefixes, func(x string) bool { return netip.MustParsePrefix(x).Contains(a) })
	}
	for _, r := range rules {
		if r.Network != network || !within(r.From, p.src) || len(r.To) > 0 && !within(r.To, p.dst) {
			continue
		}
		for _, s := range r.Allow {
			if s == "all" || s == "icmp" && p.proto == lab.ICMP {
				return true
			}
			if v, err := lab.ParseService(s); err == nil && v.Proto == p.proto && v.Proto != lab.ICMP && v.From <= p.port && p.port <= v.To {
				return true
			}
		}
	}
	return false
}

// lets says whether a router on network n lets a new connection through that comes from elsewhere over n, or that it
// forwards onto n.
func lets(g gateway, n lab.Network, p packet) bool {
	side := func(network string, a netip.Addr) bool {
		return len(g.beyond(network).and(spansOf(netip.PrefixFrom(a, 32)))) > 0
	}
	own := len(g.own().and(spansOf(netip.PrefixFrom(p.dst, 32)))) > 0
	if side(n.Name, p.src) { // it comes over n
		if verdict(g.set, nft.Early, n.Name, p, false) == nft.Drop {
			return false
		}
		if act := verdict(g.set, nft.Arrive, n.Name, p, false); act == nft.DNAT {
			return true
		}
		if own {
			return verdict(g.set, nft.Input, n.Name, p, false) == nft.Accept
		}
		return !n.CIDR.Contains(p.dst) && verdict(g.set, nft.Forward, n.Name, p, false) == nft.Accept
	}
	if !side(n.Name, p.dst) || g.machine.Routing != nil && slices.Contains(g.machine.Routing.Masquerade, n.Name) {
		return false
	}
	for _, nic := range g.machine.NICs { // it comes over another one
		if nic.Network == n.Name || !side(nic.Network, p.src) {
			continue
		}
		if verdict(g.set, nft.Forward, nic.Network, p, false) == nft.Accept || verdict(g.set, nft.Forward, nic.Network, p, true) == nft.Accept {
			return true
		}
	}
	return false
}

// verdict is what a chain decides about the first packet of a connection.
func verdict(set nft.Ruleset, hook nft.Hook, in string, p packet, dnated bool) nft.Action {
	for _, c := range set.Chains {
		if c.Hook != hook {
			continue
		}
		for _, r := range c.Rules {
			if !r.Origin.Chore() && matches(r.Match, in, p, dnated) {
				return r.Action
			}
		}
		if c.Drop {
			return nft.Drop
		}
	}
	return nft.Accept
}

func matches(m nft.Match, in string, p packet, dnated bool) bool {
	if len(m.In) > 0 && !slices.Contains(m.In, in) || m.DNATed && !dnated || m.Local {
		return false
	}
	if m.V6 && (m.Family || len(m.Src.Prefixes)+len(m.Dst.Prefixes) > 0 || m.Proto == lab.ICMP) {
		return false
	}
	if len(m.State) > 0 && !slices.Contains(m.State, nft.New) || m.Proto != "" && m.Proto != lab.Any && m.Proto != p.proto {
		return false
	}
	holds := func(a nft.Addrs, x netip.Addr) bool {
		if len(a.Prefixes) == 0 {
			return true
		}
		return a.Not != slices.ContainsFunc(a.Prefixes, func(q netip.Prefix) bool { return q.Contains(x) })
	}
	if !holds(m.Src, p.src) || !holds(m.Dst, p.dst) {
		return false
	}
	return len(m.Dport) == 0 || slices.ContainsFunc(m.Dport, func(q nft.Ports) bool { return q.From <= p.port && p.port <= q.To })
}

// TestWallsLetWhatIsProven follows every way that the proof knows between two machines, and asks the VPC rules of each
// network on it.
func TestWallsLetWhatIsProven(t *testing.T) {
	l := deployment(t, "deploy4")
	proof, err := reach.Prove(l)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := walls(l, lab.NewTopology(l), admin(l))
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	for _, from := range proof.Names() {
		for _, to := range proof.Names() {
			for _, s := range []string{"tcp/22", "tcp/80", "tcp/443", "udp/53", "tcp/3306", "tcp/3000", "udp/123", "tcp/25"} {
				service, _ := lab.ParseService(s)
				found, err := proof.Query(from, to, service)
				if err != nil {
					t.Fatal(err)
				}
				for _, v := range found {
					if v.Allowed && v.Usual && v.Packet.Src.Is4() && from != "world" {
						asked += walk(t, rules, l, v)
					}
				}
			}
		}
	}
	if asked < 100 {
		t.Errorf("only %d steps were asked about", asked)
	}
}

// walk asks the rules of each network that a packet crosses before anybody translates it.
func walk(t *testing.T, rules map[string]firewallAttrs, l lab.Lab, v reach.Verdict) int {
	t.Helper()
	n := 0
	for _, step := range v.Path {
		if step.Out == "" || step.NAT != "" {
			break
		}
		p := packet{v.Packet.Src, v.Packet.Dst, lab.Proto(v.Packet.Proto), v.Packet.Dport}
		if !through(rules, step.Out, p) {
			t.Errorf("%s to %s: %s is let through by the proof, and not by the VPC rules of %s", v.From, v.To, v.Packet, step.Out)
		}
		n++
	}
	return n
}

// TestBehindWalls: what the VPC rules are changes nothing about the proof; one that is narrower or wider is found by name.
func TestBehindWalls(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*lab.FilterRule)
		want   string
	}{
		{"", nil, ""},
		{"gce.firewall/internal/admin", func(r *lab.FilterRule) { r.Deny = true }, "jumpbox does not reach tcp/22 on"},
		{"gce.firewall/internal/admin", func(r *lab.FilterRule) { r.From = nil }, "gce.firewall/internal/admin lets"},
	} {
		l := deployment(t, "deploy3", "probe=true")
		p, err := open(provider.Options{Home: t.TempDir(), Target: "cloud", Values: map[string]any{"project": "lab-project", "zone": "europe-west1-b"}})
		if err != nil {
			t.Fatal(err)
		}
		f, err := p.Filter(l)
		if err != nil {
			t.Fatal(err)
		}
		for i := range f.Rules {
			if f.Rules[i].Name == c.name {
				c.change(&f.Rules[i])
			}
		}
		found, err := reach.VetBehind(f.Lab, f.Filter)
		if err != nil {
			t.Fatal(err)
		}
		if len(found) == 0 != (c.want == "") || c.want != "" && !strings.Contains(found[0].Text, c.want) {
			t.Errorf("%s, to say %q: %+v", c.name, c.want, found)
		}
	}
}

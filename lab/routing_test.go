package lab

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// routed is a lab of machines written "name: network network", routers first by a "*" before the name. Networks
// called up... are uplinks.
func routed(lines ...string) Lab {
	l := Lab{Name: "x"}
	seen := map[string]bool{}
	for _, line := range lines {
		name, on, _ := strings.Cut(line, ": ")
		m := Machine{Name: strings.TrimPrefix(name, "*"), Router: strings.HasPrefix(name, "*")}
		for _, n := range strings.Fields(on) {
			m.NICs = append(m.NICs, NIC{Network: n})
			if !seen[n] {
				i := len(l.Networks) + 1
				l.Networks = append(l.Networks, Network{Name: n, Uplink: strings.HasPrefix(n, "up"),
					CIDR: netip.MustParsePrefix(fmt.Sprintf("10.%d.0.0/24", i)), CIDR6: netip.MustParsePrefix(fmt.Sprintf("fd00:%d::/64", i))})
			}
			seen[n] = true
		}
		l.Machines = append(l.Machines, m)
	}
	return l
}

// show is a machine's IPv4 routes with names in place of addresses.
func show(l Lab, t *Topology, machine string) string {
	name := map[netip.Prefix]string{netip.MustParsePrefix("0.0.0.0/0"): "world"}
	for _, n := range l.Networks {
		name[n.CIDR] = n.Name
	}
	var out []string
	for _, r := range t.Routes(machine) {
		if !r.To.Addr().Is4() {
			continue
		}
		via := r.Router
		if via == "" {
			via = "gateway"
		}
		out = append(out, name[r.To]+" by "+via+" on "+r.Network)
	}
	return strings.Join(out, ", ")
}

func TestRoutes(t *testing.T) {
	chain := []string{"*r1: up a", "*r2: a b", "*r3: b c", "host: b", "end: c", "legs: a c", "out: up"}
	for _, tt := range []struct {
		lab  []string
		want map[string]string
	}{
		{chain, map[string]string{
			"r1":   "world by gateway on up, b by r2 on a, c by r2 on a",
			"r2":   "world by r1 on a, up by r1 on a, c by r3 on b",
			"host": "world by r2 on b, c by r3 on b",
			"end":  "world by r3 on c",
			"legs": "world by r1 on a, b by r2 on a",
			"out":  "world by gateway on up, a by r1 on up, b by r1 on up, c by r1 on up",
		}},
		{[]string{"*r1: a b", "*r2: b c", "host: a", "mid: b"}, map[string]string{ // no world
			"host": "b by r1 on a, c by r1 on a", "r1": "c by r2 on b", "mid": "a by r1 on b, c by r2 on b"}},
		{[]string{"*r1: up a", "*r2: up b", "host: a"}, map[string]string{ // no way between a and b over the uplink
			"host": "world by r1 on a", "r1": "world by gateway on up", "r2": "world by gateway on up"}},
		{[]string{"host: a", "web: a"}, map[string]string{"host": ""}},
		{[]string{"*r1: up1 up2 a", "two: up2 up1"}, map[string]string{"r1": "world by gateway on up1", "two": "world by gateway on up2, a by r1 on up1"}},
	} {
		l := Arrange(routed(tt.lab...))
		topology := NewTopology(l)
		for m, want := range tt.want {
			if got := show(l, topology, m); got != want {
				t.Errorf("%v: %s has\n %s, want\n %s", tt.lab, m, got, want)
			}
		}
	}
}

func TestPath(t *testing.T) {
	l := Arrange(routed("*r1: up a", "*r2: a b", "*r3: b c", "*r4: up d"))
	topology := NewTopology(l)
	for _, tt := range []struct{ from, to, want string }{
		{"c", "a", "r3 c-b, r2 b-a"}, {"c", "", "r3 c-b, r2 b-a, r1 a-up"}, {"up", "c", "r1 up-a, r2 a-b, r3 b-c"},
		{"a", "a", ""}, {"a", "d", "none"}, {"d", "up", "r4 d-up"},
	} {
		hops, ok := topology.Path(tt.from, tt.to, false)
		var got []string
		for _, h := range hops {
			got = append(got, h.Router+" "+h.In+"-"+h.Out)
		}
		if s := strings.Join(got, ", "); ok && s != tt.want || !ok && tt.want != "none" {
			t.Errorf("%s to %s: %s %v, want %s", tt.from, tt.to, s, ok, tt.want)
		}
	}
}

func TestBehind(t *testing.T) {
	for _, tt := range []struct {
		lab  []string
		want map[string]string
	}{
		{[]string{"*r1: up a", "*r2: a b", "end: b", "mid: a", "out: up", "alone: z"}, map[string]string{
			"r1": "", "r2": "r1", "end": "r1 r2", "mid": "r1", "out": "", "alone": "", "nobody": ""}},
		{[]string{"*r1: a b", "*r2: b c", "host: b"}, map[string]string{"r1": "", "r2": "", "host": "r1 r2"}}, // no world
		{[]string{"*r1: up a", "*r2: up a", "host: a"}, map[string]string{"r1": "", "host": "r1"}},            // two ways
	} {
		topology := NewTopology(Arrange(routed(tt.lab...)))
		for m, want := range tt.want {
			if got := strings.Join(topology.Behind(m), " "); got != want {
				t.Errorf("%v: %s is behind %q, want %q", tt.lab, m, got, want)
			}
		}
	}
}

func TestAmbiguities(t *testing.T) {
	for _, tt := range []struct {
		lab  []string
		want string
	}{
		{[]string{"*r1: up a", "*r2: a b"}, ""},
		{[]string{"*r1: a b", "*r2: a b"}, "loop of r1 r2"},
		{[]string{"*r1: up a", "*r2: a b", "*r3: b c", "*r4: c a"}, "loop of r2 r3 r4; r2 r4 on "},
		{[]string{"*r1: up a", "*r2: up a"}, "r1 r2 on a"},
		{[]string{"*r1: up a", "*r2: up b"}, ""},
		{[]string{"*r1: a b", "*r2: b c", "*r3: c a"}, "loop of r1 r2 r3"},
	} {
		var got []string
		for _, a := range NewTopology(Arrange(routed(tt.lab...))).Ambiguities() {
			if a.Loop {
				got = append(got, "loop of "+strings.Join(a.Routers, " "))
			} else {
				got = append(got, strings.Join(a.Routers, " ")+" on "+a.Network)
			}
		}
		s := strings.Join(got, "; ")
		if strings.Contains(tt.want, "; ") { // how a ring's ways are chosen is not held here
			tt.want, _, _ = strings.Cut(tt.want, "; ")
			s, _, _ = strings.Cut(s, "; ")
		}
		if s != tt.want {
			t.Errorf("%v: %q, want %q", tt.lab, s, tt.want)
		}
	}
}

// TestPathBesideUplink has a router that is on an uplink which another router brings nearer to the destination than
// the router's own way: the way must not lead over the uplink all the same.
func TestPathBesideUplink(t *testing.T) {
	l := Arrange(routed("*r1: up a", "*r2: a b", "*r4: b c", "*r5: c up e"))
	hops, ok := NewTopology(l).Path("e", "a", false)
	if got := fmt.Sprint(hops, ok); got != "[{r5 e c} {r4 c b} {r2 b a}] true" {
		t.Error(got)
	}
	if got := show(l, NewTopology(l), "r5"); got != "world by gateway on up, a by r4 on c, b by r4 on c" {
		t.Error(got)
	}
}

// TestArrange checks that gateways get the first address, given ones stay, and both families are filled in.
func TestArrange(t *testing.T) {
	l := routed("*r1: up a", "*r2: a b", "host: b")
	l.Machines[1].NICs[1] = NIC{Network: "b", Addr: netip.MustParseAddr("10.3.0.77"), Given: true}
	got := Arrange(l)
	nic := func(m, n string) NIC {
		x, _ := got.Machine(m)
		y, _ := x.NIC(n)
		return y
	}
	if a := nic("r1", "a"); a.Addr.String() != "10.2.0.1" || a.Addr6.String() != "fd00:2::1" {
		t.Errorf("the gateway of a has %s and %s", a.Addr, a.Addr6)
	}
	if a := nic("r2", "b"); a.Addr.String() != "10.3.0.77" || a.Addr6.String() != "fd00:3::1" {
		t.Errorf("the gateway of b has %s and %s", a.Addr, a.Addr6)
	}
	for _, m := range []string{"r2 a", "host b", "r1 up"} {
		name, network, _ := strings.Cut(m, " ")
		if a := nic(name, network); !a.Addr.IsValid() || !a.Addr6.IsValid() || a.Addr == Gateway(netip.PrefixFrom(a.Addr, 24)) {
			t.Errorf("%s on %s has %s and %s", name, network, a.Addr, a.Addr6)
		}
	}
	same := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	prefix := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
	if diff := cmp.Diff(got, Arrange(got), same, prefix); diff != "" {
		t.Errorf("arranging twice: %s", diff)
	}
	plain := labOn(on("10.0.0.0/24"), "web", "db")
	if diff := cmp.Diff(Complete(plain), Arrange(plain), same, prefix); diff != "" {
		t.Errorf("a lab without routers: %s", diff)
	}
}

func TestGateway(t *testing.T) {
	topology := NewTopology(Arrange(routed("*r1: up a", "*r2: a b", "host: c")))
	for network, want := range map[string]string{"a": "r1 10.2.0.1 true", "b": "r2 10.3.0.1 true", "c": " invalid IP false"} {
		r, a, ok := topology.Gateway(network, false)
		if got := fmt.Sprint(r, " ", a, " ", ok); got != want {
			t.Errorf("%s: %s, want %s", network, got, want)
		}
	}
}

func TestServices(t *testing.T) {
	for text, want := range map[string]string{
		"tcp/22": "tcp/22", "udp/8000-8010": "udp/8000-8010", "tcp": "tcp", "icmp": "icmp", "any": "any", "tcp/5-5": "tcp/5", "tcp/1-65535": "tcp/1-65535",
		"tcp/": "", "tcp/0": "", "tcp/70000": "", "tcp/9-8": "", "sctp/1": "", "icmp/8": "", "any/1": "", "": "", "tcp/22,80": "", "TCP/22": "",
	} {
		s, err := ParseService(text)
		if (err != nil) != (want == "") || err == nil && s.String() != want {
			t.Errorf("%q is %v, %v; want %q", text, s, err, want)
		}
		if err == nil {
			b, _ := json.Marshal(s)
			var back Service
			if err := json.Unmarshal(b, &back); err != nil || back != s {
				t.Errorf("%q in JSON is %s and comes back as %v, %v", text, b, back, err)
			}
		}
	}
}

func TestSelectors(t *testing.T) {
	l := routed("*r1: up a", "web: a", "db: a")
	l.Machines[1].Groups, l.Machines[2].Groups = []string{"servers"}, []string{"servers", "a"}
	e, unknown := l.Ends([]string{"servers", "web", "up", "world", "nobody"})
	want := Ends{Machines: []string{"db", "web"}, Networks: []string{"up"}, World: true}
	if diff := cmp.Diff(want, e); diff != "" || len(unknown) != 1 || unknown[0] != "nobody" {
		t.Errorf("%s unknown %v", diff, unknown)
	}
	if got := l.Ambiguous(); len(got) != 1 || got[0] != "a" {
		t.Errorf("ambiguous are %v", got)
	}
}

func TestLinkLocal(t *testing.T) {
	if got := LinkLocal("02:72:6d:ac:4b:fb").String(); got != "fe80::72:6dff:feac:4bfb" {
		t.Error(got)
	}
	if LinkLocal("nonsense").IsValid() || LinkLocal("02:72:6d:ac:4b:zz").IsValid() {
		t.Error("an address of no MAC")
	}
}

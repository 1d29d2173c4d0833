package qemu

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/qemu/netd"
	"github.com/labctl-dev/labctl/provider"
)

// routed is a lab with two routers on one uplink, one of them hiding nothing, and a third router behind the first.
func routed() lab.Lab {
	l := office()
	machine := func(name string, router *lab.Routing, nics ...string) lab.Machine {
		m := l.Machines[0]
		m.Name, m.Router, m.Routing, m.NICs = name, router != nil, router, nil
		for _, n := range nics {
			m.NICs = append(m.NICs, lab.NIC{Network: n, Link: lab.Up})
		}
		return m
	}
	prefix := netip.MustParsePrefix
	l.Networks = []lab.Network{
		{Name: "uplink", Uplink: true, CIDR: prefix("10.1.0.0/24"), CIDR6: prefix("fd01::/64"), MTU: 1500, Routed: true},
		{Name: "perimeter", CIDR: prefix("10.1.1.0/24"), CIDR6: prefix("fd01:0:0:1::/64"), MTU: 1500},
		{Name: "internal", CIDR: prefix("10.1.2.0/24"), CIDR6: prefix("fd01:0:0:2::/64"), MTU: 1500, Assign: lab.DHCP,
			DHCP: &lab.Range{From: netip.MustParseAddr("10.1.2.200"), To: netip.MustParseAddr("10.1.2.210")}},
		{Name: "guests", CIDR: prefix("10.1.3.0/24"), MTU: 1500,
			DHCP: &lab.Range{From: netip.MustParseAddr("10.1.3.200"), To: netip.MustParseAddr("10.1.3.210")}},
		{Name: "six", CIDR: prefix("fd01:0:0:6::/64"), MTU: 1500},
	}
	l.Machines = []lab.Machine{
		machine("edge", &lab.Routing{Publish: []lab.Publish{{Proto: lab.TCP, Port: 8080, Machine: "web", To: 80}, {Network: "perimeter", Proto: lab.TCP, Port: 8081, Machine: "web", To: 80}}}, "uplink", "perimeter"),
		machine("inner", &lab.Routing{DHCP: []string{"internal"}}, "internal", "perimeter", "six"),
		machine("side", &lab.Routing{}, "guests", "uplink"),
		machine("web", nil, "internal"),
		machine("near", nil, "perimeter", "uplink"),
		machine("far", nil, "six"),
	}
	return lab.Arrange(l)
}

func networksIn(t *testing.T, l lab.Lab, o options) map[string]netd.Network {
	t.Helper()
	rs, err := expand(l, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]netd.Network{}
	for _, r := range rs {
		if err := Description().Check(r); err != nil {
			t.Error(err)
		}
		if r.Addr.Kind != kindNetwork {
			continue
		}
		var a networkAttrs
		if err := decode(r.Addr, r.Attrs, &a); err != nil {
			t.Fatal(err)
		}
		if err := a.Network.Check(); err != nil {
			t.Error(err)
		}
		all[r.Addr.Name] = a.Network
	}
	return all
}

// ways are routes in words.
func ways(n netd.Network) (all []string) {
	for _, r := range n.Routes {
		all = append(all, r.Prefix.String()+" via "+r.Via.String())
	}
	return all
}

func TestRoutes(t *testing.T) {
	l := routed()
	at := func(machine, network string, v6 bool) string {
		m, _ := l.Machine(machine)
		n, _ := m.NIC(network)
		a, _ := n.Address(v6)
		return a.String()
	}
	edge, edge6, side := at("edge", "uplink", false), at("edge", "uplink", true), at("side", "uplink", false)
	got := networksIn(t, l, options{})
	want := map[string][]string{
		"uplink": {
			"10.1.1.0/24 via " + edge, "10.1.2.0/24 via " + edge, "10.1.3.0/24 via " + side,
			"fd01:0:0:1::/64 via " + edge6, "fd01:0:0:2::/64 via " + edge6, "fd01:0:0:6::/64 via " + edge6,
		},
		// Who has an address from labctl's DHCP there has the ways too.
		"guests": {"0.0.0.0/0 via 10.1.3.1"},
	}
	for name, n := range got {
		if diff := cmp.Diff(want[name], ways(n)); diff != "" {
			t.Errorf("network %s: %s", name, diff)
		}
	}
	if n := got["internal"]; n.DHCP != nil || n.Leases != nil {
		t.Errorf("a network whose router gives addresses gets them from labctl too: %+v", n)
	}
	if n := got["guests"]; n.DHCP == nil || len(n.Leases) != 1 {
		t.Errorf("the other one gets none: %+v", n)
	}
	for name, want := range map[string]string{"uplink": "10.1.0.1 fd01::1", "perimeter": "10.1.1.254 fd01::1:ffff:ffff:ffff:ffff", "six": "fd01::6:ffff:ffff:ffff:ffff invalid IP"} {
		n := got[name]
		if got := n.Addr().String() + " " + n.Addr6().String(); got != want {
			t.Errorf("labctl is on %s at %s, not at %s", name, got, want)
		}
	}
	if !slices.ContainsFunc(got["uplink"].Records, func(r netd.Record) bool { return r.Name == "far" && r.Addr.Is6() }) ||
		!slices.ContainsFunc(got["uplink"].Records, func(r netd.Record) bool { return r.Name == "web" && r.Addr.Is6() }) {
		t.Error("the uplink's name server does not know IPv6 addresses")
	}
}

// TestRoutesOfGivenAddresses has an uplink whose addresses the target gives: the routers' are known here all the same.
func TestRoutesOfGivenAddresses(t *testing.T) {
	l := routed()
	for i := range l.Networks {
		if n := &l.Networks[i]; n.Uplink {
			n.CIDR, n.CIDR6 = netip.Prefix{}, netip.Prefix{}
		}
	}
	for i := range l.Machines {
		for j := range l.Machines[i].NICs {
			if n := &l.Machines[i].NICs[j]; n.Network == "uplink" {
				n.Addr, n.Addr6 = netip.Addr{}, netip.Addr{}
			}
		}
	}
	n := networksIn(t, l, options{})["uplink"]
	lease := map[string]string{}
	for _, x := range n.Leases {
		lease[x.Name] = x.Addr.String()
	}
	if diff := cmp.Diff([]string{"10.1.1.0/24 via " + lease["edge"], "10.1.2.0/24 via " + lease["edge"], "10.1.3.0/24 via " + lease["side"]}, ways(n)); diff != "" {
		t.Error(diff)
	}
}

func TestForwards(t *testing.T) {
	l := routed()
	at := func(machine, network string) netip.Addr {
		m, _ := l.Machine(machine)
		n, _ := m.NIC(network)
		return n.Addr
	}
	listen := func(port uint16) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
	}
	o, err := parseOptions(map[string]any{"forward": map[string]string{
		"127.0.0.1:8080": "edge:8080", "8081": "edge:8081", "8022": "edge:22", "0.0.0.0:8082": "near:80", "[::1]:8083": "web:80", "tcp/8084": "far:80",
	}})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]netd.Forward{}
	for name, n := range networksIn(t, l, o) {
		if len(n.Forward) > 0 {
			got[name] = n.Forward
		}
	}
	to := func(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }
	want := map[string][]netd.Forward{
		"uplink": {
			{Listen: netip.MustParseAddrPort("0.0.0.0:8082"), To: to(at("near", "uplink"), 80), Machine: "near"},
			{Listen: listen(8022), To: to(at("edge", "uplink"), 22), Machine: "edge"},
			{Listen: listen(8080), To: to(at("edge", "uplink"), 8080), Machine: "edge"},
		},
		"perimeter": {{Listen: listen(8081), To: to(at("edge", "perimeter"), 8081), Machine: "edge"}}, // published there alone
		"internal":  {{Listen: netip.MustParseAddrPort("[::1]:8083"), To: to(at("web", "internal"), 80), Machine: "web"}},
		"six":       {{Listen: listen(8084), To: to(at("far", "six"), 80), Machine: "far"}},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Error(diff)
	}
	for from, tt := range map[string]struct{ to, says string }{
		":8080":          {"edge:80", "write the address out"},
		"udp/53":         {"edge:53", "only TCP is forwarded, not udp"},
		"localhost:8080": {"edge:80", "no port of this host"},
		"127.0.0.1:0":    {"edge:80", "no port of this host"},
		"70000":          {"edge:80", "no port of this host"},
		"8080":           {"edge", "no port of a machine"},
		"8081":           {"edge:0", "no port of a machine"},
		"8082":           {":80", "no port of a machine"},
	} {
		_, err := open(provider.Options{Home: "/h", Target: "t", Values: map[string]any{"forward": map[string]string{from: tt.to}}})
		if provider.CodeOf(err) != provider.Invalid || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s to %s: %v", from, tt.to, err)
		}
	}
	if _, err := parseOptions(map[string]any{"forward": map[string]string{"8080": "web:80", "127.0.0.1:8080": "edge:80"}}); err == nil || !strings.Contains(err.Error(), "the same port") {
		t.Errorf("one port twice: %v", err)
	}
	o, err = parseOptions(map[string]any{"forward": map[string]string{"8080": "nobody:80"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := expand(l, nil, o); provider.CodeOf(err) != provider.Invalid || !strings.Contains(err.Error(), `targets.local.forward."127.0.0.1:8080": the lab has no machine called "nobody"`) {
		t.Errorf("to nobody: %v", err)
	}
}

func TestExpandPools(t *testing.T) {
	l := routed()
	l.Pools = []lab.Pool{{Name: "disks", Path: "/srv/disks/"}, {Name: "images"}, {Name: "fast"}}
	l.Machines[0].Disks = []lab.Disk{{Name: "root", Size: lab.GiB, Pool: "disks"}, {Name: "a", Size: lab.GiB, Pool: "fast"}}
	rs, err := expand(l, nil, options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rs {
		if want := map[string]any{l.Machines[0].Name + "/root": "/srv/disks"}[r.Addr.Name]; r.Addr.Kind == kindDisk && r.Attrs["pool"] != want {
			b, _ := json.Marshal(r.Attrs)
			t.Errorf("%s: %s", r.Addr, b)
		}
	}
	for says, p := range map[string]lab.Pool{
		`pools.disks.path: "srv" is no absolute path`: {Name: "disks", Path: "srv"},
		"pools.images.path: QEMU's images":            {Name: "images", Path: "/srv/images"},
	} {
		l.Pools = []lab.Pool{p}
		if _, err := expand(l, nil, options{}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

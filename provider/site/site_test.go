package site_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/site"
)

// routed is a lab with two routers on one uplink, one of them hiding nothing, and a third router behind the first.
func routed() lab.Lab {
	machine := func(name string, router *lab.Routing, nics ...string) lab.Machine {
		m := lab.Machine{Name: name, Router: router != nil, Routing: router}
		for _, n := range nics {
			m.NICs = append(m.NICs, lab.NIC{Network: n, Link: lab.Up})
		}
		return m
	}
	prefix := netip.MustParsePrefix
	l := lab.Lab{Name: "office", Domain: "office.lab", Target: "local"}
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

// networksIn are the networks of a lab, with these entries of the option forward.
func networksIn(t *testing.T, l lab.Lab, forwards map[string]string) map[string]site.Network {
	t.Helper()
	entries, err := site.ParseForwards(forwards)
	if err != nil {
		t.Fatal(err)
	}
	here, err := site.Place(l, "", networkAddr)
	if err != nil {
		t.Fatal(err)
	}
	all, err := here.Networks(entries, false)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func networkAddr(name string) provider.Addr {
	return provider.Addr{Provider: "host", Kind: "network", Name: name}
}

// ways are routes in words.
func ways(n site.Network) (all []string) {
	for _, r := range n.Routes {
		all = append(all, r.Prefix.String()+" via "+r.Via.String())
	}
	return all
}

// words are addresses in words.
func words(addrs map[string]netip.Addr) map[string]string {
	all := map[string]string{}
	for name, a := range addrs {
		all[name] = a.String()
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
	got := networksIn(t, l, nil)
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
	if !slices.ContainsFunc(got["uplink"].Records, func(r site.Record) bool { return r.Name == "far" && r.Addr.Is6() }) ||
		!slices.ContainsFunc(got["uplink"].Records, func(r site.Record) bool { return r.Name == "web" && r.Addr.Is6() }) {
		t.Error("the uplink's name server does not know IPv6 addresses")
	}
}

// TestRoutesUnrouted has an uplink whose other side knows nothing of the lab: nobody is led to its networks, neither by a
// router nor outside.
func TestRoutesUnrouted(t *testing.T) {
	l := routed()
	for i := range l.Networks {
		l.Networks[i].Routed = false
	}
	want := []string{"10.1.1.0/24", "10.1.2.0/24", "10.1.3.0/24", "fd01:0:0:1::/64", "fd01:0:0:2::/64", "fd01:0:0:6::/64"}
	var got []string
	for _, r := range networksIn(t, l, nil)["uplink"].Routes {
		if r.Via.IsValid() {
			t.Errorf("%s is led by %s", r.Prefix, r.Via)
		}
		got = append(got, r.Prefix.String())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
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
	n := networksIn(t, l, nil)["uplink"]
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
	got := map[string][]site.Forward{}
	for name, n := range networksIn(t, l, map[string]string{
		"127.0.0.1:8080": "edge:8080", "8081": "edge:8081", "8022": "edge:22", "0.0.0.0:8082": "near:80", "[::1]:8083": "web:80", "tcp/8084": "far:80",
	}) {
		if len(n.Forward) > 0 {
			got[name] = n.Forward
		}
	}
	to := func(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }
	want := map[string][]site.Forward{
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
		_, err := site.ParseForwards(map[string]string{from: tt.to})
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s to %s: %v", from, tt.to, err)
		}
	}
	if _, err := site.ParseForwards(map[string]string{"8080": "web:80", "127.0.0.1:8080": "edge:80"}); err == nil || !strings.Contains(err.Error(), "the same port") {
		t.Errorf("one port twice: %v", err)
	}
	here, err := site.Place(l, "", networkAddr)
	if err != nil {
		t.Fatal(err)
	}
	_, err = here.Networks([]site.Entry{{Listen: listen(8080), Machine: "nobody", Port: 80}}, false)
	if provider.CodeOf(err) != provider.Invalid || !strings.Contains(err.Error(), `targets.local.forward."127.0.0.1:8080": the lab has no machine called "nobody"`) {
		t.Errorf("to nobody: %v", err)
	}
}

// TestUplinkCIDR gives an uplink addresses that no other network of the lab has, or says that there are none.
func TestUplinkCIDR(t *testing.T) {
	l := lab.Lab{Name: "test", Target: "local", Networks: []lab.Network{
		{Name: "one", Uplink: true, MTU: 1500}, {Name: "taken", CIDR: netip.MustParsePrefix("10.0.0.0/16"), MTU: 1500}, {Name: "two", Uplink: true, MTU: 1500},
	}}
	here, err := site.Place(l, "", networkAddr)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range here.Lab.Networks {
		got = append(got, n.CIDR.String())
	}
	if diff := cmp.Diff([]string{"192.168.127.0/24", "10.0.0.0/16", "172.31.255.0/24"}, got); diff != "" {
		t.Error(diff)
	}
	l.Machines = []lab.Machine{{Name: "web", NICs: []lab.NIC{{Network: "one", Link: lab.Up}, {Network: "taken", Link: lab.Up}}}}
	if here, err = site.Place(l, "", networkAddr); err != nil {
		t.Fatal(err)
	}
	one := here.Addr("web", "one")
	if diff := cmp.Diff(map[string]string{"one": one.String()}, words(here.Given(l, "web"))); diff != "" || !netip.MustParsePrefix("192.168.127.0/24").Contains(one) {
		t.Errorf("what the target gives: %s", diff)
	}
	_, err = site.Place(l, "10.9.0.0/24", networkAddr)
	if provider.CodeOf(err) != provider.Invalid || !strings.Contains(err.Error(), "networks.two.cidr: 10.9.0.0/24 overlap") {
		t.Errorf("two uplinks, one network for them: %v", err)
	}
	for cidr, ok := range map[string]bool{"": true, "10.0.2.0/29": true, "10.0.2.0/30": false, "10.0.2.1/24": false, "fd00::/64": false, "lan": false} {
		if err := site.CheckUplink(cidr); (err == nil) != ok {
			t.Errorf("uplink_cidr %q: %v", cidr, err)
		}
	}
}

package guest_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/internal/goldentest"
	"github.com/labctl-dev/labctl/lab"
)

// routed is a lab of two routers in a row, with every way of assigning addresses behind them.
//
//	wan (uplink, DHCP) - edge - perimeter (both families, static) - inner - staff (DHCP)
//	                                                                      - lab6 (SLAAC)
func routed() lab.Lab {
	nic := func(networks ...string) (out []lab.NIC) {
		for _, n := range networks {
			out = append(out, lab.NIC{Network: n, Link: lab.Up})
		}
		return out
	}
	user := lab.Guest{User: "lab"}
	return lab.Arrange(lab.Lab{
		Name: "routed", Domain: "routed.lab",
		Networks: []lab.Network{
			{Name: "wan", Uplink: true, MTU: 1500},
			{Name: "perimeter", CIDR: netip.MustParsePrefix("10.10.0.0/24"), CIDR6: netip.MustParsePrefix("fd00:10::/64"), MTU: 1500},
			{Name: "staff", CIDR: netip.MustParsePrefix("10.20.0.0/24"), CIDR6: netip.MustParsePrefix("fd00:20::/64"), MTU: 1400, Assign: lab.DHCP,
				DHCP: &lab.Range{From: netip.MustParseAddr("10.20.0.200"), To: netip.MustParseAddr("10.20.0.220")}},
			{Name: "lab6", CIDR: netip.MustParsePrefix("10.30.0.0/24"), CIDR6: netip.MustParsePrefix("fd00:30::/64"), MTU: 1500, Assign: lab.SLAAC},
		},
		Machines: []lab.Machine{
			{Name: "edge", Router: true, NICs: nic("wan", "perimeter"), Guest: user, Routing: &lab.Routing{Masquerade: []string{"wan"}, DNS: []string{"perimeter"}}},
			{Name: "inner", Router: true, NICs: nic("perimeter", "staff", "lab6"), Guest: user,
				Routing: &lab.Routing{DNS: []string{"staff", "lab6"}, DHCP: []string{"staff", "lab6"}}},
			{Name: "jump", NICs: nic("wan", "perimeter"), Guest: user},
			{Name: "web", Firewall: true, NICs: nic("perimeter"), Guest: user},
			{Name: "desk", NICs: nic("staff"), Guest: user},
			{Name: "both", NICs: nic("perimeter", "staff"), Guest: user},
			{Name: "six", NICs: nic("lab6"), Guest: user},
		},
		Policy: []lab.Rule{{Name: "admin", From: []string{"jump"}, To: []string{"staff", "lab6"}, Allow: []lab.Service{{Proto: lab.TCP, From: 22, To: 22}}, Path: "policy.0"}},
	})
}

func documents(t *testing.T, l lab.Lab) map[string]guest.Document {
	t.Helper()
	s, err := guest.Seeds(l, guest.Keys{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]guest.Document{}
	for name, seed := range s {
		var d guest.Document
		if err := json.Unmarshal(seed.Guest, &d); err != nil {
			t.Fatal(err)
		}
		out[name] = d
	}
	return out
}

func TestRoutedGolden(t *testing.T) {
	s, err := guest.Seeds(routed(), guest.Keys{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []string{"edge", "inner", "web", "both"} {
		file := "testdata/routed-" + m + ".json"
		got := append(s[m].Guest, s[m].NetworkConfig...)
		goldentest.File(t, file, string(got))
	}
}

// ways is what a machine is told of its network, in a few words.
func ways(d guest.Document) string {
	var out []string
	for _, i := range d.Network {
		w := []string{i.Name}
		add := func(format string, args ...any) { w = append(w, fmt.Sprintf(format, args...)) }
		if i.Device != "" {
			add("(%s)", i.Device)
		}
		for _, r := range i.Routes {
			add("%s>%s", r.To, r.Via)
		}
		for _, r := range i.Learned {
			add("%s~%s", r.To, r.Via)
		}
		if len(i.Leased) > 0 {
			add("leased %v", i.Leased)
		}
		if i.RA != nil {
			add("ra %v", *i.RA)
		}
		if i.DHCP {
			add("dhcp %v %v", i.UseRoutes, i.UseDNS)
		}
		if len(i.DNS) > 0 {
			add("dns %v", i.DNS)
		}
		if i.Default {
			add("default")
		}
		out = append(out, strings.Join(w, " "))
	}
	return strings.Join(out, "; ")
}

func TestWays(t *testing.T) {
	l := routed()
	address := func(machine, network string, v6 bool) netip.Addr {
		m, _ := l.Machine(machine)
		n, _ := m.NIC(network)
		a, _ := n.Address(v6)
		return a
	}
	inner, inner6 := address("inner", "perimeter", false), address("inner", "perimeter", true)
	behind := fmt.Sprintf("10.20.0.0/24>%[1]s 10.30.0.0/24>%[1]s fd00:20::/64>%[2]s fd00:30::/64>%[2]s", inner, inner6)
	// IPv6 has no way to the world over wan: hosts have a route for each network in place of a default.
	for machine, want := range map[string]string{
		"edge":  "wan (wan) dhcp true true default; perimeter (perimeter) " + behind,
		"inner": "perimeter (perimeter) 0.0.0.0/0>10.10.0.1 dns [10.10.0.1] default; staff (staff); lab6 (lab6)",
		"jump":  "wan ra {true true true} dhcp true false default; perimeter " + behind + " dns [10.10.0.1]",
		"web":   "perimeter (perimeter) 0.0.0.0/0>10.10.0.1 " + behind + " dns [10.10.0.1] default",
		"desk": fmt.Sprintf("staff fd00:10::/64>fd00:20::1 fd00:30::/64>fd00:20::1 0.0.0.0/0~10.20.0.1 leased [%s %s] ra {false false true} dhcp true false dns [10.20.0.1] default",
			address("desk", "staff", false), address("desk", "staff", true)),
		"both": fmt.Sprintf("perimeter 0.0.0.0/0>10.10.0.1 10.30.0.0/24>%s fd00:30::/64>%s dns [10.10.0.1 10.20.0.1] default; staff leased [%s %s] ra {false false true} dhcp true false",
			inner, inner6, address("both", "staff", false), address("both", "staff", true)),
		"six": fmt.Sprintf("lab6 0.0.0.0/0>10.30.0.1 fd00:10::/64>fd00:30::1 fd00:20::/64>fd00:30::1 leased [%s] ra {true false false} dns [10.30.0.1] default", address("six", "lab6", true)),
	} {
		if diff := cmp.Diff(want, ways(documents(t, l)[machine])); diff != "" {
			t.Errorf("%s (-want +got):\n%s", machine, diff)
		}
	}
}

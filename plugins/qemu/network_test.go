package qemu

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider/site"
)

// TestNetworkOf holds that the network process is told all that a site says, in the same words, and takes it.
func TestNetworkOf(t *testing.T) {
	prefix, at, port := netip.MustParsePrefix, netip.MustParseAddr, netip.MustParseAddrPort
	told := site.Network{
		Name: "lan", MAC: "02:00:00:00:00:01", CIDR: prefix("10.1.0.0/24"), CIDR6: prefix("fd01::/64"), Uplink: true, MTU: 1400, Domain: "test.lab",
		DHCP:       &lab.Range{From: at("10.1.0.200"), To: at("10.1.0.210")},
		Leases:     []site.Lease{{MAC: "02:00:00:00:00:02", Addr: at("10.1.0.2"), Name: "web"}},
		Routes:     []site.Route{{Prefix: prefix("10.2.0.0/24"), Via: at("10.1.0.2")}},
		Records:    []site.Record{{Name: "web", Addr: at("10.1.0.2")}},
		HostAccess: true,
		Forward:    []site.Forward{{Listen: port("127.0.0.1:8080"), To: port("10.1.0.2:80"), Machine: "web"}},
	}
	n := networkOf(told, nil).Network
	if err := n.Check(); err != nil {
		t.Error(err)
	}
	words := func(v any) (all map[string]any) {
		b, err := json.Marshal(v)
		if err == nil {
			err = json.Unmarshal(b, &all)
		}
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	want := words(told)
	if fields := 13; len(want) != fields {
		t.Errorf("a site says %d things of a network, not the %d of this test: %v", len(want), fields, want)
	}
	want["key"] = key("lan")
	if diff := cmp.Diff(want, words(n)); diff != "" {
		t.Error(diff)
	}
	for _, tt := range []struct{ network, want string }{
		{"uplink 10.1.0.0/24 fd01::/64", "10.1.0.1 fd01::1"},
		{"network 10.1.1.0/24 fd01:0:0:1::/64", "10.1.1.254 fd01::1:ffff:ffff:ffff:ffff"},
		{"network fd01:0:0:6::/64", "fd01::6:ffff:ffff:ffff:ffff invalid IP"},
	} {
		words := append(strings.Fields(tt.network), "")
		n := site.Network{Uplink: words[0] == "uplink", CIDR: prefix(words[1])}
		if words[2] != "" {
			n.CIDR6 = prefix(words[2])
		}
		a := networkOf(n, nil)
		if got := a.Addr().String() + " " + a.Addr6().String(); got != tt.want {
			t.Errorf("labctl is on %s at %s, not at %s", tt.network, got, tt.want)
		}
	}
}

package nft_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/lab"
)

// Who a service is told to answer, and where to listen: what the packet filter lets in, whether the machine has one.
func TestClients(t *testing.T) {
	l := sample(t)
	two := machine("two", "wan", "perimeter", "internal-production")
	l.Machines = append(l.Machines, two)
	l.Policy = append(l.Policy,
		lab.Rule{Name: "open", From: []string{"world"}, To: []string{"two"}, Allow: services(t, "tcp/443"), Path: "policy.4"},
		lab.Rule{Name: "near", From: []string{"jumpbox", "db"}, To: []string{"two"}, Allow: services(t, "tcp/22", "tcp/1000-2000"), Path: "policy.5"},
		lab.Rule{Name: "net", From: []string{"internal-production"}, To: []string{"two"}, Allow: services(t, "tcp/5432"), Path: "policy.6"},
		lab.Rule{Name: "far", From: []string{"perimeter"}, To: []string{"db"}, Allow: services(t, "udp/514"), Path: "policy.7"})
	k, err := nft.NewClients(lab.Arrange(l))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ machine, service, want string }{
		{"db", "tcp/3306", "[10.20.0.220/32 fd00:20::8936:8454/128] [10.20.0.147 fd00:20::bd87:45eb]"},
		{"db", "tcp/22", "[10.10.0.85/32 10.20.0.254/32 fd00:10::b1fe:f7a1/128 fd00:20::ffff:ffff:ffff:ffff/128] [10.20.0.147 fd00:20::bd87:45eb]"},
		{"db", "udp/514", "[10.10.0.0/24 fd00:10::/64] [10.20.0.147 fd00:20::bd87:45eb]"},
		{"ns", "udp/53", "[10.10.0.0/24 fd00:10::/64 fd00:20::/64] [10.10.0.195 fd00:10::da50:8137]"},
		{"r1", "udp/123", "[10.10.0.0/24 fd00:10::/64 fd00:20::/64] [10.10.0.1 fd00:10::1]"},
		{"r1", "tcp/53", "[10.10.0.0/24 10.20.0.0/24 fd00:10::/64 fd00:20::/64] [10.10.0.1 fd00:10::1]"},
		{"web", "tcp/80", "[0.0.0.0/0] [10.20.0.220]"},
		{"two", "tcp/443", "[0.0.0.0/0] [0.0.0.0]"},
		{"two", "tcp/1500", "[10.10.0.19/32 10.10.0.85/32 10.20.0.147/32 fd00:10::b1fe:f7a1/128 fd00:20::bd87:45eb/128] [10.10.0.86 10.20.0.210 fd00:10::9415:5f25 fd00:20::a818:c9a6]"},
		{"two", "tcp/5432", "[10.10.0.19/32 10.20.0.0/24 fd00:20::/64] [10.10.0.86 10.20.0.210 fd00:20::a818:c9a6]"},
		{"two", "udp/5432", "[] []"},
		{"nobody", "udp/5432", "[] []"},
	} {
		from, at := k.Of(tt.machine, services(t, tt.service))
		if diff := cmp.Diff(tt.want, fmt.Sprint(from, at)); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", tt.machine, tt.service, diff)
		}
	}
}

package replay

import (
	"net/netip"
	"testing"

	"github.com/labctl-dev/labctl/lab"
)

// deploy3 is like the mission's third deployment: an edge router that hides the lab behind an uplink whose addresses
// nobody knows, a perimeter with a jumpbox, an inner router, and an internal network, both families.
func deploy3(t *testing.T) lab.Lab {
	t.Helper()
	prefix := netip.MustParsePrefix
	l := lab.Lab{
		Name: "deploy3", Domain: "deploy3.lab",
		Networks: []lab.Network{
			{Name: "wan", Uplink: true, MTU: 1500},
			{Name: "perimeter", CIDR: prefix("10.10.0.0/24"), CIDR6: prefix("fd00:10::/64"), MTU: 1500},
			{Name: "internal", CIDR: prefix("10.20.0.0/24"), CIDR6: prefix("fd00:20::/64"), MTU: 1500},
		},
		Machines: []lab.Machine{
			machine("edge", "wan", "perimeter"), machine("inner", "perimeter", "internal"),
			machine("jumpbox", "perimeter"), machine("outside", "wan"),
			machine("web", "internal"), machine("db", "internal"),
		},
		Policy: []lab.Rule{
			rule(t, "admin", "jumpbox", "internal", "tcp/22", "icmp"),
			rule(t, "updates", "internal", "world", "tcp/80", "tcp/443"),
			rule(t, "sql", "web", "db", "tcp/3300-3306"),
			rule(t, "syslog", "perimeter", "web", "udp/514"),
		},
		Implied: &lab.Implied{},
	}
	for i := range l.Machines[:2] {
		l.Machines[i].Router, l.Machines[i].Routing = true, &lab.Routing{}
	}
	edge := l.Machines[0].Routing
	edge.Masquerade, edge.DNS = []string{"wan"}, []string{"perimeter"}
	edge.Publish = []lab.Publish{{Proto: lab.TCP, Port: 8080, Machine: "web", To: 80, Path: "routers.edge.publish.tcp/8080"}}
	l.Machines[5].Firewall = true
	return lab.Arrange(l)
}

func machine(name string, networks ...string) lab.Machine {
	m := lab.Machine{Name: name, Power: lab.On}
	for _, n := range networks {
		m.NICs = append(m.NICs, lab.NIC{Network: n, Link: lab.Up})
	}
	return m
}

func rule(t *testing.T, name, from, to string, allow ...string) lab.Rule {
	t.Helper()
	r := lab.Rule{Name: name, From: []string{from}, To: []string{to}, Path: "policy." + name}
	for _, a := range allow {
		s, err := lab.ParseService(a)
		if err != nil {
			t.Fatal(err)
		}
		r.Allow = append(r.Allow, s)
	}
	return r
}

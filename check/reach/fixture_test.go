package reach

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/labctl-dev/labctl/lab"
)

// changed is deploy3 with a change.
func changed(change func(*lab.Lab)) lab.Lab {
	l := deploy3()
	change(&l)
	return l
}

// deploy3 is the mission's third deployment: the world, r1, the perimeter with a jumpbox, r2, and an internal network
// with web and db, which has a firewall of its own.
func deploy3() lab.Lab {
	l := lab.Lab{
		Name: "deploy3", Domain: "deploy3.lab",
		Networks: []lab.Network{
			{Name: "wan", Uplink: true, CIDR: netip.MustParsePrefix("192.168.7.0/24"), MTU: 1500},
			{Name: "perimeter", CIDR: netip.MustParsePrefix("10.10.0.0/24"), CIDR6: netip.MustParsePrefix("fd00:10::/64"), MTU: 1500},
			{Name: "internal", CIDR: netip.MustParsePrefix("10.20.0.0/24"), CIDR6: netip.MustParsePrefix("fd00:20::/64"), MTU: 1500},
		},
		Machines: []lab.Machine{
			machine("r1", "wan", "perimeter"), machine("r2", "perimeter", "internal"),
			machine("jumpbox", "perimeter"), machine("web", "internal"), machine("db", "internal"),
		},
		Policy: []lab.Rule{
			ruled(0, "admin", "jumpbox", "internal", "tcp/22", "icmp"),
			ruled(1, "updates", "internal", "world", "tcp/80", "tcp/443"),
			ruled(2, "sql", "web", "db", "tcp/3306"),
		},
		Implied: &lab.Implied{}, // neighbours may come in as labctl does: it makes a firewall's answers differ by address
	}
	for _, p := range []string{"10.10.0.254/32", "10.20.0.254/32", "192.168.7.1/32", "fe80::/10"} {
		l.Implied.Admin = append(l.Implied.Admin, netip.MustParsePrefix(p))
	}
	l.Machines[0].NICs[0].Addr = netip.MustParseAddr("192.168.7.2")
	l.Machines[3].NICs[0].Addr = netip.MustParseAddr("10.20.0.10")
	for i := range l.Machines[:2] {
		l.Machines[i].Router, l.Machines[i].Routing = true, &lab.Routing{}
	}
	l.Machines[0].Routing.Masquerade = []string{"wan"}
	l.Machines[0].Routing.Publish = []lab.Publish{{Proto: lab.TCP, Port: 8080, Machine: "web", To: 80, Path: "routers.r1.publish.tcp/8080"}}
	l.Machines[4].Firewall = true
	return l
}

// relayed is deploy3 with a port of r1 that leads to one of r2, which leads to web.
func relayed() lab.Lab {
	l := deploy3()
	l.Machines[0].Routing.Publish[0].Machine, l.Machines[0].Routing.Publish[0].To = "r2", 8080
	l.Machines[1].Routing.Publish = []lab.Publish{{Network: "perimeter", Proto: lab.TCP, Port: 8080, Machine: "web", To: 80, Path: "routers.r2.publish.tcp/8080"}}
	return l
}

func machine(name string, networks ...string) lab.Machine {
	m := lab.Machine{Name: name}
	for _, n := range networks {
		m.NICs = append(m.NICs, lab.NIC{Network: n, Link: lab.Up})
	}
	return m
}

func ruled(i int, name, from, to string, allow ...string) lab.Rule {
	r := lab.Rule{Name: name, From: []string{from}, To: []string{to}, Path: fmt.Sprintf("policy.%d", i)}
	for _, a := range allow {
		r.Allow = append(r.Allow, serviceOf(a))
	}
	return r
}

func serviceOf(s string) lab.Service {
	v, err := lab.ParseService(s)
	if err != nil {
		panic(err)
	}
	return v
}

func prove(t testing.TB, l lab.Lab) *Proof {
	t.Helper()
	p, err := Prove(lab.Arrange(l))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

package picture

import (
	"fmt"
	"net/netip"

	"github.com/labctl-dev/labctl/lab"
)

// deploy3 is the mission's third deployment: uplink, perimeter, internal and an isolated network for CI/CD; a jumpbox
// on three of them.
func deploy3() lab.Lab {
	l := lab.Lab{
		Name: "deploy3", Domain: "deploy3.lab",
		Networks: []lab.Network{
			net("cicd", "10.30.0.0/24", ""),
			net("internal", "10.20.0.0/24", "fd00:20::/64"),
			net("perimeter", "10.10.0.0/24", "fd00:10::/64"),
			{Name: "uplink", Uplink: true, MTU: 1500},
		},
		Machines: []lab.Machine{
			router("edge", "uplink", "perimeter"), router("inner", "perimeter", "internal"), router("build", "internal", "cicd"),
			server("jumpbox", "perimeter", "internal", "cicd"), server("ns", "perimeter"), server("www", "perimeter"),
			server("probe", "internal"), server("db", "internal"), server("jenkins", "cicd"),
		},
	}
	l.Machines[0].Routing = &lab.Routing{
		Masquerade: []string{"uplink"}, DNS: []string{"perimeter"}, DHCP: []string{"perimeter"},
		Publish: []lab.Publish{{Proto: lab.TCP, Port: 8080, Machine: "www", To: 80}, {Proto: lab.TCP, Port: 2222, Machine: "jumpbox", To: 22}},
	}
	l.Machines[3].Groups = []string{"admin", "bastion"}
	l.Machines[5].Groups = []string{"app"}
	l.Machines[7].Firewall, l.Machines[7].Protect = true, true
	l.Machines[6].Power = lab.Off
	return lab.Arrange(l)
}

// campus is a lab of 40 machines on 8 networks with 5 routers, two of them in parallel, and an isolated network.
func campus() lab.Lab {
	l := lab.Lab{Name: "campus", Domain: "campus.lab"}
	l.Networks = append(l.Networks, lab.Network{Name: "wan", Uplink: true, CIDR: netip.MustParsePrefix("192.168.7.0/24"), MTU: 1500})
	for i, n := range []string{"dmz", "core", "office", "lab", "storage", "voice", "island"} {
		l.Networks = append(l.Networks, net(n, fmt.Sprintf("10.%d.0.0/24", 10*(i+1)), ""))
	}
	l.Machines = []lab.Machine{
		router("border", "wan", "dmz"), router("core1", "dmz", "core"), router("core2", "dmz", "core"),
		router("dist", "core", "office", "lab", "voice"), router("vault", "core", "storage"),
		server("bastion", "dmz", "core"), server("backup", "storage", "office"),
	}
	l.Machines[0].Routing = &lab.Routing{Masquerade: []string{"wan"}, Publish: []lab.Publish{{Proto: lab.TCP, Port: 443, Machine: "web1", To: 443}}}
	for _, x := range []struct {
		name, network string
		n             int
	}{{"web", "dmz", 4}, {"ad", "core", 3}, {"desk", "office", 12}, {"node", "lab", 6}, {"nas", "storage", 3}, {"phone", "voice", 4}, {"lone", "island", 1}} {
		for i := range x.n {
			l.Machines = append(l.Machines, server(fmt.Sprintf("%s%d", x.name, i+1), x.network))
		}
	}
	return lab.Arrange(l)
}

// flat is one network with n servers behind a router.
func flat(n int) lab.Lab {
	l := lab.Lab{Name: "flat", Domain: "flat.lab", Networks: []lab.Network{net("lan", "10.0.0.0/16", ""), {Name: "uplink", Uplink: true, MTU: 1500}}}
	l.Machines = append(l.Machines, router("gw", "uplink", "lan"))
	for i := range n {
		l.Machines = append(l.Machines, server(fmt.Sprintf("node%03d", i+1), "lan"))
	}
	return lab.Arrange(l)
}

func net(name, cidr, cidr6 string) lab.Network {
	n := lab.Network{Name: name, CIDR: netip.MustParsePrefix(cidr), MTU: 1500}
	if cidr6 != "" {
		n.CIDR6 = netip.MustParsePrefix(cidr6)
	}
	return n
}

func server(name string, networks ...string) lab.Machine {
	m := lab.Machine{Name: name, CPUs: 2, Memory: lab.GiB, Image: "debian-12-minimal", Power: lab.On}
	for _, n := range networks {
		m.NICs = append(m.NICs, lab.NIC{Network: n, Link: lab.Up})
	}
	return m
}

func router(name string, networks ...string) lab.Machine {
	m := server(name, networks...)
	m.Router, m.CPUs, m.Memory, m.Routing = true, 1, 512*lab.MiB, &lab.Routing{}
	return m
}

package check_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/check"
	"github.com/labctl-dev/labctl/lab"
)

// soundRouted is a lab with a router and both families, without findings: db and web as in sound on office, which the
// router edge joins to the uplink and serves.
func soundRouted() lab.Lab {
	l := sound()
	l.Networks[1].CIDR6, l.Networks[1].Assign = netip.MustParsePrefix("fd00:20::/64"), lab.DHCP
	edge := l.Machines[0]
	edge.Name, edge.Router, edge.NICs = "edge", true, []lab.NIC{{Network: "lan", Link: lab.Up}, {Network: "office", Link: lab.Up}}
	edge.Routing = &lab.Routing{Masquerade: []string{"lan"}, DNS: []string{"office"}, DHCP: []string{"office"}}
	l.Machines = append(l.Machines, edge)
	for i := range l.Machines {
		m := &l.Machines[i]
		m.Disks = append([]lab.Disk(nil), m.Disks...)
		for j := range m.Disks {
			m.Disks[j].Pool = "disks"
		}
	}
	l.Machines[1].NICs = l.Machines[1].NICs[1:]
	l.Pools = []lab.Pool{{Name: "disks", Size: 40 * lab.GiB, Path: "/srv/disks"}, {Name: "images"}}
	within := lab.Duration(time.Minute)
	l.Checks = []lab.Check{
		{Name: "command", From: "db", Within: within, Command: &lab.CommandCheck{Run: "true"}},
		{Name: "dns", From: "db", Within: within, DNS: &lab.DNSCheck{Name: "web.x.lab", Type: "A", Server: "edge", Answer: []string{"10.20.0.10"}}},
		{Name: "http", From: "db", Within: within, HTTP: &lab.HTTPCheck{URL: "http://web.x.lab/", Status: 200}},
		{Name: "tcp", From: "db", Within: within, TCP: &lab.TCPCheck{To: "web", Port: 22}},
	}
	return l
}

func TestSoundRoutedLabHasNoFindings(t *testing.T) {
	if got := check.Vet(lab.Arrange(soundRouted())); got != nil {
		t.Errorf("Vet: %v, want nothing", got)
	}
}

func TestVetRouted(t *testing.T) {
	machine := func(l *lab.Lab, name string) *lab.Machine {
		for i := range l.Machines {
			if l.Machines[i].Name == name {
				return &l.Machines[i]
			}
		}
		panic(name)
	}
	db := func(l *lab.Lab) *lab.Machine { return machine(l, "db") }
	web := func(l *lab.Lab) *lab.Machine { return machine(l, "web") }
	edge := func(l *lab.Lab) *lab.Machine { return machine(l, "edge") }
	office := func(l *lab.Lab) *lab.Network { return &l.Networks[1] }
	ip6 := func(a string) func(*lab.Lab) {
		return func(l *lab.Lab) { web(l).NICs[0].Addr6, web(l).NICs[0].Given6 = netip.MustParseAddr(a), true }
	}
	cidr6 := func(p string) func(*lab.Lab) {
		return func(l *lab.Lab) { office(l).CIDR6 = netip.MustParsePrefix(p) }
	}
	// alone makes office a network with IPv6 alone.
	alone := func(l *lab.Lab) {
		n := office(l)
		n.CIDR, n.CIDR6, n.DHCP = n.CIDR6, netip.Prefix{}, nil
		web(l).NICs[0].Addr = netip.Addr{}
		l.Checks = nil
	}
	again := func(l *lab.Lab) { // a second router on the same networks
		m := *edge(l)
		m.Name, m.NICs, m.Routing = "second", append([]lab.NIC(nil), m.NICs...), &lab.Routing{}
		l.Machines = append(l.Machines, m)
	}
	publish := func(p lab.Publish) func(*lab.Lab) {
		p.Path = "routers.edge.publish.x"
		return func(l *lab.Lab) { edge(l).Routing.Publish = []lab.Publish{p} }
	}
	tests := []struct {
		name   string
		change func(*lab.Lab)
		want   []string
	}{
		// Both families.
		{"host bits", cidr6("fd00:20::1/64"), []string{`error: networks.office.cidr6: fd00:20::1/64 has host bits set: the network is fd00:20::/64`}},
		{"IPv4 as IPv6", cidr6("10.30.0.0/24"), []string{`error: networks.office.cidr6: 10.30.0.0/24 is not IPv6`}},
		{"link-local", cidr6("fe80::/64"), []string{`error: networks.office.cidr6: fe80::/64 is link-local: every network has these addresses, and no router forwards them`}},
		{"twice IPv6", func(l *lab.Lab) {
			alone(l)
			office(l).CIDR6 = netip.MustParsePrefix("fd00:21::/64")
		}, []string{`error: networks.office.cidr6: the cidr of the network is IPv6 already (see networks.office.cidr)`}},
		{"mtu", func(l *lab.Lab) { office(l).MTU = 576 }, []string{`error: networks.office.mtu: IPv6 needs an MTU of at least 1280 bytes, not 576`}},
		{"overlap", func(l *lab.Lab) {
			l.Networks[0].CIDR6 = netip.MustParsePrefix("fd00::/16")
		}, []string{`error: networks.office.cidr6: fd00:20::/64 overlaps fd00::/16 of network lan (see networks.lan.cidr6)`}},
		{"outside", ip6("fd00:21::9"), []string{`error: servers.web.nics.office.ip6: fd00:21::9 is outside the network fd00:20::/64`}},
		{"other family", ip6("10.20.0.9"), []string{`error: servers.web.nics.office.ip6: 10.20.0.9 is not of the family of fd00:20::/64`}},
		{"door", ip6("fd00:20::ffff:ffff:ffff:ffff"), []string{`error: servers.web.nics.office.ip6: fd00:20::ffff:ffff:ffff:ffff is kept free for labctl's own way in`}},
		{"no cidr6", func(l *lab.Lab) {
			ip6("fd00:20::9")(l)
			office(l).CIDR6 = netip.Prefix{}
		}, []string{`error: servers.web.nics.office.ip6: network office has no cidr6, so its addresses cannot be given`}},
		{"taken", func(l *lab.Lab) {
			ip6("fd00:20::9")(l)
			db(l).NICs[0].Addr6 = netip.MustParseAddr("fd00:20::9")
		}, []string{`error: servers.web.nics.office.ip6: fd00:20::9 is taken already (see servers.db.nics.office.ip6)`}},
		{"two routers claim one address", func(l *lab.Lab) {
			again(l)
			edge(l).NICs[1].Addr = netip.MustParseAddr("10.20.0.1")
			machine(l, "second").NICs[1].Addr = netip.MustParseAddr("10.20.0.1")
		}, []string{`error: routers.second.nics.office.ip: 10.20.0.1 is taken already (see routers.edge.nics.office.ip)`}},
		{"IPv6 alone", alone, []string{}},

		// Routers and how addresses are assigned.
		{"one network", func(l *lab.Lab) { edge(l).NICs, edge(l).Routing.Masquerade = edge(l).NICs[1:], nil },
			[]string{`warning: networks.lan: no machine uses this network`, `warning: routers.edge.nics: a router on one network has nothing to forward`}},
		{"nobody serves", func(l *lab.Lab) { edge(l).Routing.DHCP = nil },
			[]string{`error: networks.office.assign: nobody serves addresses here: "dhcp" needs a router on office that has it in its dhcp`}},
		{"two serve", func(l *lab.Lab) { again(l); machine(l, "second").Routing.DHCP = []string{"office"} },
			[]string{`error: routers.second.dhcp: edge and second both serve addresses on office: machines would take those of the one that is faster (see routers.edge.dhcp)`}},
		{"serves the uplink", func(l *lab.Lab) { edge(l).Routing.DHCP = []string{"lan", "office"} },
			[]string{`error: routers.edge.dhcp: lan is an uplink, whose addresses are the target's`}},
		{"assign of an uplink", func(l *lab.Lab) { l.Networks[0].Assign = lab.DHCP },
			[]string{`error: networks.lan.assign: the addresses of an uplink are the target's`}},
		{"assign that is none", func(l *lab.Lab) { office(l).Assign = "bootp" },
			[]string{`error: networks.office.assign: "bootp" is not "static", "dhcp" or "slaac"`}},
		{"slaac", func(l *lab.Lab) { office(l).Assign = lab.SLAAC }, []string{}},
		{"slaac and another size", func(l *lab.Lab) { cidr6("fd00:20::/56")(l); office(l).Assign = lab.SLAAC },
			[]string{`error: networks.office.assign: "slaac" needs a prefix of 64 bits, and fd00:20::/56 has 56`}},
		{"slaac without IPv6", func(l *lab.Lab) { office(l).CIDR6, office(l).Assign = netip.Prefix{}, lab.SLAAC },
			[]string{`error: networks.office.assign: "slaac" is for IPv6, and the network has none: give it a cidr6`}},
		{"slaac and a given address", func(l *lab.Lab) { ip6("fd00:20::9")(l); office(l).Assign = lab.SLAAC },
			[]string{`error: servers.web.nics.office.ip6: fd00:20::9 cannot be given: with assign "slaac" a machine makes its address of its MAC (see networks.office.assign)`}},
		{"slaac and its own address", func(l *lab.Lab) {
			web(l).NICs[0].MAC = "02:00:00:00:00:07"
			ip6("fd00:20::ff:fe00:7")(l)
			office(l).Assign = lab.SLAAC
		}, []string{}},
		{"slaac and IPv6 alone", func(l *lab.Lab) { alone(l); office(l).Assign = lab.SLAAC }, []string{}},
		{"routed", func(l *lab.Lab) { office(l).Routed = true },
			[]string{`error: networks.office.routed: only an uplink can be routed: office is a network of the lab's own`}},
		{"isolated", func(l *lab.Lab) { office(l).Isolated = true },
			[]string{`error: routers.edge.nics.office: office is isolated: no router may be on it (see networks.office.isolated)`}},

		{"publishes its own ssh", publish(lab.Publish{Proto: lab.TCP, Port: 22, Machine: "web", To: 22}),
			[]string{`error: routers.edge.publish.x: labctl itself comes to edge on tcp/22: publish another port`}},
		{"publishes its own DNS", publish(lab.Publish{Network: "office", Proto: lab.UDP, Port: 53, Machine: "web", To: 53}),
			[]string{`error: routers.edge.publish.x: edge answers DNS there itself (see routers.edge.dns)`}},
		{"publishes DNS elsewhere", publish(lab.Publish{Proto: lab.UDP, Port: 53, Machine: "web", To: 53}), []string{}},
		{"publishes its own DHCP", publish(lab.Publish{Network: "office", Proto: lab.UDP, Port: 67, Machine: "web", To: 67}),
			[]string{`error: routers.edge.publish.x: edge answers DHCP there itself (see routers.edge.dhcp)`}},
		{"publishes a port of its own", publish(lab.Publish{Proto: lab.TCP, Port: 22, Machine: "edge", To: 22}), []string{}},

		// Pools.
		{"pool", func(l *lab.Lab) { web(l).Disks[0].Pool, web(l).Disks[1].Pool = "fast", "fast" },
			[]string{`error: servers.web.pool: there is no pool called "fast"; there is disks, images`}},
		{"pool too small", func(l *lab.Lab) { l.Pools[0].Size = 24 * lab.GiB },
			[]string{`error: pools.disks.size: the disks in it may come to 25GiB, and it has 24GiB: db/root 8GiB, edge/root 8GiB, web/root 8GiB, web/data 1GiB`}},
		{"pool's path", func(l *lab.Lab) { l.Pools[1].Path = "images" }, []string{`error: pools.images.path: "images" is not an absolute path`}},

		// Checks.
		{"unknown machine asks", func(l *lab.Lab) { l.Checks[0].From = "dbb" }, []string{`error: checks.command.from: there is no machine called "dbb"`}},
		{"a machine that is off asks", func(l *lab.Lab) { db(l).Power = lab.Off; l.Checks = l.Checks[:1] },
			[]string{`error: checks.command.from: db is off, so nothing can be asked from it (see servers.db.power)`}},
		{"too long", func(l *lab.Lab) { l.Checks[0].Within = lab.Duration(61 * time.Minute) },
			[]string{`error: checks.command.within: 1h1m0s is not a time from above zero to 1h0m0s`}},
		{"two kinds", func(l *lab.Lab) { l.Checks[0].TCP = &lab.TCPCheck{To: "web", Port: 22} },
			[]string{`error: checks.command: a check needs exactly one of tcp, http, dns and command`}},
		{"no such target", func(l *lab.Lab) { l.Checks[3].TCP.To = "wbe" }, []string{`error: checks.tcp.tcp.to: there is no machine called "wbe"`}},
		{"no such name", func(l *lab.Lab) { l.Checks[3].TCP.To = "wbe.x.lab" }, []string{`error: checks.tcp.tcp.to: there is no machine called "wbe"`}},
		{"somebody else", func(l *lab.Lab) { l.Checks[3].TCP.To = "example.org" }, []string{}},
		{"nobody's address", func(l *lab.Lab) { l.Checks[3].TCP.To = "10.20.0.99" }, []string{`warning: checks.tcp.tcp.to: no machine has the address 10.20.0.99`}},
		{"nobody's address refuses", func(l *lab.Lab) { l.Checks[3].TCP.To, l.Checks[3].TCP.Refused = "10.20.0.99", true }, []string{}},
		{"port", func(l *lab.Lab) { l.Checks[3].TCP.Port = 0 }, []string{`error: checks.tcp.tcp.port: 0 is no port from 1 to 65535`}},
		{"URL", func(l *lab.Lab) { l.Checks[2].HTTP.URL = "web/x" }, []string{`error: checks.http.http.url: "web/x" is not a URL that begins with http://, https://`}},
		{"a name that a name server may know", func(l *lab.Lab) {
			l.Implied = &lab.Implied{DNS: []string{l.Machines[0].Name}}
			l.Checks[3].TCP.To = "alias.x.lab"
		}, []string{}},
		{"host of a URL", func(l *lab.Lab) { l.Checks[2].HTTP.URL = "https://wbe:8443/" }, []string{`error: checks.http.http.url: there is no machine called "wbe"`}},
		{"server", func(l *lab.Lab) { l.Checks[1].DNS.Server = "ns" }, []string{`error: checks.dns.dns.server: there is no machine called "ns"`}},
		{"answer", func(l *lab.Lab) { l.Checks[1].DNS.Answer = []string{"fd00:20::9"} },
			[]string{`error: checks.dns.dns.answer: "fd00:20::9" is not an address that an answer of type A can be`}},
		{"PTR", func(l *lab.Lab) { l.Checks[1].DNS.Type = "PTR" }, []string{`error: checks.dns.dns.name: "web.x.lab" is not an address, whose name PTR asks for`}},

		// Inside.
		{"its own packet filter", func(l *lab.Lab) {
			web(l).Firewall = true
			web(l).Guest.Units = []lab.Unit{{Name: "nftables.service", Enabled: true, Running: true}}
		}, []string{`error: servers.web.units."nftables.service": it empties the packet filter when it starts, and this machine's is labctl's`}},
		{"no packet filter of labctl's", func(l *lab.Lab) {
			web(l).Guest.Units = []lab.Unit{{Name: "nftables.service", Enabled: true, Running: true}}
		}, []string{}},
		{"ours on a router", func(l *lab.Lab) {
			edge(l).Guest.Files = []lab.File{{Path: "/etc/labctl/firewall.nft", Text: "x", Mode: "0644"}}
		}, []string{`error: routers.edge.files."/etc/labctl/firewall.nft": /etc/labctl belongs to labctl itself`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := soundRouted()
			tt.change(&l)
			got := []string{}
			for _, f := range check.Vet(lab.Arrange(l)) {
				got = append(got, f.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

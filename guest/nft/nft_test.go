package nft_test

import (
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/internal/goldentest"
	"github.com/labctl-dev/labctl/lab"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func machine(name string, networks ...string) lab.Machine {
	m := lab.Machine{Name: name}
	for _, n := range networks {
		m.NICs = append(m.NICs, lab.NIC{Network: n, Link: lab.Up})
	}
	return m
}

func services(t testing.TB, all ...string) []lab.Service {
	t.Helper()
	var out []lab.Service
	for _, s := range all {
		v, err := lab.ParseService(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	return out
}

// sample is a lab with everything that a ruleset can have: an uplink by DHCP, two routers in a row that both hide what
// is behind them, both families, published ports, groups, a host firewall, and what the lab needs for itself.
func sample(t testing.TB) lab.Lab {
	l := lab.Lab{
		Name: "sample", Domain: "sample.lab",
		Networks: []lab.Network{
			{Name: "wan", Uplink: true, MTU: 1500},
			{Name: "perimeter", CIDR: prefix("10.10.0.0/24"), CIDR6: prefix("fd00:10::/64"), MTU: 1500},
			{Name: "internal-production", CIDR: prefix("10.20.0.0/24"), CIDR6: prefix("fd00:20::/64"), MTU: 1500},
		},
		Machines: []lab.Machine{
			machine("r1", "wan", "perimeter"), machine("r2", "perimeter", "internal-production"),
			machine("jumpbox", "perimeter"), machine("ns", "perimeter"), machine("web", "internal-production"), machine("db", "internal-production"),
		},
		Implied: &lab.Implied{DNS: []string{"ns"}, NTP: []string{"r1"}},
		Policy: []lab.Rule{
			{Name: "admin", From: []string{"jumpbox"}, To: []string{"servers", "r2"}, Allow: services(t, "tcp/22", "icmp"), Log: true, Path: "policy.0"},
			{Name: "updates", From: []string{"servers", "ns"}, To: []string{"world"}, Allow: services(t, "tcp/80", "tcp/443", "udp/53"), Path: "policy.1"},
			{Name: "sql", From: []string{"web"}, To: []string{"db"}, Allow: services(t, "tcp/3300-3306", "tcp/3306"), Path: "policy.2"},
			{Name: "ping", From: []string{"any"}, To: []string{"any"}, Allow: services(t, "icmp"), Path: "policy.3"},
		},
	}
	for i := range l.Machines[:2] {
		l.Machines[i].Router = true
	}
	l.Machines[0].Routing = &lab.Routing{Masquerade: []string{"wan"}, DNS: []string{"perimeter"}, DHCP: []string{"perimeter"},
		Publish: []lab.Publish{{Proto: lab.TCP, Port: 8080, Machine: "web", To: 80, Log: true, Path: "routers.r1.publish.0"}}}
	l.Machines[1].Routing = &lab.Routing{Masquerade: []string{"perimeter"}}
	l.Machines[4].Groups, l.Machines[5].Groups = []string{"servers"}, []string{"servers"}
	l.Machines[5].Firewall = true
	return lab.Arrange(l)
}

func TestGolden(t *testing.T) {
	l := sample(t)
	sets, err := nft.All(l)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name, set := range sets {
		names = append(names, name)
		got := string(set.Render())
		goldentest.File(t, "testdata/"+name+".nft", got)
		accepted(t, got)
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"db", "r1", "r2"}, names); diff != "" {
		t.Errorf("machines with a ruleset: %s", diff)
	}
}

// accepted asks nft.
func accepted(t *testing.T, text string) {
	t.Helper()
	if _, err := exec.LookPath("nft"); err != nil || os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("nft -c needs nftables and root")
		}
		t.Log("not given to nft -c: that needs nftables and root")
		return
	}
	cmd := exec.Command("nft", "-c", "-f", "-")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("nft -c: %v: %s", err, out)
	}
}

// TestDeterministic checks that the order of the spec does not matter where it means nothing, and that one machine
// alone is compiled as it is among all.
func TestDeterministic(t *testing.T) {
	l := sample(t)
	all, err := nft.All(l)
	if err != nil {
		t.Fatal(err)
	}
	turned := sample(t)
	slices.Reverse(turned.Machines)
	slices.Reverse(turned.Networks)
	again, err := nft.All(lab.Arrange(turned))
	if err != nil {
		t.Fatal(err)
	}
	for name, set := range all {
		m, _ := l.Machine(name)
		alone, err := nft.ForRouter(l, m)
		if !m.Router {
			alone, err = nft.ForHost(l, m)
		}
		if err != nil {
			t.Fatal(err)
		}
		if a, b, c := string(set.Render()), string(again[name].Render()), string(alone.Render()); a != b || a != c {
			t.Errorf("%s: %s%s", name, cmp.Diff(a, b), cmp.Diff(a, c))
		}
	}
}

// TestConcerned checks that a rule changes the routers on its way, and nobody else.
func TestConcerned(t *testing.T) {
	before, err := nft.All(sample(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ from, to, want string }{
		{"jumpbox", "web", "r2"},
		{"jumpbox", "db", "db r2"},
		{"jumpbox", "world", "r1"},
		{"web", "world", "r1 r2"},
		{"web", "db", "db"},
		{"jumpbox", "ns", ""},
		{"world", "r1", "r1"},
	} {
		l := sample(t)
		l.Policy = append(l.Policy, lab.Rule{Name: "new", From: []string{tt.from}, To: []string{tt.to}, Allow: services(t, "tcp/5000"), Path: "policy.4"})
		after, err := nft.All(l)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for name := range after {
			if !slices.Equal(before[name].Render(), after[name].Render()) {
				got = append(got, name)
			}
		}
		slices.Sort(got)
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%s to %s changes %q, want %q", tt.from, tt.to, s, tt.want)
		}
	}
}

func TestErrors(t *testing.T) {
	for want, change := range map[string]func(*lab.Lab){
		`policy.0.from: there is no machine, network or group called "jump"`: func(l *lab.Lab) { l.Policy[0].From = []string{"jump"} },
		`policy.3.to: there is no machine, network or group called "x"`:      func(l *lab.Lab) { l.Policy[3].To = []string{"x"} },
		`implied.ntp.to: there is no machine, network or group called "x"`:   func(l *lab.Lab) { l.Implied.NTP = []string{"x"} },
		`routers.r1.publish.0: there is no machine called "x"`: func(l *lab.Lab) {
			for i := range l.Machines {
				if r := l.Machines[i].Routing; r != nil && len(r.Publish) > 0 {
					r.Publish[0].Machine = "x"
				}
			}
		},
	} {
		l := sample(t)
		change(&l)
		if _, err := nft.All(l); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	l := sample(t)
	m, _ := l.Machine("db")
	if _, err := nft.ForRouter(l, m); err == nil {
		t.Error("a router's rules for a host")
	}
}

func TestInterface(t *testing.T) {
	for network, want := range map[string]string{
		"lan": "lan", "perimeter": "perimeter", "eth0": "net-aedbc81f41", "lo": "net-45f5d51c3d", "all": "net-e0a8e6c2c4",
		"internal-production": "net-fe4e5bdb66", "net-lan": "net-1ae5d0e5f7", nft.Loopback: "lo",
	} {
		got := nft.Interface(network)
		if len(got) > 15 || got != want && !strings.HasPrefix(want, "net-") || strings.HasPrefix(want, "net-") && !strings.HasPrefix(got, "net-") {
			t.Errorf("%s is called %s, want %s", network, got, want)
		}
	}
}

// TestHostile checks that no name can break out of a comment or a log prefix.
func TestHostile(t *testing.T) {
	l := sample(t)
	l.Policy[0].Name = "a\" accept; }\n\\" + strings.Repeat("ä", 200)
	l.Policy[0].Path = "policy.\"x\""
	sets, err := nft.All(l)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sets {
		accepted(t, string(s.Render()))
	}
}

package dnsmasq_test

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/labctl-dev/labctl/guest/dnsmasq"
	"github.com/labctl-dev/labctl/internal/goldentest"
	"github.com/labctl-dev/labctl/lab"
)

// fixture is a lab of two routers in a row that serve everything there is to serve.
//
//	wan (uplink) - edge - perimeter (static, both families) - inner - staff (DHCP)
//	                                                                - lab6 (SLAAC)
func fixture() lab.Lab {
	nic := func(networks ...string) (out []lab.NIC) {
		for _, n := range networks {
			out = append(out, lab.NIC{Network: n})
		}
		return out
	}
	return lab.Arrange(lab.Lab{
		Name: "served", Domain: "served.lab",
		Networks: []lab.Network{
			{Name: "wan", Uplink: true, CIDR: netip.MustParsePrefix("192.0.2.0/24"), MTU: 1500},
			{Name: "perimeter", CIDR: netip.MustParsePrefix("10.10.0.0/23"), CIDR6: netip.MustParsePrefix("fd00:10::/64"), MTU: 1500},
			{Name: "staff", CIDR: netip.MustParsePrefix("10.20.0.0/24"), CIDR6: netip.MustParsePrefix("fd00:20::/64"), MTU: 1400, Assign: lab.DHCP,
				DHCP: &lab.Range{From: netip.MustParseAddr("10.20.0.200"), To: netip.MustParseAddr("10.20.0.220")}},
			{Name: "lab6", CIDR: netip.MustParsePrefix("10.30.0.0/25"), CIDR6: netip.MustParsePrefix("fd00:30::/64"), MTU: 1500, Assign: lab.SLAAC},
		},
		Machines: []lab.Machine{
			{Name: "edge", Router: true, NICs: nic("wan", "perimeter"), Routing: &lab.Routing{DNS: []string{"perimeter"}, DHCP: []string{"perimeter"}, NTP: []string{"perimeter"}}},
			{Name: "inner", Router: true, NICs: nic("perimeter", "staff", "lab6"), Routing: &lab.Routing{DNS: []string{"staff", "lab6"}, DHCP: []string{"staff", "lab6"}}},
			{Name: "web", NICs: nic("perimeter")},
			{Name: "desk", NICs: nic("staff")},
			{Name: "both", NICs: nic("perimeter", "staff")},
			{Name: "called", NICs: []lab.NIC{{Network: "staff", DUID: "00:01:00:01:2c:00:00:01:02:00:00:00:00:07"}}},
			{Name: "six", NICs: nic("lab6")},
		},
	})
}

// made is the configuration of a router of l; its records are in name order.
func made(t *testing.T, l lab.Lab, router string) (dnsmasq.Files, error) {
	t.Helper()
	m, ok := l.Machine(router)
	if !ok {
		t.Fatal(router)
	}
	in := dnsmasq.Input{Lab: l, Ways: lab.NewTopology(l), Router: m}
	for _, m := range l.Machines {
		for _, n := range m.NICs {
			for _, v6 := range []bool{false, true} {
				if a, ok := n.Address(v6); ok {
					in.Records = append(in.Records, dnsmasq.Record{Addr: a, Names: []string{l.FQDN(m.Name), m.Name}})
				}
			}
		}
	}
	return dnsmasq.New(in)
}

func TestGolden(t *testing.T) {
	for _, router := range []string{"edge", "inner"} {
		got, err := made(t, fixture(), router)
		if err != nil {
			t.Fatal(err)
		}
		for file, text := range map[string]string{"testdata/" + router + ".conf": got.Config, "testdata/" + router + ".hosts": got.Hosts} {
			goldentest.File(t, file, text)
		}
	}
}

// program is dnsmasq itself.
func program(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("dnsmasq")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return path
}

// TestAccepted has dnsmasq read what is written for it.
func TestAccepted(t *testing.T) {
	dnsmasqPath := program(t)
	narrow := fixture()
	for i := range narrow.Networks { // IPv6 alone, a single family each, and prefixes that end within an octet
		switch n := &narrow.Networks[i]; n.Name {
		case "staff":
			n.CIDR, n.CIDR6, n.DHCP = netip.MustParsePrefix("fd00:20::/64"), netip.Prefix{}, &lab.Range{From: netip.MustParseAddr("fd00:20::1000"), To: netip.MustParseAddr("fd00:20::2000")}
		case "lab6":
			n.CIDR, n.CIDR6, n.Assign = netip.MustParsePrefix("10.30.0.16/28"), netip.Prefix{}, lab.DHCP
		}
	}
	for i := range narrow.Machines {
		for j := range narrow.Machines[i].NICs {
			narrow.Machines[i].NICs[j].Addr, narrow.Machines[i].NICs[j].Addr6 = netip.Addr{}, netip.Addr{}
		}
	}
	isolated := fixture()
	isolated.Networks = isolated.Networks[:3]
	for i := range isolated.Machines {
		if m := &isolated.Machines[i]; m.Name == "edge" {
			m.NICs = m.NICs[1:]
		}
	}
	unnamed := fixture()
	unnamed.Domain = ""
	for name, l := range map[string]lab.Lab{"both families": fixture(), "one family": lab.Arrange(narrow), "isolated": isolated, "no domain": unnamed} {
		for _, router := range []string{"edge", "inner"} {
			got, err := made(t, l, router)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "conf")
			if err := os.WriteFile(file, []byte(got.Config), 0o644); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(dnsmasqPath, "--test", "--conf-file="+file).CombinedOutput(); err != nil {
				t.Errorf("%s, %s: %v: %s\n%s", name, router, err, out, got.Config)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	for want, change := range map[string]func(*lab.Lab, *lab.Routing){
		"routers.inner.dns: inner is not on network wan":                                                func(_ *lab.Lab, r *lab.Routing) { r.DNS = []string{"wan"} },
		"routers.inner.dhcp: perimeter is an uplink, where somebody else gives addresses":               func(l *lab.Lab, r *lab.Routing) { r.DHCP = []string{"perimeter"}; l.Networks[1].Uplink = true },
		"routers.inner.dhcp: network lab6: addresses of fd00:30::/60 cannot be given: it must be a /64": func(l *lab.Lab, _ *lab.Routing) { l.Networks[0].CIDR6 = netip.MustParsePrefix("fd00:30::/60") },
	} {
		l := fixture()
		for i := range l.Machines {
			if l.Machines[i].Name == "inner" {
				change(&l, l.Machines[i].Routing)
			}
		}
		if _, err := made(t, l, "inner"); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestResolvers asks who is asked.
func TestResolvers(t *testing.T) {
	ask := func(l lab.Lab, machine string) string {
		m, _ := l.Machine(machine)
		servers, over, own := dnsmasq.Resolvers(l, lab.NewTopology(l), m)
		words := []string{}
		for _, s := range servers {
			words = append(words, s.String())
		}
		if own {
			words = append(words, "DHCP")
		}
		return strings.TrimSpace(strings.Join(append(words, over), " "))
	}
	address := func(l lab.Lab, machine, network string) string {
		m, _ := l.Machine(machine)
		n, _ := m.NIC(network)
		return n.Addr.String()
	}
	plain := fixture()
	for machine, want := range map[string]string{
		"edge": "192.0.2.1 wan", "inner": "10.10.0.1 perimeter", "web": "10.10.0.1 perimeter",
		"desk": "10.20.0.1 staff", "both": "10.10.0.1 10.20.0.1 perimeter",
	} {
		if got := ask(plain, machine); got != want {
			t.Errorf("%s asks %q, want %q", machine, got, want)
		}
	}
	own := fixture() // a name server of the lab's own beside the routers'
	own.Implied = &lab.Implied{DNS: []string{"web"}}
	for i := range own.Machines {
		if own.Machines[i].Name == "edge" {
			own.Machines[i].Routing = &lab.Routing{}
		}
	}
	web := address(own, "web", "perimeter")
	for machine, want := range map[string]string{"edge": web + " perimeter", "inner": web + " perimeter", "web": "", "desk": web + " 10.20.0.1 staff"} {
		if got := ask(own, machine); got != want {
			t.Errorf("with a name server, %s asks %q, want %q", machine, got, want)
		}
	}
	ring := fixture() // each router answers on the other's network
	for i := range ring.Machines {
		switch m := &ring.Machines[i]; m.Name {
		case "inner":
			m.Routing.DNS = append(m.Routing.DNS, "perimeter")
		}
	}
	if got := ask(ring, "edge"); got != "192.0.2.1 wan" {
		t.Errorf("edge asks %q: a question could go round", got)
	}
	if got, want := ask(ring, "web"), "10.10.0.1 "+address(ring, "inner", "perimeter")+" perimeter"; got != want {
		t.Errorf("web asks %q, want %q", got, want)
	}
}

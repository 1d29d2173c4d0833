package reach

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/lab"
)

// TestRegressions asks the kernel everything about small labs, each of which stands for something that proof and
// kernel saw differently once, or that is easily seen wrongly.
func TestRegressions(t *testing.T) {
	need(t)
	for name, l := range map[string]lab.Lab{
		"deploy3": deploy3(),
		// A translation that changes nothing does not set the connection's status "dnat": the rule must not ask for it.
		"published to itself": changed(func(l *lab.Lab) {
			l.Machines[0].Routing.Publish = []lab.Publish{{Proto: lab.TCP, Port: 80, Machine: "r1", To: 80, Path: "p"}}
		}),
		// Linux takes IPv6 packets with one of its own addresses as source, and no such IPv4 packets.
		"own address as source": changed(func(l *lab.Lab) {
			l.Machines[3] = machine("web", "internal", "perimeter")
			l.Policy = append(l.Policy, ruled(3, "all", "any", "any", "any"))
		}),
		// The question goes over r1, the answer straight back: TCP stops there, UDP and ICMP do not.
		"answers take another way": changed(func(l *lab.Lab) {
			l.Machines[2] = machine("jumpbox", "wan", "perimeter")
			l.Machines[0].Routing.Masquerade = nil
			l.Policy = append(l.Policy, ruled(3, "all", "any", "any", "any"))
		}),
		"two routers in a ring": changed(func(l *lab.Lab) {
			r := machine("r3", "perimeter", "internal")
			r.Router = true
			l.Machines = append(l.Machines, r)
			l.Policy = append(l.Policy, ruled(3, "all", "any", "any", "tcp/80", "udp", "icmp"))
		}),
		"hidden twice": changed(func(l *lab.Lab) {
			l.Machines[1].Routing.Masquerade, l.Machines[1].Routing.Masquerade6 = []string{"perimeter"}, []string{"perimeter"}
		}),
		"published through two routers": relayed(),
		"addresses by DHCP": changed(func(l *lab.Lab) {
			l.Networks[0].CIDR, l.Machines[0].NICs[0].Addr = netip.Prefix{}, netip.Addr{}
		}),
		"a world that knows the way": changed(func(l *lab.Lab) {
			l.Networks[0].CIDR6, l.Networks[0].Routed = netip.MustParsePrefix("fd00:7::/64"), true
			l.Machines[0].Routing.Masquerade = nil
		}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := prove(t, l)
			asked, open := compare(t, "g"+strings.ReplaceAll(name, " ", ""), p, p.sets, 600)
			t.Logf("%d packets, %d of them expected to open something", asked, open)
		})
	}
}

// TestReplaced changes a router's rules while connections through it are open, translated ones among them: they live
// on, a connection that is not allowed any more cannot be opened anew, and one that is allowed now can.
func TestReplaced(t *testing.T) {
	need(t)
	p := prove(t, changed(func(l *lab.Lab) { l.Policy[1] = ruled(1, "updates", "internal", "world", "tcp/80") }))
	k, err := build(t, "replaced", p, p.sets, []foreign{{name: "world"}})
	if err != nil {
		t.Fatal(err)
	}
	world, jump := worlds[0], p.nodes["web"].local[0].from.addr()
	out, in := k.dial(t, "web", world, 80), k.dial(t, "jumpbox", jump, 22)
	after := prove(t, changed(func(l *lab.Lab) { l.Policy = []lab.Rule{ruled(0, "other", "internal", "world", "tcp/9")} }))
	for _, r := range []string{"r1", "r2"} {
		if err := k.load(r, after.sets[r]); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]net.Conn{"web to the world": out, "jumpbox to web": in} {
		_ = c.SetDeadline(time.Now().Add(3 * time.Second))
		if _, err := fmt.Fprint(c, "?"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if b, err := io.ReadAll(c); err != nil || len(b) == 0 {
			t.Errorf("%s: the open connection is dead: %q, %v", name, b, err)
		}
	}
	for port, want := range map[uint16]string{80: "", 9: "world"} {
		wait := 300 * time.Millisecond
		if want != "" {
			wait = 3 * time.Second
		}
		if who, err := k.ask("web", Packet{Dst: world, Proto: "tcp", Dport: port}, "", wait); err != nil || who != want {
			t.Errorf("a new connection to tcp/%d: %q answers (%v), want %q", port, who, err, want)
		}
	}
}

func (k *kernel) dial(t *testing.T, space string, dst netip.Addr, port uint16) net.Conn {
	t.Helper()
	var c net.Conn
	err := k.inside(space, func() (err error) {
		c, err = net.DialTimeout("tcp", netip.AddrPortFrom(dst, port).String(), 3*time.Second)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestForeignTables checks that loading a ruleset leaves other tables of the machine alone.
func TestForeignTables(t *testing.T) {
	need(t)
	p := prove(t, deploy3())
	k, err := build(t, "tables", p, map[string]nft.Ruleset{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		b, err := command(append([]string{"ip", "netns", "exec", k.prefix + "r1", "nft"}, args...)...)
		if err != nil {
			t.Fatalf("%v: %s", err, b)
		}
		return b
	}
	run("add table inet mine")
	for range 2 {
		if err := k.load("r1", p.sets["r1"]); err != nil {
			t.Fatal(err)
		}
	}
	if got := run("list", "tables"); !strings.Contains(got, "inet mine") || strings.Count(got, "inet "+nft.Table) != 1 {
		t.Errorf("tables are %q", got)
	}
}

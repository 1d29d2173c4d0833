package reach

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/lab"
)

// told is a difference, one line for each passage.
func told(d Difference) string {
	var b strings.Builder
	for _, side := range []struct {
		sign string
		all  []Passage
	}{{"+", d.Opens}, {"-", d.Closes}} {
		for _, p := range side.all {
			fmt.Fprintf(&b, "%s %s: %s to %s", side.sign, strings.Join(p.Services, " "), parties(p.From), parties(p.To))
			if p.Family != "" {
				b.WriteString(" " + p.Family)
			}
			if p.Unusual {
				b.WriteString(" unusual")
			}
			for _, o := range p.By {
				b.WriteString(" by " + o.Name)
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

func parties(all []Party) string {
	var out []string
	for _, p := range all {
		out = append(out, p.String())
	}
	return strings.Join(out, ",")
}

func TestCompare(t *testing.T) {
	for _, c := range []struct {
		name, want string
		change     func(*lab.Lab)
	}{
		{"nothing", "", func(*lab.Lab) {}},
		{"text only", "", func(l *lab.Lab) { l.Policy[0], l.Policy[1] = l.Policy[1], l.Policy[0] }},
		{"a rule from a network", "+ tcp/3306: perimeter to db by new\n", func(l *lab.Lab) {
			l.Policy = append(l.Policy, ruled(3, "new", "perimeter", "db", "tcp/3306"))
		}},
		{"part of what is open already", "+ tcp/20-21 tcp/23-30: jumpbox to internal by new\n", func(l *lab.Lab) {
			l.Policy = append(l.Policy, ruled(3, "new", "jumpbox", "internal", "tcp/20-30"))
		}},
		{"a published port", "+ tcp/22: world to jumpbox IPv4 by tcp/2222 of r1 to jumpbox:22\n", func(l *lab.Lab) {
			r := l.Machines[0].Routing
			r.Publish = append(r.Publish, lab.Publish{Proto: lab.TCP, Port: 2222, Machine: "jumpbox", To: 22, Path: "routers.r1.publish.tcp/2222"})
		}},
		{"the other side knows the way", "", func(l *lab.Lab) { l.Networks[0].Routed = true }},
		{"a firewall less", "+ any: other hosts on internal,r2 to db\n+ tcp/1-3305 tcp/3307-65535 udp icmp other protocols: web to db\n", func(l *lab.Lab) { l.Machines[4].Firewall = false }},
		{"another machine", "+ any: db,other hosts on internal,r2,web to extra\n+ any: extra to other hosts on internal,web\n" +
			"+ tcp/80 tcp/443: extra to world IPv4 by updates\n+ tcp/22 icmp: jumpbox to extra by admin\n", func(l *lab.Lab) { l.Machines = append(l.Machines, machine("extra", "internal")) }},
		{"one family only", "- any: db,r2,web to other hosts on internal IPv6\n- tcp/22 icmp: jumpbox to internal IPv6 by admin\n- tcp/3306: web to db IPv6 by sql\n", func(l *lab.Lab) { l.Networks[2].CIDR6 = netip.Prefix{} }},
		{"a rule less", "- tcp/22 icmp: jumpbox to internal by admin\n", func(l *lab.Lab) { l.Policy = l.Policy[1:] }},
	} {
		before, after := prove(t, deploy3()), prove(t, changed(c.change))
		if diff := cmp.Diff(c.want, told(Compare(before, after))); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
		back := Compare(after, before)
		forth := Compare(before, after)
		if diff := cmp.Diff(Difference{forth.Closes, forth.Opens}, back); diff != "" {
			t.Errorf("%s, backwards: %s", c.name, diff)
		}
	}
}

package reach

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/lab"
)

// gateRule is one written short: "in 900 deny tcp/22 from 10.0.0.0/8 to 10.20.0.10/32 at web".
func gateRule(text string) lab.FilterRule {
	words := strings.Fields(text)
	r := lab.FilterRule{Name: text, Network: "internal", Egress: words[0] == "out", Deny: words[2] == "deny"}
	if _, err := fmt.Sscan(words[1], &r.Priority); err != nil {
		panic(err)
	}
	r.Services = []lab.Service{serviceOf(words[3])}
	for i := 4; i < len(words); i += 2 {
		switch words[i] {
		case "from":
			r.From = append(r.From, netip.MustParsePrefix(words[i+1]))
		case "to":
			r.To = append(r.To, netip.MustParsePrefix(words[i+1]))
		case "at":
			r.Machines = append(r.Machines, words[i+1])
		}
	}
	return r
}

// TestGate asks about web's port 80, which r1 publishes and deploy3's policy opens to nobody else, and its neighbour's ssh.
func TestGate(t *testing.T) {
	for _, c := range []struct {
		rules    []string
		from, to string
		service  string
		want     string // the rule that stops it; "" if a connection comes of it
	}{
		{nil, "world", "web", "tcp/80", "nothing else comes in from internal"},
		{[]string{"in 1000 allow any"}, "world", "web", "tcp/80", ""},
		{[]string{"in 1000 allow tcp/80 to 10.20.0.10/32"}, "world", "web", "tcp/80", ""},
		{[]string{"in 1000 allow tcp/81"}, "world", "web", "tcp/80", "nothing else comes in from internal"},
		{[]string{"in 1000 allow udp/80"}, "world", "web", "tcp/80", "nothing else comes in from internal"},
		{[]string{"in 1000 allow any from 10.20.0.0/24"}, "world", "web", "tcp/80", "nothing else comes in from internal"},
		{[]string{"in 1000 allow any from 10.0.0.0/8"}, "jumpbox", "web", "tcp/22", ""},
		// The lowest priority decides, and among equals who denies.
		{[]string{"in 1000 allow any", "in 900 deny tcp/80"}, "world", "web", "tcp/80", "in 900 deny tcp/80"},
		{[]string{"in 1000 deny any", "in 900 allow tcp/80"}, "world", "web", "tcp/80", ""},
		{[]string{"in 1000 allow any", "in 1000 deny tcp/80"}, "world", "web", "tcp/80", "in 1000 deny tcp/80"},
		{[]string{"in 1000 deny tcp/80 from 10.0.0.0/8", "in 1000 allow any"}, "world", "web", "tcp/80", ""},
		// Rules for some machines only.
		{[]string{"in 1000 allow any", "in 900 deny any at db"}, "world", "web", "tcp/80", ""},
		{[]string{"in 1000 allow any", "in 900 deny any at web"}, "world", "web", "tcp/80", "in 900 deny any at web"},
		{[]string{"in 1000 allow any at db"}, "world", "web", "tcp/80", "nothing else comes in from internal"},
		// Neighbours are filtered as well.
		{[]string{"in 1000 allow tcp/80"}, "web", "db", "tcp/3306", "nothing else comes in from internal"},
		{[]string{"in 1000 allow tcp/3306"}, "web", "db", "tcp/3306", ""},
		// What goes out is let through unless a rule says no; answers always are.
		{[]string{"in 1000 allow any", "out 900 deny tcp/3306"}, "web", "db", "tcp/3306", "out 900 deny tcp/3306"},
		{[]string{"in 1000 allow any", "out 900 deny any at db"}, "web", "db", "tcp/3306", ""},
		{[]string{"in 1000 allow any", "out 900 deny any", "out 800 allow tcp/3306"}, "web", "db", "tcp/3306", ""},
		{[]string{"in 1000 allow tcp/443 at r2"}, "web", "world", "tcp/443", ""},
		{[]string{"in 1000 allow tcp/443 at db"}, "web", "world", "tcp/443", "nothing else comes in from internal"}, // to r2
	} {
		t.Run(strings.Join(c.rules, ", ")+" "+c.from+" "+c.to, func(t *testing.T) {
			var rules []lab.FilterRule
			for _, r := range c.rules {
				rules = append(rules, gateRule(r))
			}
			p, err := Behind(lab.Arrange(deploy3()), lab.Filter{Networks: []string{"internal"}, Rules: rules})
			if err != nil {
				t.Fatal(err)
			}
			all, err := p.Query(c.from, c.to, serviceOf(c.service))
			if err != nil {
				t.Fatal(err)
			}
			got := "no way"
			for _, v := range all {
				if v.Usual && v.Packet.Src.Is4() {
					got = v.Decision.Origin.Name
					if v.Allowed {
						got = ""
						break
					}
				}
			}
			if got != c.want {
				t.Errorf("stopped by %q, not %q", got, c.want)
			}
		})
	}
}

// open is what lets through deploy3's own ways, and nothing else, on internal.
func open() []lab.FilterRule {
	var out []lab.FilterRule
	for _, text := range []string{
		"in 1000 allow any from 10.20.0.0/24", "in 1000 allow tcp/22 from 10.10.0.254/32 from 192.168.7.1/32",
		"in 1000 allow tcp/22 from 10.10.0.2/32 to 10.20.0.0/24", "in 1000 allow icmp from 10.10.0.2/32 to 10.20.0.0/24",
		"in 1000 allow tcp/80 from 8.0.0.0/8 to 10.20.0.10/32",
	} {
		out = append(out, gateRule(text))
	}
	return out
}

// TestVetBehind: what a host's filter changes is said, by the names of its rules.
func TestVetBehind(t *testing.T) {
	l := deploy3()
	l.Machines[2].NICs[0].Addr = netip.MustParseAddr("10.10.0.2") // jumpbox
	l.Machines[1].NICs[0].Addr = netip.MustParseAddr("10.10.0.3")
	l.Expect = []lab.Expectation{{From: []string{"jumpbox"}, On: []string{"db"}, Services: []lab.Service{serviceOf("icmp")}, Path: "expect.0"}}
	l = lab.Arrange(l)
	for _, c := range []struct {
		name   string
		change func([]lab.FilterRule) []lab.FilterRule
		want   []string // what the findings say
	}{
		{"nothing", func(r []lab.FilterRule) []lab.FilterRule { return r }, nil},
		{"an expectation", func(r []lab.FilterRule) []lab.FilterRule { return append(r, gateRule("in 900 deny icmp at db")) },
			[]string{"expect.0 error in 900 deny icmp at db"}},
		{"what the policy opens", func(r []lab.FilterRule) []lab.FilterRule { return append(r, gateRule("in 900 deny tcp/3306")) },
			[]string{"policy error in 900 deny tcp/3306", "policy.2 error in 900 deny tcp/3306"}},
		{"what is published", func(r []lab.FilterRule) []lab.FilterRule { return slices.Delete(r, 4, 5) },
			[]string{"routers.r1.publish.tcp/8080 error nothing else comes in from internal"}},
		{"more than the router", func(r []lab.FilterRule) []lab.FilterRule {
			return append(r, gateRule("in 1000 allow tcp/5432 from 10.10.0.0/24"))
		},
			[]string{"networks.internal warning in 1000 allow tcp/5432"}},
		{"more, for one machine", func(r []lab.FilterRule) []lab.FilterRule { return append(r, gateRule("in 1000 allow any at web")) },
			[]string{"networks.internal warning in 1000 allow any at web"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			found, err := VetBehind(l, lab.Filter{Networks: []string{"internal"}, Rules: c.change(open())})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for i, f := range found {
				says := f.Text
				if i < len(c.want) {
					if name := strings.SplitN(c.want[i], " ", 3)[2]; strings.Contains(f.Text, name) {
						says = name
					}
				}
				got = append(got, fmt.Sprintf("%s %s %s", f.Path, f.Severity, says))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s", diff)
			}
		})
	}
}

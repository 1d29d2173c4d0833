package live_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/check/live"
	"github.com/labctl-dev/labctl/check/reach"
	"github.com/labctl-dev/labctl/internal/goldentest"
	"github.com/labctl-dev/labctl/lab"
)

// deploy3 is like the mission's third deployment, with an uplink whose addresses nobody knows.
func deploy3(t testing.TB) lab.Lab {
	t.Helper()
	prefix := netip.MustParsePrefix
	l := lab.Lab{
		Name: "deploy3", Domain: "deploy3.lab",
		Networks: []lab.Network{
			{Name: "wan", Uplink: true},
			{Name: "perimeter", CIDR: prefix("10.10.0.0/24"), CIDR6: prefix("fd00:10::/64")},
			{Name: "internal", CIDR: prefix("10.20.0.0/24"), CIDR6: prefix("fd00:20::/64")},
		},
		Machines: []lab.Machine{
			machine("edge", "wan", "perimeter"), machine("inner", "perimeter", "internal"),
			machine("jumpbox", "perimeter"), machine("probe", "internal"), machine("spare", "internal"),
		},
		Policy: []lab.Rule{
			{Name: "admin", From: []string{"jumpbox"}, To: []string{"internal"}, Path: "policy.admin",
				Allow: []lab.Service{{Proto: lab.TCP, From: 22, To: 22}, {Proto: lab.ICMP}}},
			{Name: "pool", From: []string{"probe"}, To: []string{"perimeter"}, Path: "policy.pool",
				Allow: []lab.Service{{Proto: lab.UDP, From: 6000, To: 6100}}},
		},
		Checks: []lab.Check{
			{Name: "login", From: "jumpbox", TCP: &lab.TCPCheck{To: "probe", Port: 22}},
			{Name: "names", From: "probe", DNS: &lab.DNSCheck{Name: "jumpbox", Type: "A"}},
			{Name: "self", From: "jumpbox", TCP: &lab.TCPCheck{To: "jumpbox", Port: 22}},
			{Name: "spare", From: "spare", Command: &lab.CommandCheck{Run: "true"}},
		},
	}
	for i := range l.Machines[:2] {
		l.Machines[i].Router, l.Machines[i].Routing = true, &lab.Routing{}
	}
	l.Machines[0].Routing.Masquerade = []string{"wan"}
	l.Machines[0].Routing.Publish = []lab.Publish{{Network: "perimeter", Proto: lab.TCP, Port: 8080, Machine: "probe", To: 80}}
	l.Machines[4].Power = lab.Off
	return lab.Arrange(l)
}

func machine(name string, networks ...string) lab.Machine {
	m := lab.Machine{Name: name, Power: lab.On}
	for _, n := range networks {
		m.NICs = append(m.NICs, lab.NIC{Network: n, Link: lab.Up})
	}
	return m
}

func questions(t testing.TB, l lab.Lab, s live.Scope) live.Set {
	t.Helper()
	p, err := reach.Prove(l)
	if err != nil {
		t.Fatal(err)
	}
	set, err := live.Questions(l, p, s)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// TestQuestions compares what is asked of a lab with a golden file.
func TestQuestions(t *testing.T) {
	set := questions(t, deploy3(t), live.Scope{})
	var b strings.Builder
	fmt.Fprintf(&b, "services %v\noff %v, world %d, undecided %d\n", set.Services, set.Off, set.World, set.Undecided)
	for _, q := range set.Questions {
		says := "blocked"
		if q.Open {
			says = fmt.Sprintf("open, %s answers at %d", q.By, q.Port)
		}
		fmt.Fprintf(&b, "%s > %s on %s: %s: %s, %s; path %v, judges %v, stand-in %v\n", q.From, q.To, q.Network, q.Packet, says, q.Decision, q.Path, q.Judges, q.StandIn)
	}
	golden(t, "questions", b.String())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	goldentest.File(t, filepath.Join("testdata", name+".golden"), got)
}

// TestComplete: every pair of machines that are on, every address and every declared service are asked once.
func TestComplete(t *testing.T) {
	l := deploy3(t)
	set := questions(t, l, live.Scope{})
	seen := map[string]int{}
	for _, q := range set.Questions {
		seen[fmt.Sprint(q.From, " ", q.Packet.Dst, " ", q.Packet.Proto, "/", q.Packet.Dport)]++
	}
	for _, from := range []string{"edge", "inner", "jumpbox", "probe"} {
		for _, to := range []string{"edge", "inner", "jumpbox", "probe"} {
			m, _ := l.Machine(to)
			for _, nic := range m.NICs {
				for _, a := range []netip.Addr{nic.Addr, nic.Addr6} {
					for _, s := range []string{"icmp/0", "tcp/22", "tcp/80", "tcp/8080", "udp/6000", "udp/6050", "udp/6100"} {
						want := 1
						if from == to || !a.IsValid() {
							want = 0
						}
						if got := seen[fmt.Sprint(from, " ", a, " ", s)]; got != want {
							t.Errorf("%s is asked %d times by %s for %s at %v", to, got, from, s, a)
						}
					}
				}
			}
		}
	}
	for k, n := range seen {
		if n != 1 || strings.Contains(k, "spare") {
			t.Errorf("%s is asked %d times", k, n)
		}
	}
	again := questions(t, l, live.Scope{})
	if diff := cmp.Diff(set, again, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("asked twice:\n%s", diff)
	}
}

func TestScope(t *testing.T) {
	l := deploy3(t)
	ends := func(s live.Scope) (from, to []string) {
		for _, q := range questions(t, l, s).Questions {
			from, to = append(from, q.From), append(to, q.To)
		}
		slices.Sort(from)
		slices.Sort(to)
		return slices.Compact(from), slices.Compact(to)
	}
	for _, c := range []struct {
		name     string
		scope    live.Scope
		from, to []string
	}{
		{"from", live.Scope{From: "edge"}, []string{"edge"}, []string{"inner", "jumpbox", "probe"}},
		{"to", live.Scope{To: "edge"}, []string{"inner", "jumpbox", "probe"}, []string{"edge"}},
		{"off", live.Scope{To: "spare"}, nil, nil},
		{"among", live.Scope{Among: []string{"edge", "probe"}}, []string{"edge", "probe"}, []string{"edge", "probe"}},
		{"nothing changed", live.Scope{About: []string{}}, nil, nil},
		{"end changed", live.Scope{About: []string{"jumpbox"}}, []string{"edge", "inner", "jumpbox", "probe"}, []string{"edge", "inner", "jumpbox", "probe"}},
	} {
		from, to := ends(c.scope)
		if !slices.Equal(from, c.from) || !slices.Equal(to, c.to) {
			t.Errorf("%s: from %v to %v, want from %v to %v", c.name, from, to, c.from, c.to)
		}
	}
	for _, q := range questions(t, l, live.Scope{About: []string{"inner"}}).Questions {
		if q.From != "inner" && q.To != "inner" && !slices.Contains(q.Judges, "inner") {
			t.Errorf("%s > %s %s does not lead over inner", q.From, q.To, q.Packet)
		}
	}
	if n := len(questions(t, l, live.Scope{From: "jumpbox", To: "probe", About: []string{"inner"}}).Questions); n == 0 {
		t.Error("the way from jumpbox to probe leads over inner")
	}
	if n := len(questions(t, l, live.Scope{From: "jumpbox", To: "edge", About: []string{"inner"}}).Questions); n == 0 {
		t.Log("nothing between jumpbox and edge leads over inner") // but edge publishes what is behind it
	}
}

func TestChecks(t *testing.T) {
	l := deploy3(t)
	for _, c := range []struct {
		name  string
		scope live.Scope
		want  string
	}{
		{"all but of what is off", live.Scope{}, "login names self"},
		{"from", live.Scope{From: "probe"}, "names"},
		{"to", live.Scope{To: "probe"}, "login"},
		{"what it asks changed", live.Scope{About: []string{"probe"}}, "login names"},
		{"a router between changed", live.Scope{About: []string{"inner"}}, "login names self"},
		{"no router between, but one to anywhere", live.Scope{About: []string{"edge"}}, "names self"},
		{"nothing changed", live.Scope{About: []string{}}, ""},
		{"not made yet", live.Scope{Among: []string{"jumpbox"}}, "self"},
	} {
		var got []string
		for _, x := range live.Checks(l, c.scope) {
			got = append(got, x.Name)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, want %s", c.name, got, c.want)
		}
	}
}

func TestListeners(t *testing.T) {
	l := deploy3(t)
	set := questions(t, l, live.Scope{From: "jumpbox", To: "edge"})
	// edge publishes what probe listens on: it must listen even where nobody asks it by itself.
	var got []string
	for _, s := range live.Listeners(l, set, "probe") {
		got = append(got, s.String())
	}
	if want := []string{"tcp/80"}; !slices.Equal(got, want) {
		t.Errorf("probe listens on %v, want %v", got, want)
	}
	if all := live.Listeners(l, set, "inner"); all != nil {
		t.Errorf("inner listens on %v, and nobody asks it", all)
	}
}

func TestCompare(t *testing.T) {
	src, other := netip.MustParseAddr("10.10.0.5"), netip.MustParseAddr("10.10.0.6")
	open := live.Question{From: "a", To: "b", By: "b", Open: true}
	open.Packet.Src = src
	shut := live.Question{From: "a", To: "b"}
	shut.Packet.Src = src
	mute := live.Question{From: "a", To: "b"}
	for _, c := range []struct {
		name   string
		q      live.Question
		a      live.Answer
		want   live.Kind
		detail string
	}{
		{"open", open, live.Answer{State: live.Opened, Source: src, By: "b"}, live.Agrees, ""},
		{"a service that does not say who it is", open, live.Answer{State: live.Opened, Source: src}, live.Agrees, ""},
		{"blocked", shut, live.Answer{State: live.Stopped, Source: src}, live.Agrees, ""},
		{"shut too much", open, live.Answer{State: live.Stopped, Source: src}, live.Blocked, ""},
		{"leak", shut, live.Answer{State: live.Opened, Source: src, By: "b"}, live.Open, ""},
		{"leak from an address that nobody knows", shut, live.Answer{State: live.Opened, Source: other}, live.Open, ""},
		{"leak without a proven address", mute, live.Answer{State: live.Opened, Source: other}, live.Open, ""},
		{"no way, as proven", mute, live.Answer{State: live.Stopped}, live.Agrees, ""},
		{"another machine", open, live.Answer{State: live.Opened, Source: src, By: "c"}, live.Elsewhere, ""},
		{"another source", open, live.Answer{State: live.Opened, Source: other, By: "b"}, live.Unanswered, "it was open from 10.10.0.6, but the proof is about 10.10.0.5, which a should have chosen"},
		{"blocked from another source", shut, live.Answer{State: live.Stopped, Source: other}, live.Unanswered, "it was blocked from 10.10.0.6, but the proof is about 10.10.0.5, which a should have chosen"},
		{"an address that should not be", mute, live.Answer{State: live.Stopped, Source: other}, live.Unanswered, "it was blocked from 10.10.0.6, but the proof knows no such address of a"},
		{"says nothing", open, live.Answer{State: live.Exempt, Detail: "held"}, live.Exempted, "held"},
		{"not asked", shut, live.Answer{State: live.Unasked, Detail: "b is off"}, live.Unanswered, "b is off"},
		{"forgotten", shut, live.Answer{}, live.Unanswered, "nobody asked"},
	} {
		v := live.Compare(live.Set{Questions: []live.Question{c.q}}, []live.Answer{c.a})[0]
		if v.Kind != c.want || v.Answer.Detail != c.detail {
			t.Errorf("%s: %s, %q; want %s, %q", c.name, v.Kind, v.Answer.Detail, c.want, c.detail)
		}
	}
	if v := live.Compare(live.Set{Questions: []live.Question{shut}}, nil); v[0].Kind != live.Unanswered {
		t.Errorf("without answers: %s", v[0].Kind)
	}
}

func TestPairs(t *testing.T) {
	v := func(from string, k live.Kind) live.Verdict {
		return live.Verdict{Question: live.Question{From: from, To: "z"}, Kind: k}
	}
	got := live.Pairs([]live.Verdict{v("a", live.Agrees), v("a", live.Open), v("b", live.Exempted), v("b", live.Unanswered), v("a", live.Agrees)})
	want := []live.Pair{{From: "a", To: "z", Questions: 3, Agree: 2, Failed: 1}, {From: "b", To: "z", Questions: 2, Exempt: 1, Failed: 1}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestJSON: verdicts survive being JSON.
func TestJSON(t *testing.T) {
	set := questions(t, deploy3(t), live.Scope{From: "jumpbox", To: "probe"})
	b, err := json.Marshal(live.Compare(set, nil))
	if err != nil {
		t.Fatal(err)
	}
	var back []live.Verdict
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if len(back) != len(set.Questions) || back[0].Packet != set.Questions[0].Packet || back[0].Kind != live.Unanswered {
		t.Errorf("%+v", back[0])
	}
}

// BenchmarkQuestions is what a lab of 40 machines costs before anything is asked.
func BenchmarkQuestions(b *testing.B) {
	l := deploy3(b)
	for i := range 36 {
		l.Machines = append(l.Machines, machine(fmt.Sprintf("m%02d", i), []string{"perimeter", "internal"}[i%2]))
	}
	l = lab.Arrange(l)
	n := 0
	for b.Loop() {
		n = len(questions(b, l, live.Scope{}).Questions)
	}
	b.ReportMetric(float64(n), "questions")
}

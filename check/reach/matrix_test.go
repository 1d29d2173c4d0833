package reach

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/lab"
)

func TestMatrix(t *testing.T) {
	m := prove(t, deploy3()).Matrix()
	var names []string
	for _, g := range m.Groups {
		names = append(names, g.Name)
	}
	if diff := cmp.Diff([]string{"db", "jumpbox", "r1", "r2", "web", "world"}, names); diff != "" {
		t.Fatal(diff)
	}
	got := map[string]string{}
	for i, from := range names {
		for j, to := range names {
			if i != j && len(m.Cells[i][j]) > 0 {
				got[from+" "+to] = strings.Join(m.Cells[i][j], ",")
			}
		}
	}
	want := map[string]string{
		"db web": "any", "db world": "tcp/80,tcp/443", "jumpbox db": "tcp/22,icmp", "jumpbox web": "tcp/22,icmp",
		"jumpbox r2": "tcp/22,icmp", "r1 jumpbox": "any", "r1 world": "any", "r2 jumpbox": "any",
		"r2 web": "any", "web db": "tcp/3306", "web world": "tcp/80,tcp/443",
		"world web": "tcp/80",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestKinds asks everybody in random labs, and holds that machines of one kind are answered alike.
func TestKinds(t *testing.T) {
	groups, pairs := 0, 0
	for seed := uint64(1); seed <= 60; seed++ {
		l := crowded(seed)
		p, err := Prove(l)
		if err != nil {
			t.Fatal(err)
		}
		m := p.Matrix()
		for i, from := range m.Groups {
			groups += rank(len(from.Machines) > 1)
			for j, to := range m.Groups {
				for _, a := range from.members() {
					for _, b := range to.members() {
						if a == b {
							continue
						}
						pairs++
						if got := p.opens(a, b); !slices.Equal(got, m.Cells[i][j]) {
							t.Errorf("seed %d: %s opens %v on %s, and %v stand for %s and %s", seed, a, got, b, m.Cells[i][j], from.Name, to.Name)
						}
					}
				}
			}
		}
	}
	if groups < 50 {
		t.Errorf("only %d groups have several machines", groups)
	}
	t.Logf("%d groups of several, %d pairs", groups, pairs)
}

func (g Group) members() []string {
	if len(g.Machines) == 0 {
		return []string{g.Name}
	}
	return g.Machines
}

// crowded is a random lab in which every host has a double.
func crowded(seed uint64) lab.Lab {
	l := random(seed)
	for i := range l.Machines {
		if m := l.Machines[i]; !m.Router {
			double := lab.Machine{Name: m.Name + "b", Groups: m.Groups, Firewall: m.Firewall}
			for _, nic := range m.NICs {
				double.NICs = append(double.NICs, lab.NIC{Network: nic.Network, Link: lab.Up})
			}
			l.Machines = append(l.Machines, double)
		}
	}
	return lab.Arrange(l)
}

func TestAsk(t *testing.T) {
	p := prove(t, deploy3())
	for _, tt := range []struct {
		from, to, service string
		state             State
		want              string // the first way
	}{
		{"jumpbox", "web", "tcp/22", Open, "gets through"},
		{"web", "jumpbox", "tcp/22", Blocked, "is stopped"},
		{"jumpbox", "web", "tcp", Partly, "gets through"},
		{"world", "web", "tcp/80", Open, "gets through"},
		{"world", "r1", "tcp/22", Blocked, "is stopped"}, // but for labctl
		{"world", "db", "any", Blocked, "is stopped"},
		{"db", "world", "tcp/443", Open, "gets through"},
	} {
		a, err := p.Ask(tt.from, tt.to, []lab.Service{serviceOf(tt.service)})
		if err != nil {
			t.Fatal(err)
		}
		if len(a.Ways) == 0 || a.State != tt.state || !strings.Contains(a.Ways[0].explain(), tt.want) {
			t.Errorf("%s %s on %s: %s, %v", tt.from, tt.service, tt.to, a.State, a.Ways)
		}
		seen := map[string]bool{}
		for _, v := range a.Ways {
			k := fmt.Sprint(v.Allowed, v.Lost, v.Usual, v.Packet.Src, v.Packet.Dst, v.Packet.Proto, v.Decision, v.Path, v.Back)
			if seen[k] {
				t.Errorf("%s %s on %s: two ways are the same: %v", tt.from, tt.service, tt.to, v)
			}
			seen[k] = true
		}
	}
	if _, err := p.Ask("web", "nobody", []lab.Service{serviceOf("icmp")}); err == nil {
		t.Error("nobody was found")
	}
}

// TestExpectAlike asks every pair by itself, and holds that Expect counts as many that are broken.
func TestExpectAlike(t *testing.T) {
	for seed := uint64(1); seed <= 25; seed++ {
		p, err := Prove(crowded(seed))
		if err != nil {
			t.Fatal(err)
		}
		for _, never := range []bool{true, false} {
			e := lab.Expectation{From: []string{"any"}, Never: never, Services: []lab.Service{serviceOf("tcp/22")}, On: []string{"any"}}
			broken, err := p.Expect(e)
			if err != nil {
				t.Fatal(err)
			}
			got, want := len(broken), 0
			for _, b := range broken {
				got += b.Like
			}
			from, _ := p.everybody(e.From, never, true)
			on, _ := p.everybody(e.On, never, never)
			for _, a := range from {
				for _, b := range on {
					if a == b {
						continue
					}
					all, err := p.Query(a, b, e.Services[0])
					if err != nil {
						t.Fatal(err)
					}
					if _, ok := breach(all, never, p.nodes[a] == nil, e.Services[0]); ok {
						want++
					}
				}
			}
			if got != want {
				t.Errorf("seed %d, never %v: %d are broken, %d one by one", seed, never, got, want)
			}
		}
	}
}

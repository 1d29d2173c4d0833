package reach

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/lab"
)

// walled is a crowded lab in which most hosts have filters of their own, and some of the doubles do not.
func walled(seed uint64) lab.Lab {
	l := crowded(seed)
	for i := range l.Machines {
		if m := &l.Machines[i]; !m.Router {
			m.Firewall = (uint64(i)+seed)%5 != 0
		}
	}
	return l
}

// TestUselessAlike asks every pair of every rule by itself, and holds that the kinds that useless asks come to the same.
func TestUselessAlike(t *testing.T) {
	type result struct{ Open, Lost, Wayless, Why bool }
	seen, saved := map[result]int{}, 0
	for seed := uint64(1); seed <= 150; seed++ {
		l := crowded(seed)
		if seed%3 > 0 {
			l = walled(seed)
		}
		p, err := Prove(l)
		if err != nil {
			t.Fatal(err)
		}
		twins := p.twins()
		for _, r := range l.Policy {
			from, _ := p.everybody(r.From, true, true)
			to, _ := p.everybody(r.To, true, true)
			some, all := p.tried(r, p.alike(from, nil), p.alike(to, twins)), p.tried(r, alone(from), alone(to))
			got := result{some.open, some.lost != "", some.wayless != "", some.why != ""}
			want := result{all.open, all.lost != "", all.wayless != "", all.why != ""}
			saved += len(to) - len(p.alike(to, twins))
			seen[want]++
			if some.open {
				got.Why, want.Why = false, false // an example of what is not open; nobody is told
			}
			if got != want {
				t.Errorf("seed %d, %s from %v to %v: %+v, one by one %+v\n%+v\n%+v", seed, r.Name, r.From, r.To, got, want, some, all)
			}
		}
	}
	if len(seen) < 4 || saved < 300 {
		t.Errorf("too little was tried: %v, %d not asked", seen, saved)
	}
	t.Logf("%v, %d not asked", seen, saved)
}

func alone(names []string) [][]string {
	var out [][]string
	for _, n := range names {
		out = append(out, []string{n})
	}
	return out
}

// TestShadowedAlike holds that looking at one of twins finds what looking at all does.
func TestShadowedAlike(t *testing.T) {
	found := 0
	for seed := uint64(1); seed <= 150; seed++ {
		p, err := Prove(walled(seed))
		if err != nil {
			t.Fatal(err)
		}
		all := p.shadowed(nil)
		found += len(all)
		if diff := cmp.Diff(all, p.shadowed(p.twins())); diff != "" {
			t.Errorf("seed %d: %s", seed, diff)
		}
	}
	if found < 4 {
		t.Errorf("only %d were found", found)
	}
}

// TestTwins says who is whose twin, with rules among the twins themselves.
func TestTwins(t *testing.T) {
	l := walls(8, 3)
	l.Policy = append(l.Policy, ruled(3, "peers", "as", "as", "tcp/9"))
	if got := firsts(prove(t, l)); !slices.Equal(got, []string{"a0", "b0"}) {
		t.Errorf("with rules by groups: %v", got)
	}
	l.Policy = append(l.Policy, ruled(4, "one", "a2", "as", "tcp/10"))
	if got := firsts(prove(t, l)); !slices.Equal(got, []string{"a0", "a2", "b0"}) {
		t.Errorf("one that opens what others do not: %v", got)
	}
	l.Implied = &lab.Implied{Admin: []netip.Prefix{netip.MustParsePrefix("fe80::/10")}}
	for i, m := range l.Machines {
		if m.Name == "b3" { // whose own address half of a prefix covers
			l.Implied.Admin = append(l.Implied.Admin, Single24(l.Machines[i].NICs[0].Addr))
		}
	}
	if got := firsts(prove(t, l)); !slices.Equal(got, []string{"a0", "a2", "b0", "b3"}) {
		t.Errorf("one whose address is let in everywhere: %v", got)
	}
}

// Single24 is a prefix that holds an address and few of its neighbours.
func Single24(a netip.Addr) netip.Prefix { p, _ := a.Prefix(32); return p }

func firsts(p *Proof) []string {
	var out []string
	for name, first := range p.twins() {
		if name == first {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// walls is a lab of hosts with filters of their own on two networks, and rules from those on one to those on the other.
func walls(hosts, rules int) lab.Lab {
	l := lab.Lab{Name: "walls", Networks: []lab.Network{{Name: "lan", Uplink: true}}}
	for i, n := range []string{"a", "b"} {
		l.Networks = append(l.Networks, lab.Network{Name: n, CIDR: netip.MustParsePrefix(fmt.Sprintf("10.%d.0.0/16", i+1))})
	}
	r := machine("r", "lan", "a", "b")
	r.Router, r.Routing = true, &lab.Routing{Masquerade: []string{"lan"}}
	l.Machines = append(l.Machines, r)
	for i := range hosts {
		n := []string{"a", "b"}[i%2]
		m := machine(fmt.Sprint(n, i/2), n)
		m.Firewall, m.Groups = true, []string{n + "s"}
		l.Machines = append(l.Machines, m)
	}
	for i := range rules {
		l.Policy = append(l.Policy, ruled(i, fmt.Sprint("p", i), "as", "bs", fmt.Sprintf("tcp/%d", 100+i)))
	}
	return lab.Arrange(l)
}

package reach

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/labctl-dev/labctl/lab"
)

// tree is a lab of many machines: routers in a chain of at most four behind one that has the uplink, a network behind
// each, machines spread over them, and a policy by groups and by networks.
func tree(machines, routers int) lab.Lab {
	l := lab.Lab{Name: "bench", Networks: []lab.Network{{Name: "wan", Uplink: true, CIDR: netip.MustParsePrefix("192.168.7.0/24")}}}
	up := "wan"
	for i := range routers {
		n := fmt.Sprintf("n%d", i)
		l.Networks = append(l.Networks, lab.Network{Name: n, CIDR: netip.MustParsePrefix(fmt.Sprintf("10.%d.0.0/16", i+1)),
			CIDR6: netip.MustParsePrefix(fmt.Sprintf("fd00:%d::/64", i+1))})
		if i > 0 {
			up = fmt.Sprintf("n%d", (i-1)/4)
		}
		r := machine(fmt.Sprintf("r%d", i), up, n)
		r.Router, r.Routing = true, &lab.Routing{}
		if i == 0 {
			r.Routing.Masquerade = []string{"wan"}
			r.Routing.Publish = []lab.Publish{{Proto: lab.TCP, Port: 80, Machine: "m0", To: 80}}
		}
		l.Machines = append(l.Machines, r)
		l.Policy = append(l.Policy, ruled(len(l.Policy), "out "+n, n, "world", "tcp/443"))
	}
	for i := range machines - routers {
		m := machine(fmt.Sprintf("m%d", i), fmt.Sprintf("n%d", i%routers))
		m.Groups = []string{[]string{"web", "db", "app"}[i%3]}
		l.Machines = append(l.Machines, m)
	}
	l.Policy = append(l.Policy, ruled(len(l.Policy), "sql", "app", "db", "tcp/3306"), ruled(len(l.Policy)+1, "http", "web", "app", "tcp/8080", "icmp"))
	return lab.Arrange(l)
}

var sizes = []struct{ machines, routers int }{{10, 2}, {100, 2}, {100, 10}, {100, 50}, {500, 2}, {500, 10}, {500, 50}}

// BenchmarkProve is making a proof: topology, rulesets and everything ready to be asked.
func BenchmarkProve(b *testing.B) { bench(b, func(b *testing.B, l lab.Lab) { prove1(b, l) }) }

func prove1(b *testing.B, l lab.Lab) *Proof {
	p, err := Prove(l)
	if err != nil {
		b.Fatal(err)
	}
	return p
}

func bench(b *testing.B, do func(*testing.B, lab.Lab)) {
	for _, s := range sizes {
		l := tree(s.machines, s.routers)
		b.Run(fmt.Sprintf("machines=%d/routers=%d", s.machines, s.routers), func(b *testing.B) {
			for b.Loop() {
				do(b, l)
			}
		})
	}
}

// BenchmarkQuery is one question.
func BenchmarkQuery(b *testing.B) {
	for _, s := range sizes {
		p := prove1(b, tree(s.machines, s.routers))
		b.Run(fmt.Sprintf("machines=%d/routers=%d", s.machines, s.routers), func(b *testing.B) {
			for b.Loop() {
				if _, err := p.Query("m1", "m2", serviceOf("tcp/3306")); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkVet is everything: the proof, all findings, and an expectation about every machine.
func BenchmarkVet(b *testing.B) {
	bench(b, func(b *testing.B, l lab.Lab) {
		l.Expect = []lab.Expectation{{From: []string{"world"}, Never: true, Services: []lab.Service{serviceOf("tcp/3306")}, On: []string{"db"}}}
		Vet(l)
	})
}

// BenchmarkVetWalls is everything in labs where every host has a filter of its own: alike by groups, or each with rules
// of its own, which makes it one of a kind.
func BenchmarkVetWalls(b *testing.B) {
	for _, hosts := range []int{100, 500} {
		for _, each := range []bool{false, true} {
			l := walls(hosts, 20)
			for i := range l.Machines {
				if m := &l.Machines[i]; each && !m.Router {
					l.Policy = append(l.Policy, ruled(len(l.Policy), "of "+m.Name, "a0", m.Name, "tcp/22"))
				}
			}
			l.Policy = append(l.Policy, ruled(len(l.Policy), "ping", "any", "any", "icmp"))
			b.Run(fmt.Sprintf("hosts=%d/each=%v", hosts, each), func(b *testing.B) {
				for b.Loop() {
					Vet(l)
				}
			})
		}
	}
}

// BenchmarkExpect is what everybody may expect of everybody.
func BenchmarkExpect(b *testing.B) {
	bench(b, func(b *testing.B, l lab.Lab) {
		p := prove1(b, l)
		for _, e := range []lab.Expectation{
			{From: []string{"*"}, Never: true, Services: []lab.Service{serviceOf("tcp/23")}, On: []string{"*"}},
			{From: []string{"m0"}, Services: []lab.Service{serviceOf("tcp/22")}, On: []string{"*"}},
		} {
			if _, err := p.Expect(e); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkMatrix is who reaches whom by what.
func BenchmarkMatrix(b *testing.B) { bench(b, func(b *testing.B, l lab.Lab) { prove1(b, l).Matrix() }) }

// BenchmarkPairs is one service between every two machines.
func BenchmarkPairs(b *testing.B) {
	bench(b, func(b *testing.B, l lab.Lab) {
		if len(l.Machines) > 100 {
			b.Skip("a quarter of a million questions")
		}
		p := prove1(b, l)
		for i := range l.Machines {
			for j := range l.Machines {
				if i != j {
					if _, err := p.Query(l.Machines[i].Name, l.Machines[j].Name, serviceOf("tcp/3306")); err != nil {
						b.Fatal(err)
					}
				}
			}
		}
	})
}

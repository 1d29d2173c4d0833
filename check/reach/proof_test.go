package reach

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/lab"
)

// usual is the verdict on one question as a line.
func usual(t *testing.T, p *Proof, from, to, service string) string {
	t.Helper()
	all, err := p.Query(from, to, serviceOf(service))
	if err != nil {
		t.Fatal(err)
	}
	var v Verdict
	for _, x := range all {
		if x.Allowed && x.Usual || v.From == "" || x.Usual && !v.Usual {
			v = x
		}
	}
	var way []string
	for _, s := range v.Path {
		way = append(way, s.Machine)
	}
	return fmt.Sprintf("%v over %s: %s", v.Allowed && v.Usual, strings.Join(way, " "), v.Decision)
}

func TestQuery(t *testing.T) {
	p := prove(t, deploy3())
	for _, tt := range []struct{ from, to, service, want string }{
		{"jumpbox", "web", "tcp/22", `true over jumpbox r2 web: policy rule "admin" (policy.0) on r2`},
		{"jumpbox", "web", "tcp/23", `false over jumpbox r2: default rule "denied between networks" on r2`},
		{"jumpbox", "web", "icmp", `true over jumpbox r2 web: policy rule "admin" (policy.0) on r2`},
		{"web", "jumpbox", "tcp/22", `false over web r2: default rule "denied between networks" on r2`},
		{"web", "db", "tcp/3306", `true over web db: policy rule "sql" (policy.2) on db`},
		{"web", "db", "tcp/22", `true over web db: implied rule "labctl's own way in" (implied.admin) on db`}, // link-local, which this lab lets in
		{"web", "db", "tcp/23", `false over web db: default rule "denied to the machine itself" on db`},
		{"db", "web", "tcp/9", `true over db web: no filter is between them`},
		{"web", "world", "tcp/443", `true over web r2 r1: policy rule "updates" (policy.1) on r1`},
		{"web", "world", "udp/443", `false over web r2: default rule "denied between networks" on r2`},
		{"jumpbox", "world", "tcp/443", `false over jumpbox r1: default rule "denied between networks" on r1`},
		{"world", "web", "tcp/80", `true over r1 r2 web: publish rule "tcp/8080 of r1 to web:80" (routers.r1.publish.tcp/8080) on r2`},
		{"world", "web", "tcp/8080", `false over r1: default rule "denied between networks" on r1`},
		{"world", "r1", "tcp/22", `true over r1: implied rule "labctl's own way in" (implied.admin) on r1`}, // from its gateway
		{"world", "r1", "tcp/23", `false over r1: default rule "denied to the machine itself" on r1`},
		{"internal", "db", "tcp/3306", `false over db: default rule "denied to the machine itself" on db`},
	} {
		if got := usual(t, p, tt.from, tt.to, tt.service); got != tt.want {
			t.Errorf("%s %s on %s\n got %s\nwant %s", tt.from, tt.service, tt.to, got, tt.want)
		}
	}
	if _, err := p.Query("jumpbox", "nobody", serviceOf("icmp")); err == nil {
		t.Error("nobody was found")
	}
}

// TestRelayed asks about a port that two routers translate one after the other: a question about the machine at the end
// must begin at the first.
func TestRelayed(t *testing.T) {
	p := prove(t, relayed())
	if got := usual(t, p, "world", "web", "tcp/80"); !strings.HasPrefix(got, "true over r1 r2 web") {
		t.Error(got)
	}
	broken, err := p.Expect(lab.Expectation{From: []string{"world"}, Never: true, Services: []lab.Service{serviceOf("tcp/80")}, On: []string{"web"}})
	if err != nil || len(broken) != 1 {
		t.Errorf("world never reaches web: %v, %v", broken, err)
	}
}

func TestExpect(t *testing.T) {
	p := prove(t, deploy3())
	for _, tt := range []struct {
		from, verb, service, on string
		want                    []string
	}{
		{"jumpbox", "reaches", "tcp/22", "internal", []string{}},
		{"jumpbox", "reaches", "tcp/20-22", "web", []string{"jumpbox to web: tcp from [fd00:20::]"}},
		{"world", "never", "tcp/3306", "db", []string{}},
		{"world", "never", "tcp/80", "web", []string{"world to web: tcp from 8.8.8.8:32768 to 192.168.7.0"}},
		{"world", "never", "any", "db", []string{}},
		{"world", "never", "any", "r1", []string{}},
		{"internal", "reaches", "tcp/443", "world", []string{"r2 to world"}},
		{"perimeter", "never", "any", "db", []string{"jumpbox to db", "r2 to db"}},
	} {
		e := lab.Expectation{From: []string{tt.from}, Never: tt.verb == "never", Services: []lab.Service{serviceOf(tt.service)}, On: []string{tt.on}}
		broken, err := p.Expect(e)
		if err != nil {
			t.Fatal(err)
		}
		got := []string{}
		for _, b := range broken {
			got = append(got, b.From+" to "+b.To+": "+b.Verdict.explain())
		}
		ok := len(got) == len(tt.want)
		for i := range tt.want {
			ok = ok && strings.HasPrefix(got[i], strings.Split(tt.want[i], ":")[0])
		}
		if !ok {
			t.Errorf("%s %s %s on %s: got %q\nwant %q", tt.from, tt.verb, tt.service, tt.on, got, tt.want)
		}
	}
}

// TestFindings has a lab without findings, and one change for each kind of finding.
func TestFindings(t *testing.T) {
	if got := Vet(lab.Arrange(deploy3())); got != nil {
		t.Errorf("a sound lab: %v", got)
	}
	m := func(l *lab.Lab, i int) *lab.Machine { return &l.Machines[i] }
	for _, tt := range []struct {
		name   string
		change func(*lab.Lab)
		want   []string
	}{
		{"unknown name", func(l *lab.Lab) { l.Policy[0].From = []string{"jumpbx"} },
			[]string{`error: policy.0.from: there is no machine, network or group called "jumpbx", did you mean "jumpbox"?`}},
		{"unknown in expect", func(l *lab.Lab) {
			l.Expect = []lab.Expectation{{From: []string{"world"}, On: []string{"dbb"}, Path: "expect.0"}}
		},
			[]string{`error: expect.0.on: there is no machine, network or group called "dbb", did you mean "db"?`}},
		{"name of two", func(l *lab.Lab) { m(l, 3).Groups = []string{"jumpbox"} },
			[]string{`error: policy.0.from: "jumpbox" means more than one thing: give the machine, the network and the group names of their own`}},
		{"published twice", func(l *lab.Lab) {
			r := m(l, 0).Routing
			r.Publish = append(r.Publish, lab.Publish{Network: "wan", Proto: lab.TCP, Port: 8080, Machine: "db", To: 80, Path: "routers.r1.publish.1"})
		}, []string{`error: routers.r1.publish.1: tcp/8080 of r1 is published already, to web:80 (see routers.r1.publish.tcp/8080)`}},
		{"published nobody", func(l *lab.Lab) { m(l, 0).Routing.Publish[0].Machine = "wob" },
			[]string{`error: routers.r1.publish.tcp/8080: there is no machine called "wob", did you mean "web"?`}},
		{"loop", func(l *lab.Lab) {
			r := machine("r3", "perimeter", "internal")
			r.Router = true
			l.Machines = append(l.Machines, r)
		}, []string{`warning: networks.internal: r2 and r3 are equally near to the world: machines on this network take r2, the first by name`,
			`error: networks.internal: routers r2, r3 make a loop: nothing says which way packets take, and an answer that comes back another way is dropped (see routers.r2, routers.r3)`}},
		{"nobody routes", func(l *lab.Lab) {
			l.Networks = append(l.Networks, lab.Network{Name: "lost", CIDR: netip.MustParsePrefix("10.99.0.0/24"), MTU: 1500})
			l.Machines = append(l.Machines, machine("alone", "lost"))
			l.Machines[5].NICs[0].Addr = netip.MustParseAddr("10.99.0.9")
			l.Policy = append(l.Policy, ruled(3, "way", "alone", "web", "tcp/1"))
		}, []string{`error: networks.lost: no router is on this network: nobody on others reaches it, and it reaches nobody; if that is meant, say isolated: true`,
			`warning: policy.3: rule "way" opens nothing: alone to tcp/1 on web: tcp from 10.99.0.9:32768 to 10.20.0.10:1 is stopped, alone has no route there`}},
		{"shadowed", func(l *lab.Lab) { l.Policy = append(l.Policy, ruled(3, "again", "jumpbox", "db", "tcp/22")) },
			[]string{`warning: policy.3: rule "again" decides nothing: rule "admin" allows all of that already (see policy.0)`}},
		{"no way back", func(l *lab.Lab) { m(l, 0).Routing.Masquerade = nil },
			[]string{`warning: policy.1: rule "updates" opens nothing: db to tcp/80 on world: tcp from 10.20.0.26:32768 to 192.168.7.1:80 arrives but its answer is lost, the world outside has no route back over wan (masquerade there, or say routed: true)`}},
		{"one wire", func(l *lab.Lab) { m(l, 4).Firewall = false },
			[]string{`warning: policy.2: web and db are both on internal: nothing stands between them, and all of db is open to web, not only what this rule says (firewall: true on db changes that)`}},
		{"locked out", func(l *lab.Lab) {
			l.Implied = &lab.Implied{Admin: []netip.Prefix{netip.MustParsePrefix("fd99::1/128")}}
		},
			[]string{`error: routers.r2: the packet filter would cut off labctl itself: tcp/22 is open to it on no interface`}},
		{"expectation", func(l *lab.Lab) {
			l.Expect = []lab.Expectation{{From: []string{"world"}, Never: true, Services: []lab.Service{serviceOf("tcp")}, On: []string{"web"}, Path: "expect.0"}}
		}, []string{`error: expect.0: world reaches tcp on web: tcp from 192.168.7.1:32768 to 192.168.7.2:8080 gets through, publish rule "tcp/8080 of r1 to web:80" (routers.r1.publish.tcp/8080) on r2 (see routers.r1.publish.tcp/8080)`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := deploy3()
			tt.change(&l)
			got := []string{}
			for _, f := range Vet(lab.Arrange(l)) {
				got = append(got, f.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestExact takes random packets of random labs: each is in exactly one verdict of the sets that everything a machine
// can send ends in, and following it alone says the same.
func TestExact(t *testing.T) {
	for seed := uint64(1); seed <= 80; seed++ {
		p, err := Prove(random(seed))
		if err != nil {
			t.Fatal(err)
		}
		rnd := rand.New(rand.NewPCG(seed, 5))
		names := p.Names()
		for range 20 {
			from := p.nodes[names[rnd.IntN(len(names)-1)]]
			for _, v6 := range []bool{false, true} {
				exact(t, p, from, v6, rnd, seed)
			}
		}
	}
}

func exact(t *testing.T, p *Proof, from *node, v6 bool, rnd *rand.Rand, seed uint64) {
	t.Helper()
	all := p.ends(from, union(all4, all6), values{{0, 255}}, v6)
	if len(all) == 0 {
		return
	}
	some := all[rnd.IntN(len(all))].orig // a packet of a random end, so that small sets are met
	src, dst := some.src[rnd.IntN(len(some.src))].from, some.dst[rnd.IntN(len(some.dst))].from
	point := box{src: addrs{{src, src}}, dst: addrs{{dst, dst}}, proto: only(draw(rnd, some.proto)), sport: only(draw(rnd, some.sport)), dport: only(draw(rnd, some.dport))}
	var in []end
	for _, e := range all {
		if e.taken && len(e.orig.dst.minus(e.node.doors)) > 0 {
			t.Errorf("seed %d: %s is reached by %v, which are none of its doors, so that no question about it would find them", seed, e.node.name, e.orig.dst.minus(e.node.doors))
		}
		if !e.orig.and(point).empty() {
			in = append(in, e)
		}
	}
	if len(in) != 1 {
		t.Fatalf("seed %d: %s is in %d ends of %s", seed, sample(point), len(in), from.name)
	}
	if in[0].taken {
		answered(t, p, in[0], from, rnd, seed)
	}
	w := &walker{p: p}
	if links.has(dst) {
		return
	}
	w.send(from, flow{now: point, orig: point, natural: true})
	if len(w.ends) != 1 || w.ends[0].taken != in[0].taken || w.ends[0].node != in[0].node || w.ends[0].rule != in[0].rule || w.ends[0].natural != in[0].natural {
		t.Errorf("seed %d: %s alone ends in %+v, among others in %+v", seed, sample(point), w.ends, in[0])
	}
}

// answered checks that every packet that was taken has one answer.
func answered(t *testing.T, p *Proof, e end, from *node, rnd *rand.Rand, seed uint64) {
	t.Helper()
	point := box{src: addrs{{e.now.src[0].to, e.now.src[0].to}}, dst: addrs{{e.now.dst[0].from, e.now.dst[0].from}}, proto: only(draw(rnd, e.now.proto)),
		sport: only(draw(rnd, e.now.sport)), dport: only(draw(rnd, e.now.dport))}
	sent := e.orig // several packets may look alike once they are translated: this is one of them
	if e.snatted {
		sent.src = addrs{{e.orig.src[0].from, e.orig.src[0].from}}
	}
	if e.dnatted {
		sent.dst = addrs{{e.orig.dst[0].from, e.orig.dst[0].from}}
		sent.dport = only(e.orig.dport[0].from)
	}
	n := 0
	for _, a := range p.answers(&e, from) {
		if !a.now.and(point).empty() && !a.orig.and(sent).empty() {
			n++
		}
	}
	if n != 1 {
		t.Errorf("seed %d: %s from %s has %d answers", seed, sample(point), from.name, n)
	}
}

func draw(rnd *rand.Rand, v values) uint16 {
	r := v[rnd.IntN(len(v))]
	return r.from + uint16(rnd.IntN(int(r.to)-int(r.from)+1))
}

// TestVetSound checks properties of the findings of random labs: they are sorted, say something, and name a place.
func TestVetSound(t *testing.T) {
	kinds := map[string]int{}
	for seed := uint64(1); seed <= 150; seed++ {
		all := Vet(random(seed))
		for i, f := range all {
			if f.Path == "" || f.Text == "" || i > 0 && all[i-1].Path > f.Path {
				t.Errorf("seed %d: finding %d is %q", seed, i, f)
			}
			for _, kind := range []string{"loop", "equally near", "opens nothing", "decides nothing", "but not their answers", "there is no way for", "nothing stands between", "leads nowhere"} {
				if strings.Contains(f.Text, kind) {
					kinds[kind]++
				}
			}
		}
	}
	if len(kinds) != 8 {
		t.Errorf("only these kinds were met: %v", kinds)
	}
}

// A role that waits for what the policy does not let it open would wait in vain, whether the other has a packet filter or
// shares a wire with it.
func TestWaits(t *testing.T) {
	waiting := func(from, to string, port int) lab.Lab {
		return changed(func(l *lab.Lab) {
			i := slices.IndexFunc(l.Machines, func(m lab.Machine) bool { return m.Name == from })
			l.Machines[i].Guest.Waits = []lab.Wait{{Role: "app", For: []lab.Check{
				{Name: "db on " + to, From: from, TCP: &lab.TCPCheck{To: to, Port: port}, Path: "servers." + from + ".roles.app"},
				{Name: "itself", From: from, Command: &lab.CommandCheck{Run: "true"}},
			}}}
			j := slices.IndexFunc(l.Machines, func(m lab.Machine) bool { return m.Name == to })
			l.Machines[j].Roles = []lab.Role{{Name: "db", Ports: []lab.Port{{Name: "sql", Services: []lab.Service{serviceOf("tcp/3306")}}}}}
		})
	}
	for _, tt := range []struct {
		from, to string
		port     int
		want     string
	}{
		{"web", "db", 3306, ""},
		{"db", "web", 23, `error: servers.db.roles.app: app on db waits for db on web (tcp/23 of web), which nobody lets it open: policy needs {from: "db", to: "web", allow: "tcp/23"}`},
		{"jumpbox", "db", 22, ""},
		{"jumpbox", "db", 3306, `error: servers.jumpbox.roles.app: app on jumpbox waits for db on db (tcp/3306 of db), which nobody lets it open: policy needs {from: "jumpbox", to: "db", allow: "sql"}`},
	} {
		var got []string
		for _, f := range Vet(lab.Arrange(waiting(tt.from, tt.to, tt.port))) {
			if strings.Contains(f.Text, "waits for") {
				got = append(got, f.String())
			}
		}
		if diff := cmp.Diff(tt.want, strings.Join(got, "\n")); diff != "" {
			t.Errorf("%s %s %d (-want +got):\n%s", tt.from, tt.to, tt.port, diff)
		}
	}
}

package gce

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/engine"
	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/gce/gcetest"
	"github.com/labctl-dev/labctl/provider"
)

// named is deploy3 with its names in Cloud DNS.
func named(t *testing.T, more string) lab.Lab {
	l := deployment(t, "deploy3")
	l.Targets = []lab.Target{{Name: "cloud", Provider: Name, Options: []byte(`{"dns": "cloud"` + more + `}`)}}
	return l
}

func ttl(n int) *int { return &n }

// TestNames says what Cloud DNS answers for a lab: what the role dns would.
func TestNames(t *testing.T) {
	l := deployment(t, "deploy3")
	z := zones{lab: l, extra: []recordOption{
		{Name: "www", Type: "CNAME", Value: "jenkins", TTL: ttl(60)}, {Name: "@", Type: "MX", Value: "10 Jumpbox"},
		{Name: "@", Type: "TXT", Value: `say "hi"`}, {Name: "*.apps", Type: "A", Value: "10.10.1.20"}, {Name: "_ldap._tcp", Type: "SRV", Value: "0 5 389 ns.deploy-dev.lab."},
	}}
	all, err := z.all()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range all {
		got = append(got, r.name+" "+r.kind+" "+strings.Join(r.data, " ")+" in "+r.zone)
	}
	want := []string{
		"10.1.10.10.in-addr.arpa PTR jumpbox.deploy-dev.lab. in 1.10.10.in-addr.arpa",
		"10.2.10.10.in-addr.arpa PTR jumpbox.deploy-dev.lab. in 2.10.10.in-addr.arpa",
		"2.2.10.10.in-addr.arpa PTR inner.deploy-dev.lab. in 2.10.10.in-addr.arpa",
		"20.1.10.10.in-addr.arpa PTR jenkins.deploy-dev.lab. in 1.10.10.in-addr.arpa",
		"4.2.10.10.in-addr.arpa PTR edge.deploy-dev.lab. in 2.10.10.in-addr.arpa",
		"4.3.10.10.in-addr.arpa PTR inner.deploy-dev.lab. in 3.10.10.in-addr.arpa",
		"53.1.10.10.in-addr.arpa PTR ns.deploy-dev.lab. in 1.10.10.in-addr.arpa",
		"*.apps.deploy-dev.lab A 10.10.1.20 in deploy-dev.lab",
		"_ldap._tcp.deploy-dev.lab SRV 0 5 389 ns.deploy-dev.lab. in deploy-dev.lab",
		"deploy-dev.lab MX 10 jumpbox.deploy-dev.lab. in deploy-dev.lab",
		`deploy-dev.lab TXT "say \"hi\"" in deploy-dev.lab`,
		"edge.deploy-dev.lab A 10.10.2.4 in deploy-dev.lab",
		"inner.deploy-dev.lab A 10.10.2.2 10.10.3.4 in deploy-dev.lab",
		"jenkins.deploy-dev.lab A 10.10.1.20 in deploy-dev.lab",
		"jumpbox.deploy-dev.lab A 10.10.1.10 10.10.2.10 in deploy-dev.lab",
		"ns.deploy-dev.lab A 10.10.1.53 in deploy-dev.lab",
		"www.deploy-dev.lab CNAME jenkins.deploy-dev.lab. in deploy-dev.lab",
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	for text, o := range map[string]recordOption{
		"jenkins.deploy-dev.lab has records of its own": {Name: "jenkins", Type: "CNAME", Value: "ns"},
		"is not in the zone deploy-dev.lab":             {Name: "www.example.org.", Type: "A", Value: "10.0.0.1"},
		"\"10.0.0\" is no such address":                 {Name: "x", Type: "A", Value: "10.0.0"},
	} {
		if _, err := (&zones{lab: l, extra: []recordOption{o}}).all(); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestReverseZone(t *testing.T) {
	for _, x := range []struct{ address, prefix, want string }{
		{"10.1.2.3", "10.1.2.0/24", "2.1.10.in-addr.arpa"}, {"10.1.2.3", "10.1.0.0/20", "1.10.in-addr.arpa"}, {"10.1.2.3", "10.1.2.0/29", "2.1.10.in-addr.arpa"},
		{"10.1.2.3", "10.0.0.0/8", "10.in-addr.arpa"}, {"172.20.1.1", "172.16.0.0/12", "20.172.in-addr.arpa"}, {"fd00::1", "fd00::/64", "0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa"},
	} {
		a := netip.MustParseAddr(x.address)
		if got := reverseZone(netip.MustParsePrefix(x.prefix), a); got != x.want {
			t.Errorf("%s in %s: %s, want %s", x.address, x.prefix, got, x.want)
		}
	}
}

// TestMarks: names of marks are read back as those of what they mark, and marks are read as they were first written.
func TestMarks(t *testing.T) {
	for _, x := range [][2]string{{"web.lab.", "A"}, {"*.apps.lab.", "CNAME"}, {"lab.", "MX"}} {
		if of, kind, ok := marks(markOf(x[0], x[1])); !ok || of != x[0] || kind != x[1] {
			t.Errorf("%v: %s %s %v", x, of, kind, ok)
		}
	}
	whose, machine := readRecordMark([]string{`"labctl lab=shop target=cloud machine=web later=x"`})
	if whose != (owner{"shop", "cloud"}) || machine != "web" {
		t.Errorf("%+v %s", whose, machine)
	}
	if whose, _ := readRecordMark([]string{`"heritage=external-dns lab=shop target=cloud"`}); whose != (owner{}) {
		t.Errorf("somebody else's mark: %+v", whose)
	}
}

// TestNamesDrift changes Cloud DNS behind labctl's back: what is the lab's is mended in place, what is somebody else's is
// told of, and keeps its zone.
func TestNamesDrift(t *testing.T) {
	x := newTown(t, named(t, ""), gcetest.Options{})
	x.mustApply(x.options())
	if p := x.plan(x.options()); !p.Empty() {
		t.Fatalf("a lab that was just made: %v", p.Changes)
	}
	zone := "managedZones/" + (owner{"deploy-dev", "cloud"}).name(kindZone, "deploy-dev.lab")
	set := func(name, kind string, ttl int, data ...any) map[string]any {
		return map[string]any{"name": name + ".deploy-dev.lab.", "type": kind, "ttl": float64(ttl), "rrdatas": data}
	}
	change := func(add, remove []any) {
		t.Helper()
		if _, err := x.server.Do("POST", zone+"/changes", map[string]any{"additions": add, "deletions": remove}); err != nil {
			t.Fatal(err)
		}
	}
	record := addr(kindRecord, "ns.deploy-dev.lab/A")
	for name, f := range map[string]func(){
		"another address": func() { change([]any{set("ns", "A", 300, "10.0.0.9")}, []any{set("ns", "A", 300, "10.10.1.53")}) },
		"another ttl":     func() { change([]any{set("ns", "A", 5, "10.10.1.53")}, []any{set("ns", "A", 300, "10.10.1.53")}) },
		"gone":            func() { change(nil, []any{set("ns", "A", 300, "10.10.1.53")}) },
	} {
		f()
		p := x.plan(x.options())
		if len(p.Changes) != 1 || p.Changes[0].Addr != record || p.Changes[0].Impact != provider.Live {
			t.Fatalf("%s: one live change of %s: %+v", name, record, p.Changes)
		}
		x.mustApply(x.options())
	}

	change([]any{set("theirs", "A", 300, "10.10.1.20"), set("theirs", "TXT", 300, `"labctl lab=other target=cloud"`)}, nil)
	all := x.foreign(addr(kindZone, "deploy-dev.lab"), "A theirs.deploy-dev.lab, TXT theirs.deploy-dev.lab")
	away := engine.PlanOptions{Destroy: true, Allow: names(all)}
	if err := x.apply(t.Context(), away, 4); err == nil || !strings.Contains(err.Error(), "A theirs.deploy-dev.lab") || provider.CodeOf(err) != provider.InUse {
		t.Errorf("destroy says what is in the way: %v", err)
	}
	change(nil, []any{set("theirs", "A", 300, "10.10.1.20"), set("theirs", "TXT", 300, `"labctl lab=other target=cloud"`)})
	x.mustApply(away)
	gone(t, x.server)
}

// TestNamesForeign: a record that is in the way is not taken over.
func TestNamesForeign(t *testing.T) {
	x := newTown(t, named(t, ""), gcetest.Options{})
	zone := "managedZones/" + (owner{"deploy-dev", "cloud"}).name(kindZone, "deploy-dev.lab")
	x.server.Inject(gcetest.Fault{Method: "dns.changes.create", Hook: func(string, string) {
		_, err := x.server.Do("POST", zone+"/changes", map[string]any{"additions": []any{
			map[string]any{"name": "ns.deploy-dev.lab.", "type": "A", "ttl": 300.0, "rrdatas": []any{"10.0.0.9"}},
		}})
		_ = err // in another zone first: then it is not there yet
	}, Times: 40})
	if err := x.apply(t.Context(), x.options(), 1); provider.CodeOf(err) != provider.Foreign || !strings.Contains(err.Error(), "A record ns.deploy-dev.lab already") {
		t.Errorf("taken: %v", err)
	}
}

// TestNamesKilled kills an apply and a destruction at every fourth change of names and does them again, now over lines that
// are cut.
func TestNamesKilled(t *testing.T) {
	l := named(t, "")
	for n := range 5 {
		x := newTown(t, l, gcetest.Options{})
		x.killed("dns.changes.create", n*4+1, x.options())
		x.cut("dns.*", n*4)
		x.mustApply(x.options())
		if p := x.plan(x.options()); !p.Empty() {
			t.Fatalf("killed at %d and applied again: %v", n*4+1, p.Changes)
		}
		all, err := x.engine().Observe(t.Context(), x.lab)
		if err != nil {
			t.Fatal(err)
		}
		away := engine.PlanOptions{Destroy: true, Allow: names(all)}
		x.killed("dns.changes.create", n*4+1, away)
		x.cut("dns.*", n*4)
		x.mustApply(away)
		gone(t, x.server)
	}
}

// cut lets answers be lost: nobody knows whether these requests were carried out.
func (x *town) cut(method string, after int) {
	for _, m := range []gcetest.Moment{gcetest.Before, gcetest.After} {
		x.server.Inject(gcetest.Fault{Method: method, After: after, Cut: m, Times: 2})
	}
}

// TestNamesInside: machines ask Cloud DNS, by a way that they have from every network, and routers take its answers.
func TestNamesInside(t *testing.T) {
	seeds, err := guest.Seeds(named(t, ""), guest.Keys{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for m, via := range map[string]string{"jenkins": "10.10.1.1", "jumpbox": "10.10.2.1", "edge": "10.10.0.1"} {
		text := strings.Join(strings.Fields(string(seeds[m].Guest)), "")
		if !strings.Contains(text, `"dns":["169.254.169.254"]`) {
			t.Errorf("%s does not ask Cloud DNS", m)
		}
		if !strings.Contains(text, `"to":"169.254.169.254/32","via":"`+via+`"`) {
			t.Errorf("%s has no way to its name server by %s", m, via)
		}
	}
}

// TestNamesRefused says why Cloud DNS cannot answer for a lab, by the spec's own words.
func TestNamesRefused(t *testing.T) {
	l := named(t, "")
	l.Machines = slices.Clone(l.Machines)
	for i := range l.Machines {
		if l.Machines[i].Name == "ns" {
			l.Machines[i].Roles = []lab.Role{{Name: "dns", Implied: []string{"dns"}}}
		}
	}
	for text, f := range map[string]func(*lab.Lab, *options){
		"servers.ns.roles.dns: it would answer for the lab's names beside Cloud DNS": func(*lab.Lab, *options) {},
		"domain: internal is Google's own":                                           func(l *lab.Lab, _ *options) { *l = named(t, ""); l.Domain = "internal" },
		"the lab has none":                                                           func(l *lab.Lab, _ *options) { *l = named(t, ""); l.Domain = "" },
		"cloud.dns_records: ": func(l *lab.Lab, o *options) {
			*l = named(t, "")
			o.Records = []recordOption{{Name: "ns", Type: "CNAME", Value: "edge"}}
		},
	} {
		l, o := l, options{DNS: dnsCloud}
		f(&l, &o)
		if err := refuseNames(l, o); provider.CodeOf(err) != provider.Unsupported || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

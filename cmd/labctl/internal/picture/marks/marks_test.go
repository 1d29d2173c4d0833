package marks

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/check/reach"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/picture"
	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// office is a routed lab: the world, a perimeter with a jumpbox, and an inside that only the jumpbox may enter by ssh.
func office(t *testing.T) lab.Lab {
	t.Helper()
	ssh, err := lab.ParseService("tcp/22")
	if err != nil {
		t.Fatal(err)
	}
	machine := func(name string, networks ...string) lab.Machine {
		m := lab.Machine{Name: name, Image: "debian-12", Power: lab.On}
		for _, n := range networks {
			m.NICs = append(m.NICs, lab.NIC{Network: n, Link: lab.Up})
		}
		return m
	}
	l := lab.Lab{
		Name: "office", Domain: "office.lab",
		Networks: []lab.Network{
			{Name: "wan", Uplink: true, CIDR: netip.MustParsePrefix("192.168.7.0/24")},
			{Name: "perimeter", CIDR: netip.MustParsePrefix("10.1.0.0/24")}, {Name: "inside", CIDR: netip.MustParsePrefix("10.2.0.0/24")},
		},
		Machines: []lab.Machine{machine("edge", "wan", "perimeter"), machine("inner", "perimeter", "inside"), machine("jump", "perimeter"), machine("db", "inside")},
		Policy:   []lab.Rule{{Name: "admin", From: []string{"jump"}, To: []string{"db"}, Allow: []lab.Service{ssh}, Path: "policy.0"}},
	}
	for i := range l.Machines[:2] {
		l.Machines[i].Router, l.Machines[i].Routing = true, &lab.Routing{}
	}
	l.Machines[0].Routing.Masquerade = []string{"wan"}
	l.Machines[0].Routing.Publish = []lab.Publish{{Proto: lab.TCP, Port: 2222, Machine: "jump", To: 22}}
	return lab.Arrange(l)
}

var kinds = provider.Description{Name: "x", Kinds: []provider.Kind{
	{Name: "image"}, {Name: "network"}, {Name: "disk", Data: true}, {Name: "machine", Machine: true}, {Name: "guest", Guest: true},
}}

func at(kind, name string) provider.Addr {
	return provider.Addr{Provider: "x", Kind: kind, Name: name}
}

// changed is a plan with everything in it: db is made again, jump moves from perimeter to inside, edge is new, old and
// its network go away.
func changed() plan.Plan {
	return plan.Plan{Lab: "office", Target: "local", Changes: []plan.Change{
		{Addr: at("image", "debian-12"), Action: plan.Create},
		{Addr: at("network", "inside"), Action: plan.Update, Impact: provider.Live, Reasons: []plan.Reason{{Attr: "mtu", Impact: provider.Live}}},
		{Addr: at("network", "attic"), Action: plan.Delete, Before: &provider.Observed{Attrs: provider.Attrs{"cidr": "10.9.0.0/24"}}},
		{Addr: at("disk", "db/root"), Machine: "db", Action: plan.Replace, Impact: provider.Reinstall, DataLoss: true, CutOff: []string{"db"}, Refused: "x.disk/db/root would be lost: reinstall"},
		{Addr: at("machine", "edge"), Machine: "edge", Action: plan.Create},
		{Addr: at("machine", "jump"), Machine: "jump", Action: plan.Update, Impact: provider.Reboot, Reasons: []plan.Reason{{Attr: "nics", Impact: provider.Reboot}},
			Before: &provider.Observed{Needs: []provider.Addr{at("disk", "jump/root"), at("network", "inside")}}, After: &provider.Resource{Needs: []provider.Addr{at("network", "perimeter")}}},
		{Addr: at("guest", "jump"), Machine: "jump", Action: plan.Update, Impact: provider.Reconfigure, Reasons: []plan.Reason{{Attr: "digest", Impact: provider.Reconfigure}}},
		{Addr: at("machine", "old"), Machine: "old", Action: plan.Delete, Before: &provider.Observed{Needs: []provider.Addr{at("network", "attic")}}},
		{Addr: at("disk", "left/root"), Machine: "left", Action: plan.Delete, DataLoss: true, Before: &provider.Observed{}},
	}}
}

// read are the statuses and lines of a picture, one line each.
func read(p picture.Picture) map[string]string {
	out := map[string]string{}
	for t, m := range p.Marks {
		out[strings.Trim(t.Machine+" "+t.Network, " ")] = strings.TrimSpace(string(m.Status) + " " + strings.Join(m.Lines, "; "))
	}
	return out
}

func TestPlan(t *testing.T) {
	p := Plan(office(t), kinds, changed())
	want := map[string]string{
		"inside": "changed update: live", "attic": "gone delete", "db": "again replace: reinstall, data lost; refused", "edge": "new create",
		"jump": "changed update: reboot", "jump inside": "gone", "jump perimeter": "new", "old": "gone delete", "old attic": "gone", "left": "gone delete, data lost",
	}
	if diff := cmp.Diff(want, read(p)); diff != "" {
		t.Error(diff)
	}
	old, _ := p.Lab.Machine("old")
	if n, _ := p.Lab.Network("attic"); len(old.NICs) != 1 || n.CIDR.String() != "10.9.0.0/24" {
		t.Errorf("what goes away is not drawn: %v, %v", old, n)
	}
	var legend []string
	for _, e := range p.Legend {
		legend = append(legend, e.Text)
	}
	if diff := cmp.Diff([]string{"create 1", "update 2 (1 live, 1 reboot)", "replace 1 (1 reinstall)", "delete 3", "stays as it is"}, legend); diff != "" {
		t.Error(diff)
	}
	notes := strings.Join(p.Notes, "\n")
	for _, s := range []string{"also: create x.image/debian-12", "cut off meanwhile: db", "refused unless allowed by name: x.disk/db/root"} {
		if !strings.Contains(notes, s) {
			t.Errorf("the notes have not %q:\n%s", s, notes)
		}
	}
	if d := p.Marks[picture.Thing{Machine: "jump"}].Detail; d != "update x.machine/jump, reboot: nics\nupdate x.guest/jump, reconfigure: digest" {
		t.Errorf("details: %s", d)
	}
}

func TestDrift(t *testing.T) {
	p := Drift(office(t), kinds, changed(), map[string][]guest.Difference{"inner": {{Item: "file /etc/motd", What: "differs"}}, "jump": {}, "edge": {{Item: "machine edge", What: "no answer"}}})
	want := map[string]string{
		"inside": "changed differs: mtu", "attic": "extra not in the spec", "db": "changed differs", "edge": "missing is missing; inside: 1 differ",
		"inner": "changed inside: 1 differ", "jump": "changed differs: nics, digest", "jump inside": "extra", "jump perimeter": "missing",
		"old": "extra not in the spec", "old attic": "extra", "left": "extra not in the spec",
	}
	if diff := cmp.Diff(want, read(p)); diff != "" {
		t.Error(diff)
	}
	if none := Drift(office(t), kinds, plan.Plan{Target: "local"}, nil); len(none.Marks) != 0 || none.Marks == nil || len(none.Legend) != 1 {
		t.Errorf("without drift: %v %v", none.Marks, none.Legend)
	}
}

func TestReach(t *testing.T) {
	l := office(t)
	proof, err := reach.Prove(l)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		from string
		want map[string]string
	}{
		{"jump", map[string]string{
			"jump": "here", "db": "new tcp/22", "inner": "way", "edge": "same", "perimeter": "way", "inside": "way", "wan": "same", "": "same",
			"jump perimeter": "way", "inner perimeter": "way", "inner inside": "way", "db inside": "way", "edge perimeter": "same", "edge wan": "same",
		}},
		{"world", map[string]string{
			"": "here", "jump": "new tcp/22", "edge": "way", "inner": "same", "db": "same", "wan": "way", "perimeter": "way", "inside": "same",
			"edge wan": "way", "edge perimeter": "way", "jump perimeter": "way", "inner perimeter": "same", "inner inside": "same", "db inside": "same",
		}},
	} {
		p, err := Reach(l, proof, c.from)
		if err != nil {
			t.Fatal(err)
		}
		got := read(p)
		for _, name := range []string{"jump", "db", "inner", "edge", "perimeter", "inside", "wan", ""} {
			if got[name] == "" {
				got[name] = "same"
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("from %s: %s", c.from, diff)
		}
	}
	if _, err := Reach(l, proof, "nobody"); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("from nobody: %v", err)
	}
}

func TestServices(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"tcp/22 tcp/22 icmp", "tcp/22 icmp"}, {"tcp/22 tcp udp/53", "tcp udp/53"}, {"tcp udp icmp", "any"},
	} {
		if got := services(strings.Fields(c.in)); got != c.want {
			t.Errorf("%s: %s, want %s", c.in, got, c.want)
		}
	}
}

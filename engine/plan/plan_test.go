package plan

import (
	"encoding/json"
	"errors"
	"math/rand"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/provider"
)

func TestCompute(t *testing.T) {
	dataDisk := thing{attrs: provider.Attrs{"size": 5.0}}
	withData := func(w world) world {
		return w.with("disk/web/data", dataDisk).needs("machine/web", "disk/web/root", "disk/web/data", "network/lan")
	}
	for _, c := range []struct {
		name      string
		spec      world
		live      world
		in        Input
		want      []string
		unchanged int
	}{
		{name: "nothing and nothing", spec: world{}, live: world{}},
		{name: "all is as it should be", spec: small(), live: small(), unchanged: 9},
		{name: "from nothing, in creation order", spec: small(), live: world{}, want: []string{
			"create image/deb", "create network/dmz", "create network/lan", "create disk/db/root", "create disk/web/root",
			"create machine/db", "create machine/web", "create guest/db", "create guest/web"}},
		{name: "destroy spares what is shared", spec: world{}, live: small(), want: []string{
			"delete network/dmz", "delete network/lan cuts=db,web", "delete disk/db/root LOST cuts=db", "delete disk/web/root LOST cuts=web",
			"delete machine/db cuts=db", "delete machine/web cuts=web", "delete guest/db", "delete guest/web"}},
		{name: "live", spec: small().set("network/lan", "mtu", 9000.0), live: small(), want: []string{"update network/lan live mtu"}, unchanged: 8},
		{name: "reconfigure", spec: small().set("machine/web", "motd", "hi"), live: small(), want: []string{"update machine/web reconfigure motd"}, unchanged: 8},
		{name: "a network that is made anew cuts off who runs on it", spec: small().set("network/lan", "domain", "other.lab"), live: small().set("machine/web", "power", "off"),
			want: []string{"update network/lan reconfigure domain cuts=db", "update machine/web reboot power"}, unchanged: 7},
		{name: "reboot cuts off", spec: small().set("machine/web", "memory", 1024.0), live: small(), want: []string{"update machine/web reboot memory cuts=web"}, unchanged: 8},
		{name: "reboot of a machine that is off cuts nobody off", spec: small().set("machine/web", "memory", 1024.0),
			live: small().set("machine/web", "power", "off"), want: []string{"update machine/web reboot memory power"}, unchanged: 8},
		{name: "the dearest impact counts", spec: small().set("machine/web", "motd", "hi").set("machine/web", "memory", 1.0).set("machine/web", "nics", "x"),
			live: small(), want: []string{"update machine/web reboot memory motd nics cuts=web"}, unchanged: 8},
		{name: "reinstall takes the machine and its guest along", spec: small().set("disk/web/root", "image", "s2"), live: small(), want: []string{
			"replace disk/web/root reinstall image LOST cuts=web REFUSED", "replace machine/web reinstall because=disk/web/root cuts=web",
			"replace guest/web reinstall because=machine/web"}, unchanged: 6},
		{name: "reinstall allowed by the machine's name", spec: small().set("disk/web/root", "image", "s2"), live: small(), in: Input{Allow: []string{"web"}}, want: []string{
			"replace disk/web/root reinstall image LOST cuts=web", "replace machine/web reinstall because=disk/web/root cuts=web",
			"replace guest/web reinstall because=machine/web"}, unchanged: 6},
		{name: "allowed by address", spec: small().set("disk/web/root", "image", "s2"), live: small(), in: Input{Allow: []string{"toy.disk/web/root"}}, want: []string{
			"replace disk/web/root reinstall image LOST cuts=web", "replace machine/web reinstall because=disk/web/root cuts=web",
			"replace guest/web reinstall because=machine/web"}, unchanged: 6},
		{name: "another's permission does not help", spec: small().set("network/lan", "cidr", "x"), live: small(), in: Input{Allow: []string{"web"}},
			want: []string{"replace network/lan replace cidr cuts=db,web REFUSED"}, unchanged: 8},
		{name: "a disk grows live", spec: small().set("disk/web/root", "size", 20.0), live: small(), want: []string{"update disk/web/root live size"}, unchanged: 8},
		{name: "a disk cannot shrink", spec: small().set("disk/web/root", "size", 5.0), live: small(), want: []string{
			"replace disk/web/root reinstall size LOST cuts=web REFUSED", "replace machine/web reinstall because=disk/web/root cuts=web",
			"replace guest/web reinstall because=machine/web"}, unchanged: 6},
		{name: "a disk that vanished: the machine starts over, nothing more is lost", spec: small(), live: small().without("disk/web/root"), want: []string{
			"create disk/web/root", "replace machine/web reboot because=disk/web/root cuts=web", "replace guest/web reboot because=machine/web"}, unchanged: 6},
		{name: "a disk that joins a machine", spec: withData(small()).set("machine/web", "disks", "root data"), live: small(), want: []string{
			"create disk/web/data", "update machine/web live disks"}, unchanged: 8},
		{name: "a data disk that vanished", spec: withData(small()), live: withData(small()).without("disk/web/data"), want: []string{
			"create disk/web/data", "replace machine/web reboot because=disk/web/data cuts=web", "replace guest/web reboot because=machine/web"}, unchanged: 7},
		{name: "a disk that leaves a machine", spec: small().set("machine/web", "disks", "root"), live: withData(small()).set("machine/web", "disks", "root data"), want: []string{
			"delete disk/web/data LOST cuts=web", "update machine/web live disks"}, unchanged: 8},
		{name: "a machine that vanished", spec: small(), live: small().without("machine/web"), want: []string{
			"create machine/web", "replace guest/web reboot because=machine/web"}, unchanged: 7},
		{name: "a machine that is no longer in the spec", spec: small().without("machine/web", "disk/web/root", "guest/web"), live: small(), want: []string{
			"delete disk/web/root LOST cuts=web", "delete machine/web cuts=web", "delete guest/web"}, unchanged: 6},
		{name: "what is shared is never replaced", spec: small().set("image/deb", "source", "s2"), live: small(), want: []string{"update image/deb live source"}, unchanged: 8},
		{name: "an attribute that nobody described", spec: small(), live: small().set("network/lan", "colour", "red"),
			want: []string{"replace network/lan replace colour cuts=db,web REFUSED"}, unchanged: 8},
		{name: "an attribute that went away", spec: small().set("machine/web", "memory", nil), live: small(),
			want: []string{"update machine/web reboot memory cuts=web"}, unchanged: 8},
		{name: "protected: reboot is fine", spec: small().set("machine/web", "protect", true).set("machine/web", "memory", 1.0), live: small().set("machine/web", "protect", true),
			want: []string{"update machine/web reboot memory cuts=web"}, unchanged: 8},
		{name: "protected: not deleted, nor its disks", spec: small().without("machine/web", "disk/web/root", "guest/web"), live: small().set("machine/web", "protect", true), want: []string{
			"delete disk/web/root LOST cuts=web REFUSED", "delete machine/web cuts=web REFUSED", "delete guest/web"}, unchanged: 6},
		{name: "protected: allowed by name", spec: world{}, live: small().set("machine/web", "protect", true).without("machine/db", "guest/db", "disk/db/root", "network/dmz", "network/lan"),
			in:   Input{Allow: []string{"web"}},
			want: []string{"delete disk/web/root LOST cuts=web", "delete machine/web cuts=web", "delete guest/web"}},
		{name: "protected from now on", spec: small().set("machine/web", "protect", true), live: withData(small()).set("machine/web", "disks", "x"), want: []string{
			"delete disk/web/data LOST cuts=web REFUSED", "update machine/web live disks protect"}, unchanged: 8},
		{name: "the inside of a machine that is to be off waits", spec: small().set("machine/web", "power", "off").set("guest/web", "digest", "d2"), live: small(),
			want: []string{"update machine/web reboot power cuts=web", "deferred guest/web"}, unchanged: 7},
		{name: "suspended: nobody boots, and who gets no answer is named; the inside waits", spec: small().set("machine/web", "power", "suspended").set("guest/web", "digest", "d2"), live: small(),
			want: []string{"update machine/web live power cuts=web", "deferred guest/web"}, unchanged: 7},
		{name: "suspended, then saved: nobody is left to cut off", spec: small().set("machine/web", "power", "saved"), live: small().set("machine/web", "power", "suspended"),
			want: []string{"update machine/web live power"}, unchanged: 8},
		{name: "on again, with more memory", spec: small().set("machine/web", "memory", 1024.0), live: small().set("machine/web", "power", "saved"),
			want: []string{"update machine/web reboot memory power"}, unchanged: 8},
		{name: "suspended to off", spec: small().set("machine/web", "power", "off"), live: small().set("machine/web", "power", "suspended"),
			want: []string{"update machine/web reboot power"}, unchanged: 8},
		{name: "a state of the provider's own", spec: small(), live: small().set("machine/web", "power", "paused"), want: []string{"update machine/web reboot power cuts=web"}, unchanged: 8},
		{name: "new machine, to be off", spec: small().set("machine/web", "power", "off"), live: small().without("machine/web", "disk/web/root", "guest/web"),
			want: []string{"create disk/web/root", "create machine/web", "deferred guest/web"}, unchanged: 6},
		{name: "half destroyed: only a disk is left", spec: world{}, live: world{"disk/web/root": small()["disk/web/root"]}, want: []string{"delete disk/web/root LOST"}},

		{name: "power only", spec: small().set("machine/web", "power", "off").set("machine/web", "memory", 1.0).set("network/lan", "mtu", 1.0).with("network/new", thing{}),
			live: small().with("network/old", thing{}), in: Input{Attr: "power"}, want: []string{"update machine/web reboot power cuts=web"}, unchanged: 8},
		{name: "power only, nothing to do", spec: small().set("machine/web", "memory", 1.0), live: small(), in: Input{Attr: "power"}, unchanged: 9},

		{name: "asked for: the root disk is made again, and what was not asked for stays", spec: withData(small()), live: withData(small()), in: Input{Remake: []provider.Addr{at("disk/web/root")}}, want: []string{
			"replace disk/web/root reinstall ASKED LOST cuts=web", "replace machine/web reinstall because=disk/web/root cuts=web",
			"replace guest/web reinstall because=machine/web"}, unchanged: 7},
		{name: "asked for: what differs besides is told, and is no refusal", spec: small().set("disk/web/root", "image", "s2"), live: small(), in: Input{Remake: []provider.Addr{at("disk/web/root")}}, want: []string{
			"replace disk/web/root reinstall image ASKED LOST cuts=web", "replace machine/web reinstall because=disk/web/root cuts=web",
			"replace guest/web reinstall because=machine/web"}, unchanged: 6},
		{name: "asked for: what is protected must be allowed", spec: small().set("machine/web", "protect", true), live: small().set("machine/web", "protect", true),
			in: Input{Remake: []provider.Addr{at("disk/web/root")}, Only: []string{"web"}}, want: []string{
				"replace disk/web/root reinstall ASKED LOST cuts=web REFUSED", "replace machine/web reinstall because=disk/web/root cuts=web REFUSED",
				"replace guest/web reinstall because=machine/web"}, unchanged: 6},
		{name: "asked for: what is not there is made, and nothing is lost", spec: small(), live: small().without("disk/web/root", "machine/web", "guest/web"),
			in: Input{Remake: []provider.Addr{at("disk/web/root")}}, want: []string{"create disk/web/root", "create machine/web", "create guest/web"}, unchanged: 6},
		{name: "asked for: what is shared stays", spec: small(), live: small(), in: Input{Remake: []provider.Addr{at("image/deb")}}, unchanged: 9},

		{name: "only: a machine and what it needs", spec: small(), live: world{}, in: Input{Only: []string{"web"}}, want: []string{
			"create image/deb", "create network/lan", "create disk/web/root", "create machine/web", "create guest/web"}},
		{name: "only: what is made again with it", spec: small().set("disk/web/root", "image", "s2").set("disk/db/root", "image", "s2"), live: small(),
			in: Input{Only: []string{"disk/web/root"}}, want: []string{
				"replace disk/web/root reinstall image LOST cuts=web REFUSED", "replace machine/web reinstall because=disk/web/root cuts=web",
				"replace guest/web reinstall because=machine/web"}, unchanged: 3},
		{name: "only: a thing that was gone, and who lost it", spec: small(), live: small().without("disk/web/root", "disk/db/root"), in: Input{Only: []string{"disk/web/root"}}, want: []string{
			"create disk/web/root", "replace machine/web reboot because=disk/web/root cuts=web", "replace guest/web reboot because=machine/web"}, unchanged: 3},
		{name: "only: who holds on to what is deleted lets go first", spec: small().without("network/lan").needs("machine/web", "disk/web/root", "network/dmz").needs("machine/db", "disk/db/root", "network/dmz").set("machine/web", "nics", "dmz").set("machine/db", "nics", "dmz"),
			live: small(), in: Input{Only: []string{"lan"}}, want: []string{"delete network/lan cuts=db,web", "update machine/db live nics", "update machine/web live nics"}, unchanged: 6},
		{name: "only: a machine's deletion leaves others alone", spec: world{"network/lan": small()["network/lan"]}, live: small(), in: Input{Only: []string{"web"}},
			want: []string{"delete disk/web/root LOST cuts=web", "delete machine/web cuts=web", "delete guest/web"}, unchanged: 1},
		{name: "only: others' waiting is not shown", spec: small().set("machine/web", "power", "off").set("guest/web", "digest", "d2"), live: small().set("machine/web", "power", "off"), in: Input{Only: []string{"db"}}, unchanged: 8},
		{name: "only: replaced for reasons of their own are not made again with it", spec: small().set("network/lan", "cidr", "x").set("machine/web", "arch", "arm64"), live: small(),
			in: Input{Only: []string{"network/lan"}}, want: []string{"replace network/lan replace cidr cuts=db,web REFUSED"}, unchanged: 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.in.Description, c.in.Desired, c.in.Observed = description(), c.spec.desired(), c.live.observed()
			p, err := Compute(c.in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, tellAll(p)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if p.Unchanged != c.unchanged {
				t.Errorf("%d unchanged, want %d", p.Unchanged, c.unchanged)
			}
			if p.Empty() != (len(p.Changes) == 0) {
				t.Error("Empty lies")
			}
		})
	}
}

func TestContract(t *testing.T) {
	one := provider.Resource{Addr: at("network/lan"), Attrs: provider.Attrs{}}
	seen := provider.Observed{Addr: at("network/lan"), Attrs: provider.Attrs{}}
	for _, c := range []struct {
		name string
		in   Input
		want string
	}{
		{"expanded twice", Input{Desired: []provider.Resource{one, one}}, "expands this twice"},
		{"observed twice", Input{Observed: []provider.Observed{seen, seen}}, "observes this twice"},
		{"needs what is not there", Input{Desired: []provider.Resource{{Addr: at("network/lan"), Needs: []provider.Addr{at("image/x")}}}}, "toy.image/x"},
		{"unknown kind", Input{Desired: []provider.Resource{{Addr: at("router/x")}}}, `no kind "router"`},
		{"unknown observed kind", Input{Observed: []provider.Observed{{Addr: at("router/x")}}}, "a kind that it does not describe"},
		{"unknown attribute", Input{Desired: []provider.Resource{{Addr: at("network/x"), Attrs: provider.Attrs{"colour": 1.0}}}}, `no attribute "colour"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.in.Description = description()
			_, err := Compute(c.in)
			var e *provider.Error
			if !errors.As(err, &e) || e.Code != provider.Internal || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one about %q", err, c.want)
			}
		})
	}
}

// TestOrderOfInput shuffles the inputs of a plan in which everything happens.
func TestOrderOfInput(t *testing.T) {
	spec := small().set("disk/web/root", "image", "s2").set("disk/db/root", "size", 1.0).set("network/dmz", "cidr", "x").
		with("disk/web/data", thing{attrs: provider.Attrs{"size": 1.0}}).with("disk/web/more", thing{attrs: provider.Attrs{"size": 1.0}}).
		needs("machine/web", "disk/web/root", "disk/web/data", "disk/web/more", "network/lan")
	live := small().with("network/old", thing{}).without("network/lan").needs("machine/web")
	var first string
	for i := range 100 {
		want, have, r := spec.desired(), live.observed(), rand.New(rand.NewSource(int64(i)))
		r.Shuffle(len(want), func(i, j int) { want[i], want[j] = want[j], want[i] })
		r.Shuffle(len(have), func(i, j int) { have[i], have[j] = have[j], have[i] })
		p, err := Compute(Input{Description: description(), Desired: want, Observed: have, Only: []string{"web", "db", "dmz", "old"}})
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.MarshalIndent(p, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = string(b)
		}
		if diff := cmp.Diff(first, string(b)); diff != "" {
			t.Fatalf("run %d: %s", i, diff)
		}
	}
	var back Plan
	if err := json.Unmarshal([]byte(first), &back); err != nil {
		t.Fatal(err)
	}
	b, _ := json.MarshalIndent(back, "", " ")
	if diff := cmp.Diff(first, string(b)); diff != "" {
		t.Errorf("a plan does not survive being saved: %s", diff)
	}
}

func TestMoved(t *testing.T) {
	base := Input{Description: description(), Desired: small().desired(), Observed: small().observed()}
	saved, err := Compute(base)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		spec world
		live world
		want string
	}{
		{"nothing", small(), small(), ""},
		{"the spec", small().set("network/lan", "mtu", 1.0), small(), "the spec has changed"},
		{"the world", small(), small().set("network/lan", "mtu", 1.0), "the world has moved"},
	} {
		now, err := Compute(Input{Description: description(), Desired: c.spec.desired(), Observed: c.live.observed()})
		if err != nil {
			t.Fatal(err)
		}
		if got := Moved(saved, now); c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	live := small().observed()
	for i := range live {
		live[i].Outputs = map[string]string{"pid": "7"}
	}
	if now, _ := Compute(Input{Description: description(), Desired: small().desired(), Observed: live}); Moved(saved, now) != "" {
		t.Error("a new process id counts as news")
	}
	other := saved
	other.Lab = "other"
	if Moved(saved, other) == "" {
		t.Error("a plan of another lab is taken")
	}
}

// TestAttr: a plan for one attribute leaves all else of a thing as it is, what it holds on to included.
func TestAttr(t *testing.T) {
	spec := small().set("machine/web", "power", "off").set("machine/web", "memory", 1.0).needs("machine/web", "network/dmz")
	p, err := Compute(Input{Description: description(), Desired: spec.desired(), Observed: small().observed(), Attr: "power"})
	if err != nil || len(p.Changes) != 1 {
		t.Fatal(err, tellAll(p))
	}
	c := p.Changes[0]
	if diff := cmp.Diff(provider.Attrs{"memory": 512.0, "power": "off"}, c.After.Attrs); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(c.Before.Needs, c.After.Needs); diff != "" {
		t.Error(diff)
	}
}

// TestFollow: the power of a lab changes in the order of its routers, and that of first boots in none.
func TestFollow(t *testing.T) {
	behind := map[string][]string{"web": {"db", "gone"}}
	for _, c := range []struct {
		attr, to, from string
		want           map[string]string
	}{
		{"power", "off", "on", map[string]string{"db": "machine/web"}},
		{"power", "suspended", "on", map[string]string{"db": "machine/web"}},
		{"power", "on", "saved", map[string]string{"web": "machine/db"}},
		{"", "on", "off", map[string]string{}},
	} {
		spec := small().set("machine/web", "power", c.to).set("machine/db", "power", c.to)
		live := small().set("machine/web", "power", c.from).set("machine/db", "power", c.from)
		p, err := Compute(Input{Description: description(), Desired: spec.desired(), Observed: live.observed(), Attr: c.attr, Behind: behind})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, ch := range p.Changes {
			for _, a := range ch.Follows {
				got[ch.Machine] += a.Kind + "/" + a.Name
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%+v: -want +got:\n%s", c, diff)
		}
	}
}

// TestAwait: the inside of a machine that waits for another's comes after it.
func TestAwait(t *testing.T) {
	for _, c := range []struct {
		spec world
		want map[string]string
	}{
		{small().set("guest/web", "digest", "x").set("guest/db", "digest", "x"), map[string]string{"web": "guest/db"}},
		{small().set("guest/web", "digest", "x"), map[string]string{}},
	} {
		p, err := Compute(Input{Description: description(), Desired: c.spec.desired(), Observed: small().observed(),
			Waits: map[string][]string{"web": {"gone", "db"}}})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, ch := range p.Changes {
			for _, a := range ch.Follows {
				got[ch.Machine] += a.Kind + "/" + a.Name
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}

// TestInstall: a machine that another one installs is started after the other's inside, where that changes at all.
func TestInstall(t *testing.T) {
	for _, c := range []struct {
		spec world
		want []string
	}{
		{small().set("machine/web", "memory", 1.0).set("guest/db", "digest", "x"), []string{"machine/web after guest/db"}},
		{small().set("machine/web", "memory", 1.0), nil},
		{small().set("guest/db", "digest", "x"), nil},
	} {
		p, err := Compute(Input{Description: description(), Desired: c.spec.desired(), Observed: small().observed(), Installed: map[string]string{"web": "db", "other": "gone"}})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, ch := range p.Changes {
			for _, a := range ch.Follows {
				got = append(got, ch.Addr.Kind+"/"+ch.Addr.Name+" after "+a.Kind+"/"+a.Name)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}

func TestImpact(t *testing.T) {
	p, err := Compute(Input{Description: description(), Desired: small().set("machine/web", "memory", 1.0).set("guest/web", "digest", "x").desired(), Observed: small().observed()})
	if err != nil {
		t.Fatal(err)
	}
	if i, n := p.Impact("web"); i != provider.Reboot || n != 2 {
		t.Errorf("web: %s, %d changes", i, n)
	}
	if i, n := p.Impact("db"); i != provider.None || n != 0 {
		t.Errorf("db: %s, %d changes", i, n)
	}
}

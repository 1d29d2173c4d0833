package gce

import (
	"bytes"
	"context"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/engine"
	"github.com/labctl-dev/labctl/engine/apply"
	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/internal/goldentest"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/gce/api"
	"github.com/labctl-dev/labctl/plugins/gce/gcetest"
	"github.com/labctl-dev/labctl/provider"
)

// town is a project with a lab in it, and the road that leads there.
type town struct {
	t      *testing.T
	server *gcetest.Server
	lab    lab.Lab
	seeds  map[string]lab.Seed
	home   string
}

func newTown(t *testing.T, l lab.Lab, o gcetest.Options) *town {
	t.Helper()
	seeds, err := guest.Seeds(l, guest.Keys{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &town{t: t, server: serve(t, o), lab: l, seeds: seeds, home: t.TempDir()}
}

// engine is a new one each time: as if labctl was started again.
func (x *town) engine() engine.Engine {
	x.t.Helper()
	values := map[string]any{"project": x.server.Project(), "zone": zone, "endpoint": x.server.URL}
	if x.lab.Resolver().IsValid() {
		values["dns"] = dnsCloud
	}
	p, err := Plugin().New(provider.Options{Home: x.home, Target: x.lab.Target, Values: values})
	if err != nil {
		x.t.Fatal(err)
	}
	return engine.Engine{Description: Description(), Provider: p}
}

func (x *town) options() engine.PlanOptions { return engine.PlanOptions{Seeds: x.seeds} }

func (x *town) plan(o engine.PlanOptions) plan.Plan {
	x.t.Helper()
	p, err := x.engine().Plan(x.t.Context(), x.lab, o)
	if err != nil {
		x.t.Fatal(err)
	}
	return p
}

// apply plans and applies.
func (x *town) apply(ctx context.Context, o engine.PlanOptions, parallel int) error {
	x.t.Helper()
	e := x.engine()
	p, err := e.Plan(ctx, x.lab, o)
	if err != nil {
		return err
	}
	r, err := e.Apply(ctx, x.lab, p, engine.ApplyOptions{
		Options: apply.Options{Parallel: parallel, Backoff: time.Millisecond}, Again: o,
		Seed: func(m string) (lab.Seed, error) { return x.seeds[m], nil },
	})
	if err == nil {
		err = r.Err()
	}
	if err == nil && len(r.Unsettled) > 0 {
		x.t.Errorf("apply, observe, plan again: not settled: %v", r.Unsettled)
	}
	return err
}

// foreign holds that others are seen in one thing of the lab, and in no other, and that nothing is planned for them; it returns
// all that is observed.
func (x *town) foreign(in provider.Addr, others string) []provider.Observed {
	x.t.Helper()
	if p := x.plan(x.options()); !p.Empty() {
		x.t.Errorf("what is foreign is not planned for: %v", p.Changes)
	}
	all, err := x.engine().Observe(x.t.Context(), x.lab)
	if err != nil {
		x.t.Fatal(err)
	}
	for _, o := range all {
		if want := map[bool]string{true: others}[o.Addr == in]; o.Outputs["foreign"] != want {
			x.t.Errorf("%s: foreign in it is %q, want %q", o.Addr, o.Outputs["foreign"], want)
		}
	}
	return all
}

func (x *town) mustApply(o engine.PlanOptions) {
	x.t.Helper()
	if err := x.apply(x.t.Context(), o, 4); err != nil {
		x.t.Fatal(err)
	}
}

// find is the name in the project of what the lab calls kind/name.
func (x *town) find(kind, name string) string {
	g := &gce{target: x.lab.Target, opts: options{Project: x.server.Project(), Zone: zone}}
	return g.path(x.lab.Name, addr(kind, name))
}

// TestGoldenRequests holds every request for a change that makes deploy3 and deploy4, in the order of the graph.
func TestGoldenRequests(t *testing.T) {
	for _, step := range []struct {
		name string
		tags []string
	}{{"deploy3", nil}, {"deploy4", []string{"gpu=nvidia-tesla-t4"}}} {
		t.Run(step.name, func(t *testing.T) {
			x := newTown(t, deployment(t, step.name, step.tags...), gcetest.Options{})
			if err := x.apply(t.Context(), x.options(), 1); err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			for _, r := range x.server.Requests() {
				if !r.Mutates() {
					continue
				}
				line, err := json.Marshal(brief(r.Body))
				if err != nil {
					t.Fatal(err)
				}
				got.WriteString(r.Method + " " + r.Path)
				if r.Query != "" {
					got.WriteString("?" + r.Query)
				}
				got.WriteString(" " + string(line) + "\n")
			}
			golden(t, step.name+".requests", got.Bytes())
		})
	}
}

// brief is a body without what stands elsewhere: seeds, the startup script, digests of what is inside.
func brief(v any) any {
	switch v := v.(type) {
	case map[string]any:
		key, _ := v["key"].(string)
		if slices.Contains([]string{metaSeed, metaStartup, metaGuest}, key) {
			return map[string]any{"key": key, "value": "..."}
		}
		out := map[string]any{}
		for k, x := range v {
			if out[k] = brief(x); strings.HasSuffix(strings.ToLower(k), "fingerprint") {
				out[k] = "..."
			}
		}
		return out
	case []any:
		var out []any
		for _, x := range v {
			out = append(out, brief(x))
		}
		return out
	}
	return v
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	goldentest.File(t, filepath.Join("testdata", name), string(got))
}

// TestDrift changes deploy3 behind labctl's back, one thing after the other: each is seen, and mended in place.
func TestDrift(t *testing.T) {
	x := newTown(t, deployment(t, "deploy3"), gcetest.Options{})
	x.mustApply(x.options())
	if p := x.plan(x.options()); !p.Empty() {
		t.Fatalf("a lab that was just made: %v", p.Changes)
	}
	set := func(key string, value any) func(map[string]any) {
		return func(o map[string]any) { o[key] = value }
	}
	for _, test := range []struct {
		name       string
		kind, what string
		change     func(o map[string]any)
		impact     provider.Impact
	}{
		{"a rule lets everybody in", kindFirewall, "internal/admin", set("sourceRanges", []any{"0.0.0.0/0"}), provider.Live},
		{"a rule is for tags now", kindFirewall, "internal/admin", set("targetTags", []any{"web"}), provider.Live},
		{"a rule does not count", kindFirewall, "internal/admin", set("disabled", true), provider.Live},
		{"a rule comes late", kindFirewall, "internal/admin", set("priority", 2000.0), provider.Live},
		{"no way out", kindNAT, "uplink", func(o map[string]any) { delete(o, "nats") }, provider.Live},
		{"no protection", kindMachine, "ns", set("deletionProtection", true), provider.Live},
		{"a label is gone", kindDisk, "jenkins/jenkins-fd9c67", func(o map[string]any) { o["labels"].(map[string]any)[labelProtect] = "true" }, provider.Live},
		{"logins by Google's accounts", kindMachine, "ns", func(o map[string]any) {
			for _, i := range o["metadata"].(map[string]any)["items"].([]any) {
				if i := i.(map[string]any); i["key"] == "enable-oslogin" {
					i["value"] = "TRUE"
				}
			}
		}, provider.Live},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := x.server.Edit(x.find(test.kind, test.what), test.change); err != nil {
				t.Fatal(err)
			}
			p := x.plan(x.options())
			if len(p.Changes) != 1 || p.Changes[0].Addr != addr(test.kind, test.what) || p.Changes[0].Impact != test.impact {
				t.Fatalf("one change of %s/%s that is %s: %+v", test.kind, test.what, test.impact, p.Changes)
			}
			x.mustApply(x.options())
		})
	}
	t.Run("a machine is off", func(t *testing.T) {
		if _, err := x.server.Do("POST", x.find(kindMachine, "ns")+"/stop", nil); err != nil {
			t.Fatal(err)
		}
		if p := x.plan(x.options()); len(p.Changes) != 1 {
			t.Fatalf("one change: %+v", p.Changes)
		}
		x.mustApply(x.options())
	})
	t.Run("a route is gone", func(t *testing.T) {
		if _, err := x.server.Do("DELETE", x.find(kindRoute, "internal/world"), nil); err != nil {
			t.Fatal(err)
		}
		x.mustApply(x.options())
	})
}

// TestForeign has somebody else's rule in a network of the lab: it is told of, in nobody's plan, and keeps the network.
func TestForeign(t *testing.T) {
	x := newTown(t, deployment(t, "deploy3"), gcetest.Options{})
	x.mustApply(x.options())
	network := x.find(kindNetwork, "internal")
	if _, err := x.server.Do("POST", "global/firewalls", map[string]any{
		"name": "theirs", "network": network, "sourceRanges": []any{"0.0.0.0/0"}, "allowed": []any{map[string]any{"IPProtocol": "all"}},
	}); err != nil {
		t.Fatal(err)
	}
	all := x.foreign(addr(kindNetwork, "internal"), "firewall theirs")
	away := engine.PlanOptions{Destroy: true, Allow: names(all)}
	if err := x.apply(t.Context(), away, 4); err == nil || !strings.Contains(err.Error(), "firewall theirs") || provider.CodeOf(err) != provider.InUse {
		t.Errorf("destroy says what is in the way: %v", err)
	}
	if x.server.Get("global/firewalls/theirs") == nil {
		t.Error("what is foreign was deleted")
	}
	if _, err := x.server.Do("DELETE", "global/firewalls/theirs", nil); err != nil {
		t.Fatal(err)
	}
	x.mustApply(away)
	gone(t, x.server)
}

// TestUsers: what is in use is said with the name of who uses it, and whose that is.
func TestUsers(t *testing.T) {
	x := newTown(t, deployment(t, "deploy3"), gcetest.Options{})
	x.mustApply(x.options())
	if _, err := x.server.Do("POST", "zones/"+zone+"/instances", map[string]any{
		"name": "theirs", "machineType": "zones/" + zone + "/machineTypes/e2-micro",
		"networkInterfaces": []any{map[string]any{"subnetwork": x.find(kindSubnet, "cicd")}},
		"disks":             []any{map[string]any{"boot": true, "initializeParams": map[string]any{"sourceImage": "projects/debian-cloud/global/images/family/debian-12"}}},
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := x.server.Do("POST", "regions/europe-west1/subnetworks", map[string]any{
		"name": "more", "network": x.find(kindNetwork, "cicd"), "ipCidrRange": "10.99.0.0/24",
	}); err != nil {
		t.Fatal(err)
	}
	all, err := x.engine().Observe(t.Context(), x.lab)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range all {
		if o.Addr == addr(kindNetwork, "cicd") && o.Outputs["foreign"] != "subnet more" {
			t.Errorf("foreign in %s: %q", o.Addr, o.Outputs["foreign"])
		}
	}
	const want = "instances/theirs is nothing that labctl made"
	if err := x.apply(t.Context(), engine.PlanOptions{Destroy: true, Allow: names(all)}, 4); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("destroy says who is in the way: %v", err)
	}
	g := x.engine().Provider.(*gce)
	ours := &api.Error{Reason: api.InUse, Text: "The network resource 'x' is already being used by 'projects/lab-project/" + x.find(kindSubnet, "cicd") + "'"}
	if err := g.whose(t.Context(), "other", ours); !strings.Contains(err.Error(), "is gce.subnet/cicd of lab deploy-dev on its target cloud") {
		t.Errorf("a user of another lab: %v", err)
	}
	if err := g.whose(t.Context(), "deploy-dev", &api.Error{Reason: api.InUse, Text: "It is in use."}); err.Error() != "It is in use." {
		t.Errorf("other words: %v", err)
	}
}

func names(all []provider.Observed) []string {
	var out []string
	for _, o := range all {
		out = append(out, o.Addr.String())
	}
	return out
}

// TestKilled kills an apply of deploy3 before every fourth request for a change, and once more when the request has
// arrived, then applies again; and the same of its destruction.
func TestKilled(t *testing.T) {
	l := deployment(t, "deploy3")
	whole := newTown(t, l, gcetest.Options{})
	whole.mustApply(whole.options())
	made := whole.server.Mutations()
	for n := 1; n <= made; n += 4 {
		x := newTown(t, l, gcetest.Options{})
		x.killed("", n, x.options())
		x.mustApply(x.options())
		if p := x.plan(x.options()); !p.Empty() {
			t.Fatalf("killed at %d of %d, and applied again: %v", n, made, p.Changes)
		}
		all, err := x.engine().Observe(t.Context(), x.lab)
		if err != nil {
			t.Fatal(err)
		}
		away := engine.PlanOptions{Destroy: true, Allow: names(all)}
		x.killed("", n, away)
		x.mustApply(away)
		gone(t, x.server)
	}
}

// killed applies until the nth request for a change by a method ("" is any), which still arrives. What becomes of it nobody
// hears.
func (x *town) killed(method string, n int, o engine.PlanOptions) {
	x.t.Helper()
	ctx, cancel := context.WithCancel(x.t.Context())
	defer cancel()
	x.server.Inject(gcetest.Fault{Method: method, After: n - 1, Hook: func(string, string) { cancel() }})
	_ = x.apply(ctx, o, 2) // it fails where it was killed, or was done before
	x.server.Heal()
}

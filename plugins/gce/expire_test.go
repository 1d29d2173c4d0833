package gce

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/gce/gcetest"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/providertest"
)

// made makes a lab on a server and returns its provider.
func made(t *testing.T, o provider.Options, l lab.Lab) *gce {
	t.Helper()
	p, err := open(o)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := p.Expand(l, nil)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortStableFunc(rs, func(a, b provider.Resource) int {
		return Description().Rank(a.Addr.Kind) - Description().Rank(b.Addr.Kind)
	})
	for _, r := range rs {
		if err := p.Create(context.Background(), r, provider.Silent); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// small is a lab for Compute Engine.
func small(name string) lab.Lab {
	l := providertest.Lab()
	l.Name, l.Target = name, "test"
	office(&l, "10.199.16.0/24")
	for i := range l.Machines {
		for j := range l.Machines[i].Disks {
			l.Machines[i].Disks[j].Size = 20 * lab.GiB
		}
		for j := range l.Machines[i].NICs {
			l.Machines[i].NICs[j].MAC = "" // it is of the lab's name
		}
	}
	return fit(l)
}

// TestTTL: the cloud stops machines whose time is up, and then, not before, their lab is expired.
func TestTTL(t *testing.T) {
	s := serve(t, gcetest.Options{})
	o := on(t, s)
	o.Values["ttl"] = "8h"
	brief := made(t, o, small("brief"))
	forever := made(t, on(t, s), small("forever"))
	expired := func(p *gce, after time.Duration) string {
		all, err := p.Expired(context.Background(), time.Now().Add(after))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, x := range all {
			names = append(names, fmt.Sprintf("%s %s %d", x.Lab, x.Target, x.Left))
		}
		return strings.Join(names, ", ")
	}
	if got := expired(forever, 0); got != "" {
		t.Errorf("before its time: %s", got)
	}
	if got := expired(forever, 9*time.Hour); got != "" {
		t.Errorf("by labctl's clock it is over, but machines run: %s", got)
	}
	s.Advance(9 * time.Hour)
	found, err := brief.Observe(context.Background(), small("brief"))
	if err != nil {
		t.Fatal(err)
	}
	machines, left := 0, 0
	for _, x := range found {
		if x.Addr.Kind == kindMachine {
			machines++
			left += 1 + len(x.Attrs["disks"].([]any))
			if x.Attrs["power"] != "off" || x.Attrs["ttl"] != "8h0m0s" {
				t.Errorf("%s is %v with ttl %v after its time", x.Addr, x.Attrs["power"], x.Attrs["ttl"])
			}
		}
	}
	if got, want := expired(forever, 9*time.Hour), fmt.Sprintf("brief test %d", left); machines == 0 || got != want {
		t.Errorf("after its time: %q, want %q", got, want)
	}
	for _, ttl := range []string{"10s", "2881h", "soon", "1500ms"} {
		o.Values["ttl"] = ttl
		if _, err := open(o); provider.CodeOf(err) != provider.Invalid {
			t.Errorf("ttl %s: %v", ttl, err)
		}
	}
}

// TestTTLChanged: another ttl is given to instances that exist, which stop for that and start again.
func TestTTLChanged(t *testing.T) {
	s := serve(t, gcetest.Options{})
	o := on(t, s)
	made(t, o, small("demo"))
	for _, ttl := range []string{"8h", "30m", ""} {
		o.Values["ttl"] = ttl
		if ttl == "" {
			delete(o.Values, "ttl")
		}
		p := made(t, o, small("demo"))
		want, err := p.Expand(small("demo"), nil)
		if err != nil {
			t.Fatal(err)
		}
		found, err := p.Observe(context.Background(), small("demo"))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range want {
			i := slices.IndexFunc(found, func(x provider.Observed) bool { return x.Addr == r.Addr })
			if i < 0 || cmp.Diff(r.Attrs, found[i].Attrs) != "" {
				t.Errorf("ttl %q: %s is not as it should be", ttl, r.Addr)
			}
		}
	}
}

// TestPrices holds the sums against ones made by hand from the table that labctl brings.
func TestPrices(t *testing.T) {
	g := &gce{opts: options{Zone: "europe-west1-b"}}
	thing := func(kind, name string, attrs any) provider.Resource {
		a, err := provider.Encode(attrs)
		if err != nil {
			t.Fatal(err)
		}
		return provider.Resource{Addr: addr(kind, name), Attrs: a}
	}
	web := machineAttrs{Type: "e2-medium", Power: "on", NICs: []nic{{"uplink", "10.0.0.2"}}}
	for _, x := range []struct {
		name    string
		things  []provider.Resource
		monthly float64
		unknown string
	}{
		{"a shared core", []provider.Resource{thing(kindMachine, "web", web)}, 26.91, ""},
		{"by processors and memory", []provider.Resource{thing(kindMachine, "db", machineAttrs{Type: "e2-standard-2", Power: "on"})}, 53.81, ""},
		{"off", []provider.Resource{thing(kindMachine, "web", machineAttrs{Type: "e2-medium", Power: "off"})}, 0, ""},
		{"a GPU", []provider.Resource{thing(kindMachine, "gpu", machineAttrs{Type: "n1-standard-1", Power: "on", GPUs: "nvidia-tesla-t4 x 2"})}, 549.14, ""},
		{"a disk", []provider.Resource{thing(kindDisk, "web/root", diskAttrs{Type: "pd-balanced", Size: 50 * lab.GiB})}, 5, ""},
		{"an address that nobody has", []provider.Resource{thing(kindAddress, "web", addressAttrs{Tier: tier})}, 7.3, ""},
		{"an address in use", []provider.Resource{thing(kindAddress, "web", addressAttrs{Tier: tier}), thing(kindMachine, "web", machineAttrs{Type: "e2-medium", Power: "on", External: "web"})}, 3.65 + 26.91, ""},
		{"a way out", []provider.Resource{thing(kindNAT, "uplink", natAttrs{"uplink", "all"}), thing(kindMachine, "web", web)}, 3.65 + 1.02 + 26.91, ""},
		{"nobody knows", []provider.Resource{thing(kindMachine, "web", machineAttrs{Type: "z9-huge-1", Power: "on"})}, 0, "z9-huge-1 in europe-west1"},
		{"free", []provider.Resource{thing(kindNetwork, "lan", networkAttrs{1460}), thing(kindFirewall, "x", firewallAttrs{})}, 0, ""},
	} {
		got, err := g.Prices(context.Background(), provider.PriceQuery{Things: x.things})
		if err != nil {
			t.Fatal(err)
		}
		sum := 0.0
		for _, i := range got.Items {
			sum += i.Hourly * provider.HoursPerMonth
		}
		if math.Abs(sum-x.monthly) > 0.01 || strings.Join(got.Unknown, " ") != x.unknown {
			t.Errorf("%s: %.2f a month, unknown %q; want %.2f, %q", x.name, sum, got.Unknown, x.monthly, x.unknown)
		}
	}
	if _, err := readPrices([]byte(`{"currency": "EUR", "date": "yesterday", "regions": {"x": {}}}`)); provider.CodeOf(err) != provider.Invalid {
		t.Errorf("a table without a date: %v", err)
	}
}

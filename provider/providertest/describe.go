package providertest

import (
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// describes checks that the description makes sense.
func describes(t *testing.T, o Options) {
	d := o.Plugin.Description
	word := regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	if !word.MatchString(d.Name) || len(d.Kinds) == 0 {
		t.Errorf("a description has a name in lower case and kinds: %q, %d kinds", d.Name, len(d.Kinds))
	}
	seen := map[string]bool{}
	for _, k := range d.Kinds {
		if !word.MatchString(k.Name) || seen[k.Name] {
			t.Errorf("kinds have unique names in lower case: %q", k.Name)
		}
		describesKind(t, k, seen)
		seen[k.Name] = true
	}
	known := map[provider.Ability]bool{provider.Dials: true, provider.Consoles: true, provider.Diagnoses: true, provider.Snapshots: true, provider.Adopts: true, provider.Measures: true, provider.Installs: true, provider.Starts: true, provider.Estimates: true, provider.Expires: true, provider.Filters: true, provider.Allots: true}
	for _, a := range d.Abilities {
		if !known[a] {
			t.Errorf("abilities are known and announced once: %q", a)
		}
		known[a] = false
	}
	for _, pair := range []string{"{}", "()", "[]"} {
		if open, shut := strings.Count(d.Options, pair[:1]), strings.Count(d.Options, pair[1:]); open != shut {
			t.Errorf("Options is CUE text: it has %d %q and %d %q", open, pair[:1], shut, pair[1:])
		}
	}
}

// describesKind checks one kind; seen are the kinds before it.
func describesKind(t *testing.T, k provider.Kind, seen map[string]bool) {
	if len(k.Attrs) == 0 {
		t.Errorf("every kind has attributes: %s has none", k.Name)
	}
	for name, a := range k.Attrs {
		if a.Impact == provider.None || a.Impact.Rank() > provider.Replace.Rank() {
			t.Errorf("every attribute has a known impact: %s.%s has %q", k.Name, name, a.Impact)
		}
		if a.Lower != provider.None && a.Lower.Rank() > provider.Replace.Rank() {
			t.Errorf("the impact of a lower value is a known one: %s.%s has %q", k.Name, name, a.Lower)
		}
	}
	for name, a := range k.Attrs {
		if n := len(a.Alike); n == 1 || n > 1 && a.Impact.Rank() <= provider.Live.Rank() || len(slices.Compact(slices.Sorted(slices.Values(a.Alike)))) != n {
			t.Errorf("values between which a change is live are two or more, of an attribute whose impact is another: %s.%s has %q", k.Name, name, a.Alike)
		}
	}
	for _, other := range k.RemadeWith {
		if !seen[other] {
			t.Errorf("a kind is remade with kinds that come before it in creation order: %s with %s", k.Name, other)
		}
	}
}

// expands checks Expand for the lab and for each of its edits.
func expands(t *testing.T, o Options) {
	p := o.open(t, o.fresh(t))
	expandsLab(t, o, p, o.Lab)
	for _, e := range o.edits(t) {
		l := clone(o.Lab)
		e.Change(&l)
		if _, err := p.Expand(l, o.seeds(l)); provider.CodeOf(err) != provider.Unsupported {
			t.Run(e.Name, func(t *testing.T) { expandsLab(t, o, p, l) })
		}
	}
	rs, err := p.Expand(lab.Lab{Name: o.Lab.Name, Domain: o.Lab.Domain, Target: o.Lab.Target}, nil)
	if err != nil || len(rs) != 0 {
		t.Errorf("an empty lab is made of nothing: %v, %v", rs, err)
	}
}

func expandsLab(t *testing.T, o Options, p provider.Provider, l lab.Lab) {
	seeds := o.seeds(l)
	before, _ := json.MarshalIndent(l, "", " ")
	rs, err := p.Expand(l, seeds)
	if err != nil {
		t.Fatalf("Expand knows this lab: %v", err)
	}
	after, _ := json.MarshalIndent(l, "", " ")
	if d := cmp.Diff(string(before), string(after)); d != "" {
		t.Errorf("Expand is pure: it changed the lab it was given (-before +after):\n%s", d)
	}
	for range 3 {
		again, err := p.Expand(clone(l), o.seeds(l))
		if d := cmp.Diff(rs, again); d != "" || err != nil {
			t.Errorf("Expand gives the same answer for the same lab: %v\n%s", err, d)
		}
	}
	d := o.Plugin.Description
	there := map[provider.Addr]bool{}
	for _, r := range rs {
		if there[r.Addr] {
			t.Errorf("addresses are unique: %s", r.Addr)
		}
		there[r.Addr] = true
	}
	for _, r := range rs {
		if err := d.Check(r); err != nil {
			t.Errorf("Expand names only what the description does: %v", err)
		}
		if a, err := provider.ParseAddr(r.Addr.String()); err != nil || a != r.Addr || a.Provider != d.Name {
			t.Errorf("addresses can be read back and name their provider: %v, %v", r.Addr, err)
		}
		if r.Seed != nil {
			t.Errorf("Expand leaves the seed to the engine: %s has one", r.Addr)
		}
		if b, _ := json.Marshal(r); strings.Contains(string(b), canary) {
			t.Errorf("nothing secret of a seed is in a resource: %s", r.Addr)
		}
		normal(t, r.Addr, r.Attrs)
		if _, ok := l.Machine(r.Machine); r.Machine != "" && !ok {
			t.Errorf("Machine is one of the lab's: %s has %q", r.Addr, r.Machine)
		}
		if r.Lab != l.Name && (r.Lab != "" || r.Machine != "") {
			t.Errorf("Lab is the owner's name, or empty for what labs share: %s has %q", r.Addr, r.Lab)
		}
		for _, n := range r.Needs {
			if !there[n] || d.Rank(n.Kind) > d.Rank(r.Addr.Kind) || n == r.Addr {
				t.Errorf("what is needed exists in the lab and comes earlier in creation order: %s needs %s", r.Addr, n)
			}
		}
	}
	expandsMachines(t, d, l, rs)
}

// expandsMachines checks that a provider with machines has all of them.
func expandsMachines(t *testing.T, d provider.Description, l lab.Lab, rs []provider.Resource) {
	for _, k := range d.Kinds {
		if !k.Machine && !k.Guest {
			continue
		}
		got := map[string]int{}
		for _, r := range rs {
			if r.Addr.Kind == k.Name {
				got[r.Machine]++
			}
		}
		for _, m := range l.Machines {
			if got[m.Name] != 1 {
				t.Errorf("every machine of the lab has one %s: %s has %d", k.Name, m.Name, got[m.Name])
			}
		}
	}
}

// normal checks that attributes are as encoding/json makes them, so that they compare on both sides of a wire.
func normal(t *testing.T, a provider.Addr, attrs provider.Attrs) {
	t.Helper()
	again, err := provider.Encode(attrs)
	if err != nil || !reflect.DeepEqual(again, attrs) && len(attrs) > 0 {
		t.Errorf("attributes are in normal form: those of %s are not (-are +should be): %v\n%s", a, err, cmp.Diff(attrs, again))
	}
	for name, v := range attrs {
		if v == nil {
			t.Errorf("attributes are in normal form: %s.%s is nil", a, name)
		}
	}
}

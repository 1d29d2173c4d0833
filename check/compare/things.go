package compare

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// part is a Thing on one side.
type part struct {
	kind, name string
	value      any
}

// things are the parts that differ. Parts are compared as what they print, so that no field is forgotten.
func things(before, after lab.Lab) []Thing {
	out := []Thing{}
	then, now := parts(before), parts(after)
	for _, old := range then {
		i := slices.IndexFunc(now, func(p part) bool { return p.name == old.name && family(p.kind) == family(old.kind) })
		if i < 0 {
			out = append(out, Thing{Kind: old.kind, Name: old.name, Action: Removed})
			continue
		}
		if facts := differ(flat(old.value), flat(now[i].value)); len(facts) > 0 {
			out = append(out, Thing{Kind: now[i].kind, Name: old.name, Action: Changed, Facts: facts})
		}
	}
	for _, p := range now {
		if !slices.ContainsFunc(then, func(o part) bool { return o.name == p.name && family(p.kind) == family(o.kind) }) {
			out = append(out, Thing{Kind: p.kind, Name: p.name, Action: Added, Facts: about(p)})
		}
	}
	slices.SortStableFunc(out, func(a, b Thing) int {
		return cmp.Or(slices.Index(kinds, family(a.Kind))-slices.Index(kinds, family(b.Kind)), strings.Compare(a.Name, b.Name))
	})
	return out
}

// kinds in the order in which they are shown.
var kinds = []string{"lab", "network", "machine", "rule", "implied", "check", "target", "image", "secret", "pool"}

// family is the kind of which a name is the only one: a server that becomes a router is the same machine.
func family(kind string) string {
	if kind == "router" || kind == "server" {
		return "machine"
	}
	return kind
}

// parts are everything that a lab is made of.
func parts(l lab.Lab) []part {
	if l.Name == "" {
		return nil
	}
	out := []part{{"lab", "lab", map[string]string{"called": l.Name, "domain": l.Domain}}}
	if l.Implied != nil {
		out = append(out, part{"implied", "implied", l.Implied})
	}
	for _, n := range l.Networks {
		out = append(out, part{"network", n.Name, n})
	}
	for i := range l.Machines {
		m := &l.Machines[i]
		kind := "server"
		if m.Router {
			kind = "router"
		}
		out = append(out, part{kind, m.Name, m})
	}
	for _, r := range l.Policy {
		out = append(out, part{"rule", r.Name, r})
	}
	for _, c := range l.Checks {
		out = append(out, part{"check", c.Name, c})
	}
	for _, t := range l.Targets {
		out = append(out, part{"target", t.Name, t})
	}
	for _, i := range l.Images {
		out = append(out, part{"image", i.Name, i})
	}
	for _, s := range l.Secrets {
		out = append(out, part{"secret", s.Name, s})
	}
	for _, p := range l.Pools {
		out = append(out, part{"pool", p.Name, p})
	}
	return out
}

// about are the facts of a new part that a reader wants first.
func about(p part) []Fact {
	var out []Fact
	for _, f := range differ(nil, flat(p.value)) {
		head, _, _ := strings.Cut(f.Field, ".")
		switch p.kind {
		case "rule":
		case "network":
			if !slices.Contains([]string{"cidr", "cidr6", "uplink", "isolated", "adopted"}, head) {
				continue
			}
		case "router", "server":
			if !strings.HasSuffix(f.Field, ".addr") && !strings.HasSuffix(f.Field, ".addr6") && !slices.Contains([]string{"groups", "image", "roles", "external", "adopted"}, head) {
				continue
			}
		case "target":
			if head != "provider" {
				continue
			}
		default:
			continue
		}
		out = append(out, f)
	}
	return out
}

// differ are the fields that differ, sorted.
func differ(before, after map[string]string) []Fact {
	var out []Fact
	for field, old := range before {
		if now := after[field]; now != old {
			out = append(out, Fact{field, old, now})
		}
	}
	for field, now := range after {
		if _, both := before[field]; !both {
			out = append(out, Fact{Field: field, After: now})
		}
	}
	slices.SortFunc(out, func(a, b Fact) int { return strings.Compare(a.Field, b.Field) })
	return out
}

// derived are fields that follow from others, or say where something stands.
var derived = []string{"name", "mac", "given", "given6"}

// flat is a value as its fields: names with dots between them, and what is there as text.
func flat(v any) map[string]string {
	out := map[string]string{}
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // a lab is made of plain values
	}
	var tree any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil {
		panic(err)
	}
	spread(out, "", tree)
	return out
}

func spread(out map[string]string, at string, v any) {
	switch x := v.(type) {
	case map[string]any:
		for name, value := range x {
			place, _ := value.(string)
			inSpec := name == "path" && !strings.HasPrefix(place, "/") // and not in a machine or on the host
			if !inSpec && !slices.Contains(derived, name) {
				spread(out, strings.TrimPrefix(at+"."+name, "."), value)
			}
		}
	case []any:
		var plain []string
		for i, value := range x {
			if fields, ok := value.(map[string]any); ok {
				name := called(fields, i)
				for _, key := range []string{"proto", "port", "network", "path"} { // what it is called by
					if strings.Contains(name, fmt.Sprint(fields[key])) {
						delete(fields, key)
					}
				}
				spread(out, at+"."+name, value)
			} else {
				plain = append(plain, fmt.Sprint(value))
			}
		}
		if len(plain) > 0 {
			out[at] = list(plain)
		}
	case string:
		if x != "" {
			out[at] = brief(x)
		}
	case json.Number:
		out[at] = x.String()
		if n, err := x.Int64(); err == nil && slices.Contains([]string{"memory", "size", "min_disk"}, path.Ext("." + at)[1:]) {
			out[at] = lab.Bytes(n).String()
		}
	case nil:
	default:
		out[at] = fmt.Sprint(x)
	}
}

// called is what an entry of a list is known by.
func called(fields map[string]any, i int) string {
	if proto, ok := fields["proto"]; ok && fields["port"] != nil {
		return fmt.Sprintf("%v/%v", proto, fields["port"])
	}
	for _, key := range []string{"name", "network", "path"} {
		if s, ok := fields[key].(string); ok && s != "" {
			return s
		}
	}
	return fmt.Sprint(i)
}

// brief is text for a line; of a long one it says how long it is, and enough to tell it from another.
func brief(s string) string {
	if len(s) <= 100 && !strings.Contains(s, "\n") {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return fmt.Sprintf("%d lines, sha256:%x", strings.Count(strings.TrimSuffix(s, "\n"), "\n")+1, sum[:6])
}

func list(all []string) string { return strings.Join(all, ", ") }

package labs_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/gce"
	"github.com/labctl-dev/labctl/plugins/libvirt"
	"github.com/labctl-dev/labctl/plugins/qemu"
	"github.com/labctl-dev/labctl/provider"
)

// TestSideBySide: docs/targets.md is what the plans of deploy3 on its three targets are made of, and nobody's hand.
func TestSideBySide(t *testing.T) {
	columns := []struct {
		target string
		plugin provider.Plugin
	}{{"local", qemu.Plugin()}, {"cuda", libvirt.Plugin()}, {"cloud", gce.Plugin()}}
	cells := map[string][3]string{}
	var rows []string
	var count [3]int
	for i, c := range columns {
		made, desired := planned(t, "deploy3.cue", nil, c.target, c.plugin)
		count[i] = len(made.Changes)
		for _, x := range made.Changes {
			at := slices.IndexFunc(desired, func(r provider.Resource) bool { return r.Addr == x.Addr })
			row := x.Addr.Kind + " " + x.Addr.Name
			cell, seen := cells[row]
			if !seen {
				rows = append(rows, row)
			}
			cell[i] = inCell(desired[at].Attrs)
			cells[row] = cell
		}
	}
	slices.SortStableFunc(rows, func(a, b string) int { return rank(a) - rank(b) })
	var out strings.Builder
	fmt.Fprintf(&out, `# One spec, three targets

What [labs/deploy3.cue](../labs/deploy3.cue) is made of where nothing of it is there: the plans of three targets side by side, as
`+"`labctl plan -t local`, `-t cuda` and `-t cloud`"+` say them. Written by a test (`+"`go test ./labs -run SideBySide -update`"+`), which fails
when a plan becomes another. Left out are digests and what is longer than a few words: `+"`labctl plan -o json`"+` has all of it, and
`+"`labs/testdata/deploy3.*.plan`"+` every attribute. What differs on Compute Engine, and why, stands in [gce.md](gce.md).

| %d, %d and %d things to create | `+"`local`: QEMU here | `cuda`: libvirt over ssh | `cloud`: Compute Engine |"+`
|---|---|---|---|
`, count[0], count[1], count[2])
	for _, row := range rows {
		c := cells[row]
		fmt.Fprintf(&out, "| %s | %s | %s | %s |\n", row, c[0], c[1], c[2])
	}
	golden(t, "../../docs/targets.md", []byte(out.String()))
}

// rank orders kinds as a reader goes: from the networks to the insides of machines.
func rank(row string) int {
	kind, _, _ := strings.Cut(row, " ")
	return slices.Index([]string{"image", "pool", "network", "subnet", "nat", "firewall", "address", "disk", "machine", "route", "guest"}, kind)
}

// inCell is what of a thing's attributes a reader can take in; "yes" is a thing without such.
func inCell(attrs provider.Attrs) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		if name == "digest" || name == "id" || name == "key" || name == "mac" || name == "name" || name == "domain" {
			continue
		}
		if text := brief(name, attrs[name]); text != "" && len(text) <= 48 && !strings.Contains(text, "sha256:") {
			out = append(out, name+" "+text)
		}
	}
	if len(out) == 0 {
		return "yes"
	}
	return strings.Join(out, ", ")
}

// brief is a value in a few words; "" if it takes more.
func brief(name string, v any) string {
	switch x := v.(type) {
	case string:
		return strings.TrimPrefix(x, "projects/debian-cloud/global/images/")
	case bool:
		return fmt.Sprint(x)
	case float64:
		if n := lab.Bytes(x); n >= lab.MiB && float64(n) == x {
			return n.String()
		}
		return fmt.Sprint(x)
	case []any:
		var all []string
		for _, one := range x {
			switch y := one.(type) {
			case string:
				all = append(all, y)
			case map[string]any:
				text, _ := y["network"].(string)
				if a, ok := y["address"].(string); ok && text != "" {
					text += " " + a
				}
				if text == "" {
					return ""
				}
				all = append(all, text)
			}
		}
		return strings.Join(all, " ")
	}
	return ""
}

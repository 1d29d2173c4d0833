package labs_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/gce"
	"github.com/labctl-dev/labctl/plugins/libvirt"
	"github.com/labctl-dev/labctl/plugins/qemu"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/schema"
)

// What the last deployments are made of on QEMU and on libvirt where nothing of them is there, one line for each thing.
// What is inside the machines stands in the golden labs, so a guest's digest is left out.
func TestPlans(t *testing.T) {
	for _, test := range []struct {
		file, target string
		tags         []string
		plugin       provider.Plugin
	}{
		{"deploy4.cue", "local", nil, qemu.Plugin()},
		{"deploy4.cue", "host", []string{"gpu=0000:65:00.0"}, libvirt.Plugin()},
		{"deploy4-lite.cue", "local", nil, qemu.Plugin()},
		{"final.cue", "host", nil, libvirt.Plugin()},
		{"final.cue", "local", nil, qemu.Plugin()},
		{"deploy3.cue", "local", nil, qemu.Plugin()},
		{"deploy3.cue", "host", nil, libvirt.Plugin()},
		{"deploy3.cue", "cloud", nil, gce.Plugin()},
		{"deploy4.cue", "cloud", []string{"gpu=nvidia-tesla-t4"}, gce.Plugin()},
	} {
		name := strings.TrimSuffix(test.file, ".cue") + "." + test.plugin.Description.Name
		t.Run(name, func(t *testing.T) {
			made, desired := planned(t, test.file, test.tags, test.target, test.plugin)
			golden(t, name+".plan", lines(t, made, desired))
		})
	}
}

// planned is what a lab is made of on a target where nothing of it is there.
func planned(t *testing.T, file string, tags []string, target string, plugin provider.Plugin) (plan.Plan, []provider.Resource) {
	t.Helper()
	s, err := schema.Load(schema.Options{Args: []string{file}, Tags: tags, Target: target})
	if err != nil {
		t.Fatal(err)
	}
	p, err := plugin.New(provider.Options{Home: "/var/lib/labctl", Target: target, Values: options(t, s.Lab, target)})
	if err != nil {
		t.Fatal(err)
	}
	seeds, err := guest.Seeds(s.Lab, guest.Keys{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	l := s.Lab
	l.Target = target
	desired, err := p.Expand(l.Within(), seeds)
	if err != nil {
		t.Fatal(err)
	}
	made, err := plan.Compute(plan.Input{Description: plugin.Description, Desired: desired})
	if err != nil {
		t.Fatal(err)
	}
	return made, desired
}

// options are those of a target of a lab.
func options(t *testing.T, l lab.Lab, target string) map[string]any {
	t.Helper()
	values := map[string]any{}
	for _, x := range l.Targets {
		if x.Name == target && len(x.Options) > 0 {
			if err := json.Unmarshal(x.Options, &values); err != nil {
				t.Fatal(err)
			}
		}
	}
	return values
}

// lines are the changes of a plan in its order, with what they make.
func lines(t *testing.T, p plan.Plan, desired []provider.Resource) []byte {
	var out strings.Builder
	for _, c := range p.Changes {
		at := slices.IndexFunc(desired, func(r provider.Resource) bool { return r.Addr == c.Addr })
		attrs := map[string]any{}
		for k, v := range desired[at].Attrs {
			if k != "digest" {
				attrs[k] = v
			}
		}
		text, err := json.Marshal(attrs)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s %s %s\n", c.Action, c.Addr, text)
	}
	return []byte(out.String())
}

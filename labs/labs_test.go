// Package labs_test holds the example labs to what they teach: they load, make sense, and come to the same lab every
// time.
package labs_test

import (
	"encoding/json"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/labctl-dev/labctl/check"
	"github.com/labctl-dev/labctl/check/reach"
	"github.com/labctl-dev/labctl/internal/goldentest"
	"github.com/labctl-dev/labctl/schema"
)

func TestLabs(t *testing.T) {
	all, err := filepath.Glob("*.cue")
	if err != nil || len(all) < 3 {
		t.Fatalf("%v, %v: want at least three labs", all, err)
	}
	examples, err := filepath.Glob("examples/*.cue")
	if err != nil {
		t.Fatal(err)
	}
	all = append(all, examples...)
	for _, name := range all {
		t.Run(name, func(t *testing.T) {
			s, err := schema.Load(schema.Options{Args: []string{name}})
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range append(check.Vet(s.Lab), reach.Vet(s.Lab)...) {
				t.Errorf("%s at %v", f, s.Pos(f.Path))
			}
			got, err := json.MarshalIndent(s.Lab, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, strings.TrimSuffix(filepath.Base(name), ".cue")+".json", append(got, '\n'))
		})
	}
}

// The planes of a lab can be there side by side: nothing in them is the same network, and their names differ.
func TestPlanesDoNotOverlap(t *testing.T) {
	for file, planes := range map[string][]string{"planes.cue": {"dev", "staging"}, "deploy3.cue": {"dev", "staging", "production"}} {
		seen := map[string]string{}
		for _, plane := range planes {
			s, err := schema.Load(schema.Options{Args: []string{file}, Tags: []string{"plane=" + plane}})
			if err != nil {
				t.Fatal(err)
			}
			said := []string{s.Lab.Name}
			for _, n := range s.Lab.Networks {
				for _, p := range []netip.Prefix{n.CIDR, n.CIDR6} {
					if p.IsValid() {
						said = append(said, p.String())
					}
				}
			}
			for _, x := range said {
				if other, ok := seen[x]; ok {
					t.Errorf("%s: %s has %s of %s", file, plane, x, other)
				}
				seen[x] = plane
			}
		}
	}
}

// Every step of the deployments leaves the machines of the one before where they are.
func TestDeploymentsKeepAddresses(t *testing.T) {
	at := map[string]string{}
	for _, file := range []string{"deploy0.cue", "deploy1.cue", "deploy2.cue", "deploy3.cue"} {
		s, err := schema.Load(schema.Options{Args: []string{file}})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range s.Lab.Machines {
			for _, nic := range m.NICs {
				key := m.Name + " on " + nic.Network
				now := nic.Addr.String() + " " + nic.MAC
				if before, ok := at[key]; ok && before != now {
					t.Errorf("%s: %s is %s, and was %s", file, key, now, before)
				}
				at[key] = now
			}
		}
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	goldentest.File(t, filepath.Join("testdata", name), string(got))
}

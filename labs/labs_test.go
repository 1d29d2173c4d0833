// Package labs_test holds the example labs to what they teach: they load, make sense, and come to the same lab every
// time.
package labs_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/check"
	"github.com/labctl-dev/labctl/schema"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestLabs(t *testing.T) {
	all, err := filepath.Glob("*.cue")
	if err != nil || len(all) < 3 {
		t.Fatalf("%v, %v: want at least three labs", all, err)
	}
	for _, name := range all {
		t.Run(name, func(t *testing.T) {
			s, err := schema.Load(schema.Options{Args: []string{name}})
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range check.Vet(s.Lab) {
				t.Errorf("%s at %v", f, s.Pos(f.Path))
			}
			got, err := json.MarshalIndent(s.Lab, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, strings.TrimSuffix(name, ".cue")+".json", append(got, '\n'))
		})
	}
}

// The planes of one lab can be there side by side: nothing in them is the same network.
func TestPlanesDoNotOverlap(t *testing.T) {
	seen := map[string]string{}
	for _, plane := range []string{"dev", "staging"} {
		s, err := schema.Load(schema.Options{Args: []string{"planes.cue"}, Tags: []string{"plane=" + plane}})
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range s.Lab.Networks {
			if other, ok := seen[n.CIDR.String()]; ok && n.CIDR.IsValid() {
				t.Errorf("%s has %s of %s", plane, n.CIDR, other)
			}
			seen[n.CIDR.String()] = plane
		}
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got), go test ./labs -update rewrites it:\n%s", path, diff)
	}
}

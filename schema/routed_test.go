package schema_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/schema"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// Everything that a routed lab may say, as the lab that comes of it.
func TestRouted(t *testing.T) {
	s, err := schema.Load(schema.Options{Args: []string{"testdata/routed.cue"}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(s.Lab, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	path := filepath.Join("testdata", "routed.json")
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got), -update rewrites it:\n%s", path, diff)
	}
}

package schema_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/check"
	"github.com/labctl-dev/labctl/check/reach"
	"github.com/labctl-dev/labctl/internal/goldentest"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/schema"
)

const library = "roles/testdata"

// Every role of the library has a small lab, roles/testdata/ROLE.cue. What it makes of that lab is golden: in
// roles/testdata/ROLE/ a folder for each machine with its files as they are written and guest.json for the rest, and
// lab.json for what the lab gains. -update writes them. For a new role only the lab is written by hand.
func TestLibrary(t *testing.T) {
	roles, err := filepath.Glob("roles/*.cue")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range roles {
		name := strings.TrimSuffix(filepath.Base(file), ".cue")
		if name == "roles" { // the package's comment
			continue
		}
		t.Run(name, func(t *testing.T) {
			s, err := schema.Load(schema.Options{Args: []string{filepath.Join(library, name+".cue")}})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(s.Lab.Machines, func(m lab.Machine) bool {
				return slices.ContainsFunc(m.Roles, func(r lab.Role) bool { return r.Name == name })
			}) {
				t.Errorf("no machine has the role %s", name)
			}
			for _, f := range append(check.Vet(s.Lab), reach.Vet(s.Lab)...) {
				if f.Severity == check.Error {
					t.Error(f)
				}
			}
			goldenTree(t, filepath.Join(library, name), rendered(t, s.Lab))
		})
	}
}

// rendered is what roles have made of a lab, as files by path.
func rendered(t *testing.T, l lab.Lab) map[string]string {
	out := map[string]string{}
	put := func(name string, v any) {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err := e.Encode(v); err != nil {
			t.Fatal(err)
		}
		out[name] = b.String()
	}
	for _, m := range l.Machines {
		m.Guest.Files = slices.Clone(m.Guest.Files)
		for i := range m.Guest.Files {
			f := &m.Guest.Files[i]
			if f.Secret == "" && f.From == nil {
				out[filepath.Join(m.Name, f.Path)] = f.Text
			}
			f.Text = ""
		}
		put(filepath.Join(m.Name, "guest.json"), struct {
			Roles []lab.Role `json:"roles,omitempty"`
			Guest lab.Guest  `json:"guest"`
			Disks []lab.Disk `json:"disks"`
		}{m.Roles, m.Guest, m.Disks})
	}
	put("lab.json", struct {
		Secrets []lab.Secret `json:"secrets,omitempty"`
		Checks  []lab.Check  `json:"checks,omitempty"`
		Policy  []lab.Rule   `json:"policy,omitempty"`
	}{l.Secrets, l.Checks, l.Policy})
	return out
}

// goldenTree holds that the files below dir are those of want, by path, and no others.
func goldenTree(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	if goldentest.Update() {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		for name, text := range want {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	have := map[string]string{}
	if err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		have[name] = string(text)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		if _, ok := want[name]; !ok {
			t.Errorf("%s/%s is not made any more, -update takes it away", dir, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if diff := cmp.Diff(have[name], want[name]); diff != "" {
			t.Errorf("%s/%s (-want +got), -update rewrites it:\n%s", dir, name, diff)
		}
	}
}

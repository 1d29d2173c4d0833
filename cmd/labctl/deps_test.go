package main_test

import (
	"encoding/json"
	"os/exec"
	"sort"
	"strings"
	"testing"
)

const module = "github.com/labctl-dev/labctl/"

// ban says what a room must not reach, directly or through others, and why.
type ban struct {
	room  string   // a package of ours, or a tree of them with /...
	never []string // packages or trees; "third-party" is every module but the standard library and ours
	why   string
}

var bans = []ban{
	{"lab", []string{"third-party", module + "..."}, "the vocabulary must be importable by everyone without cost"},
	{"provider", []string{"third-party", module + "engine/...", module + "guest/...", module + "plugins/..."}, "a plugin author gets the contract, not labctl's dependencies"},
	{"engine/...", []string{module + "plugins/...", module + "provider/rpc", module + "schema/...", module + "access", "cuelang.org/...", "golang.org/x/crypto/...", "os/exec", "github.com/hashicorp/go-plugin/...", "github.com/digitalocean/..."}, "the road must be the same for every hypervisor and every way a lab is written down"},
	{"guest/...", []string{module + "provider/...", module + "engine/..."}, "the inside of a machine is the same whatever runs it"},
	{"plugins/...", []string{module + "engine/...", module + "schema/...", module + "check/...", module + "access", module + "cmd/..."}, "a plugin knows the contract and its hypervisor, nothing of labctl"},
	{"cmd/labctl/...", []string{module + "plugins/..."}, "hypervisors are processes of their own; ours take the same way as a stranger's"},
	{"check/...", []string{"cuelang.org/...", "os/exec"}, "the proof is pure"},
}

// doors are the only packages that may import a dependency.
var doors = []struct{ dependency, room string }{
	{"cuelang.org/...", "schema"},
	{"github.com/hashicorp/go-plugin/...", "provider/rpc"},
	{"github.com/digitalocean/go-libvirt/...", "plugins/libvirt/..."},
	{"github.com/kdomanski/iso9660/...", "guest/seediso"},
	{"golang.org/x/oauth2/...", "plugins/gce/..."},
	{"golang.org/x/crypto/ssh/...", "access"},
	{"github.com/hashicorp/go-multierror/...", "engine/apply"},
}

// TestDeps holds the bans of ARCHITECTURE.md over what `go list -deps` says. Tests may import what they like.
func TestDeps(t *testing.T) {
	pkgs := list(t)
	for _, b := range bans {
		for _, p := range ours(pkgs, b.room) {
			for _, dep := range reach(pkgs, p) {
				if dep != p && !within(dep, module+b.room) && matches(pkgs, dep, b.never) {
					t.Errorf("%s must not reach %s: %s\n  way: %s", p, dep, b.why, strings.Join(way(pkgs, p, dep), " -> "))
				}
			}
		}
	}
	for _, d := range doors {
		for path, p := range pkgs {
			if p.ours() && !within(path, module+d.room) {
				for _, imp := range p.Imports {
					if within(imp, d.dependency) {
						t.Errorf("%s imports %s: the one door is %s", path, imp, d.room)
					}
				}
			}
		}
	}
	siblings(t, pkgs)
}

// siblings holds that plugins do not reach each other.
func siblings(t *testing.T, pkgs map[string]pkg) {
	for _, p := range ours(pkgs, "plugins/...") {
		for _, dep := range reach(pkgs, p) {
			if within(dep, module+"plugins/...") && plugin(dep) != plugin(p) {
				t.Errorf("%s must not reach %s: plugins do not know each other", p, dep)
			}
		}
	}
}

func plugin(path string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(path, module+"plugins/"), "/")
	return name
}

type pkg struct {
	ImportPath string
	Imports    []string
	Standard   bool
	Module     *struct{ Path string }
}

func (p pkg) ours() bool { return p.Module != nil && p.Module.Path+"/" == module }

func list(t *testing.T) map[string]pkg {
	t.Helper()
	watch("../..", func(path string) bool { return strings.HasSuffix(path, ".go") })
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Imports,Standard,Module", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	pkgs := map[string]pkg{}
	for d := json.NewDecoder(strings.NewReader(string(out))); d.More(); {
		var p pkg
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		pkgs[p.ImportPath] = p
	}
	return pkgs
}

func ours(pkgs map[string]pkg, room string) []string {
	var names []string
	for path, p := range pkgs {
		if p.ours() && within(path, module+room) {
			names = append(names, path)
		}
	}
	sort.Strings(names)
	return names
}

// within says whether path is the package, or in the tree, that pattern names.
func within(path, pattern string) bool {
	tree, ok := strings.CutSuffix(pattern, "...")
	if !ok {
		return path == pattern
	}
	return strings.HasPrefix(path+"/", tree)
}

func matches(pkgs map[string]pkg, path string, patterns []string) bool {
	for _, p := range patterns {
		if p == "third-party" && !pkgs[path].Standard && !pkgs[path].ours() || within(path, p) {
			return true
		}
	}
	return false
}

func reach(pkgs map[string]pkg, from string) []string {
	seen := map[string]bool{from: true}
	for todo := []string{from}; len(todo) > 0; todo = todo[1:] {
		for _, imp := range pkgs[todo[0]].Imports {
			if _, known := pkgs[imp]; known && !seen[imp] && (pkgs[imp].ours() || !pkgs[imp].Standard || !pkgs[todo[0]].Standard) {
				seen[imp] = true
				todo = append(todo, imp)
			}
		}
	}
	var all []string
	for p := range seen {
		all = append(all, p)
	}
	sort.Strings(all)
	return all
}

// way is a shortest chain of imports.
func way(pkgs map[string]pkg, from, to string) []string {
	prev := map[string]string{from: ""}
	for todo := []string{from}; len(todo) > 0; todo = todo[1:] {
		if todo[0] == to {
			var chain []string
			for p := to; p != ""; p = prev[p] {
				chain = append([]string{strings.TrimPrefix(p, module)}, chain...)
			}
			return chain
		}
		for _, imp := range pkgs[todo[0]].Imports {
			if _, seen := prev[imp]; !seen {
				prev[imp] = todo[0]
				todo = append(todo, imp)
			}
		}
	}
	return nil
}

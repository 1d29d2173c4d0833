package qemu

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// TestOlder: what the first labctl that people had wrote of a lab is read, and the machine is the lab's (docs/upgrading.md).
// The files in testdata/older stay as they are.
func TestOlder(t *testing.T) {
	older, err := filepath.Abs("testdata/older")
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	if err := os.CopyFS(home, os.DirFS(older)); err != nil { // observing may tidy up
		t.Fatal(err)
	}
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	p, err := Plugin().New(provider.Options{Home: home, Target: "local"})
	if err != nil {
		t.Fatal(err)
	}
	found, err := p.Observe(t.Context(), lab.Lab{Name: "shop", Target: "local"})
	if err != nil {
		t.Fatal(err)
	}
	want := provider.Attrs{"arch": "amd64", "firmware": "kernel", "image": "build:4574c806d3828c78", "cpus": 1.0, "memory": 536870912.0,
		"nics": []any{map[string]any{"network": "lan", "mac": "02:89:62:5c:2d:0a", "link": "up"}}, "disks": []any{"root"}, "power": "off"}
	for _, o := range found {
		if o.Addr.Kind == kindMachine && o.Machine == "web" && o.Lab == "shop" {
			if d := cmp.Diff(want, o.Attrs); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
			want = nil
		}
	}
	if want != nil {
		t.Errorf("machine web is not the lab's: %v", found)
	}
	var m mark
	b, err := os.ReadFile(dirsAt(home, "shop", "local").mark("web"))
	if err != nil || json.Unmarshal(b, &m) != nil || m.Disk != "5c8dd547" || m.Digest != "sha256:612465e5" || m.Addresses["lan"] != "10.0.2.15" {
		t.Errorf("what was once true inside is read as %+v, %v", m, err)
	}
}

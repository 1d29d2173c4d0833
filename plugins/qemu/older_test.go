package qemu

import (
	"encoding/json"
	"os"
	"os/exec"
	"testing"

	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/providertest"
	"github.com/labctl-dev/labctl/provider/providertest/tiny"
)

// TestOlder: what the first labctl that people had wrote of a lab is read, and the machine is the lab's (docs/upgrading.md).
// The files in testdata/older stay as they are.
func TestOlder(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	home := t.TempDir()
	want := map[string]provider.Attrs{"qemu.machine/web": {"arch": "amd64", "firmware": "kernel", "image": "build:4574c806d3828c78", "cpus": 1.0, "memory": 536870912.0,
		"nics": []any{map[string]any{"network": "lan", "mac": "02:89:62:5c:2d:0a", "link": "up"}}, "disks": []any{"root"}, "power": "off"}}
	providertest.Older(t, Plugin(), "testdata/older", home, nil, want)
	var m mark
	b, err := os.ReadFile(dirsAt(home, "shop", "local").mark("web"))
	if err != nil || json.Unmarshal(b, &m) != nil || m.Disk != "5c8dd547" || m.Digest != "sha256:612465e5" || m.Addresses["lan"] != "10.0.2.15" {
		t.Errorf("what was once true inside is read as %+v, %v", m, err)
	}
}

// TestOlderV1: the same of what labctl wrote when its formats were first promised, disks and guest included. The files in
// testdata/v1 stay as they are: who changes a format adds a v2 beside them, of a lab as it was until then.
func TestOlderV1(t *testing.T) {
	tiny.Need(t, "qemu-img")
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	home := t.TempDir()
	disks := func() {
		for disk, size := range map[string]string{"root": "3G", "data-c7755b": "1G"} { // the disks' format is QEMU's own
			if out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", dirsAt(home, "shop", "local").disk("web", disk), size).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
	}
	want := map[string]provider.Attrs{
		"qemu.machine/web": {"arch": "amd64", "firmware": "kernel", "cpus": 1.0, "memory": 671088640.0, "power": "off",
			"image": "build:sha256:1238de760a218551be6d77f97569f8621d9f1398c08ecacdbab4212e4f1473e9",
			"nics":  []any{map[string]any{"network": "internal", "mac": "02:2c:a3:57:d2:3c", "link": "up"}}, "disks": []any{"root", "data-c7755b"}},
		"qemu.disk/web/root":        {"boot_size": 3221225472.0},
		"qemu.disk/web/data-c7755b": {"size": 1073741824.0, "protect": true},
		"qemu.guest/web":            {"addresses": map[string]any{"internal": "10.40.3.10"}, "digest": "sha256:5452871ffae1d67310b062cb21ebcebc8dac5430d9c4f9392b5521548547ec73"},
	}
	providertest.Older(t, Plugin(), "testdata/v1", home, disks, want)
}

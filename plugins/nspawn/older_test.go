package nspawn

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/providertest"
)

// TestOlder: what labctl wrote of a lab when its formats were first promised is read, and the machine with its disks is the
// lab's (docs/upgrading.md). The files in testdata/v1 stay as they are: who changes a format adds a v2 beside them, of a lab
// as it was until then.
func TestOlder(t *testing.T) {
	want := map[string]provider.Attrs{
		"nspawn.machine/web": {"cpus": 1.0, "memory": 536870912.0, "power": "off", "disks": []any{"root", "data-c7755b"},
			"nics": []any{map[string]any{"network": "internal", "mac": "02:2c:a3:57:d2:3c", "link": "up"}}},
		"nspawn.disk/web/root":        {"image": "build:sha256:1238de760a218551be6d77f97569f8621d9f1398c08ecacdbab4212e4f1473e9", "size": 3221225472.0},
		"nspawn.disk/web/data-c7755b": {"size": 1073741824.0, "protect": true},
		"nspawn.guest/web":            {"addresses": map[string]any{"internal": "10.40.3.10"}, "digest": "sha256:5452871ffae1d67310b062cb21ebcebc8dac5430d9c4f9392b5521548547ec73"},
	}
	home := t.TempDir()
	providertest.Older(t, Plugin(), "testdata/v1", home, func() {
		blank := filepath.Join(home, "labs/shop/targets/local/disks/web/data-c7755b.raw")
		if err := os.WriteFile(blank, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}, want)
}

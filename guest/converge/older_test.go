package converge_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// TestOlder: a machine as labctl left it when its formats were first promised (docs/upgrading.md): today's program finds nothing
// to do by the document of then, runs no command a second time, and takes away what only memory.json of then knows of. The
// files in testdata/v1 stay as they are: who changes a format adds a v2 beside them, and keeps reading memory.json of v1.
func TestOlder(t *testing.T) {
	m := newMachine(t)
	kept := map[string]string{"guest.json": "etc/labctl/guest.json", "memory.json": "var/lib/labctl/memory.json"}
	for name, path := range kept {
		b, err := os.ReadFile(filepath.Join("testdata/v1", name))
		if err != nil {
			t.Fatal(err)
		}
		m.write(path, string(b))
	}
	for path, text := range map[string]string{
		"etc/hosts":                      "# labctl begin: names of the lab, written by labctl\n10.0.0.5 web.demo.lab web\n# labctl end\n",
		"etc/app/app.conf":               "a = 1\n",
		"etc/systemd/system/app.service": "[Service]\n", "home/lab/.ssh/authorized_keys": "ssh-ed25519 AAAA lab\n",
		"pkg.nginx": "", "pkg.mail-transport-agent": "", "units/app.service.enabled": "", "units/app.service.active": "", "made": "", "count": "ran\n",
	} {
		m.write(path, text)
	}
	for path, mode := range map[string]os.FileMode{"etc/app/app.conf": 0o640, "etc/systemd/system/app.service": 0o640, "home/lab/.ssh/authorized_keys": 0o600} {
		if err := os.Chmod(filepath.Join(m.root, path), mode); err != nil {
			t.Fatal(err)
		}
	}
	m.want([]string{"--check"}, 0)
	m.want(nil, 0)
	if got := m.calls() + m.read("count"); got != "ran\n" {
		t.Errorf("by the document of then it called: %s", got)
	}

	var d object
	if err := json.Unmarshal([]byte(m.read("etc/labctl/guest.json")), &d); err != nil {
		t.Fatal(err)
	}
	d["files"] = d["files"].([]any)[1:]
	b, _ := json.Marshal(d)
	m.write("etc/labctl/guest.json", string(b))
	m.want(nil, 0, "file /etc/app/app.conf: removed", "unit app: restarted, its files changed")
	if m.exists("etc/app/app.conf") {
		t.Error("what only memory.json knew of is still there")
	}
}

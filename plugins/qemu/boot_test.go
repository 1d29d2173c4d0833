package qemu

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/providertest/tiny"
)

// TestBootOrder has a machine ask the network first, where nobody answers: it comes to its disk. What is observed is
// what QEMU says.
func TestBootOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	l := tiny.Idle(t, w.q.home, 1)
	m := &l.Machines[0]
	l.Images, m.Image = []lab.Image{tiny.Talker(t, w.q.home)}, "talker"
	says := func(n int) {
		t.Helper()
		var b []byte
		for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
			if b, _ = os.ReadFile(w.q.dirs(l.Name).console("m0")); strings.Count(string(b), tiny.Said) >= n {
				return
			}
		}
		t.Fatalf("the machine never came to its disk; its console: %q", b)
	}
	for _, boot := range [][]lab.Boot{{"network:office", "disk"}, {"disk", "network"}, {"network:office", "network:lan", "disk"}, nil} {
		m.Boot, m.Nested = boot, len(boot) == 2
		if did := w.apply(l); len(did) == 0 {
			t.Errorf("%v: nothing was done", boot)
		}
		says(1)
		w.settled(l)
	}
	// Another hand changes the order of the machine that runs.
	c, err := w.q.monitor(t.Context(), w.q.dirs(l.Name), "m0", w.q.dirs(l.Name).qmp("m0"))
	if err != nil || c == nil {
		t.Fatal(err)
	}
	// QEMU refuses an index that another device still has, so the disk goes out of the way first.
	for _, to := range []struct {
		id    string
		index int
	}{{"root.root", 1}, {"nic.office", 0}} {
		set := map[string]any{"path": "/machine/peripheral/" + to.id, "property": "bootindex", "value": to.index}
		if err := c.Execute(t.Context(), "qom-set", set, nil); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	if got := fmt.Sprint(w.observe(l)["qemu.machine/m0"].Attrs["boot"]); got != "[network:office disk]" {
		t.Errorf("the machine starts from %s", got)
	}
	w.apply(l)
	w.settled(l)
}

// TestCanNest asks of hosts that cannot.
func TestCanNest(t *testing.T) {
	if err := canNest(host{Accel: accelTCG}); err != nil {
		t.Error(err)
	}
	if err := canNest(host{Accel: accelHVF}); provider.CodeOf(err) != provider.Unsupported || !strings.Contains(err.Error(), "nested: macOS") {
		t.Error(err)
	}
}

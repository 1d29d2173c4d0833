package qemu

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/providertest/tiny"
)

// TestStartOnce starts a machine from a network on which nobody answers: it does not come to its disk, nothing of that is
// observed, and after a restart of its own it does.
func TestStartOnce(t *testing.T) {
	w := newWorld(t, nil)
	l := tiny.Idle(t, w.q.home, 1)
	m := &l.Machines[0]
	l.Images, m.Image = []lab.Image{tiny.Talker(t, w.q.home)}, "talker"
	said := func() int {
		b, _ := os.ReadFile(w.q.dirs(l.Name).console("m0"))
		return strings.Count(string(b), tiny.Said)
	}
	start := func(from lab.Boot) error {
		return w.q.StartOnce(t.Context(), l, provider.Start{Machine: "m0", From: from}, provider.Silent)
	}
	if err := start(lab.FromDisk); provider.CodeOf(err) != provider.NotFound {
		t.Errorf("of a machine that is not there: %v", err)
	}
	w.q.opts.Stop = "0s" // it is deaf to its power button
	w.apply(l)
	if err := start("network:office"); err != nil {
		t.Fatal(err)
	}
	w.settled(l)
	time.Sleep(3 * time.Second) // in which it would have come to its disk
	if n := said(); n > 0 {
		t.Fatal("it has come to its disk")
	}
	c, err := w.q.monitor(t.Context(), w.q.dirs(l.Name), "m0", w.q.dirs(l.Name).qmp("m0"))
	if err != nil || c == nil {
		t.Fatal(err)
	}
	if err := c.Execute(t.Context(), "system_reset", nil, nil); err != nil {
		t.Fatal(err)
	}
	c.Close()
	for deadline := time.Now().Add(5 * time.Minute); said() == 0; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("after a restart it never came to its disk")
		}
	}
	w.settled(l)
	for from, why := range map[lab.Boot]string{"network:attic": `no interface on network "attic"`, "floppy": `"floppy" is nothing`} {
		if err := start(from); provider.CodeOf(err) != provider.Unsupported || !strings.Contains(err.Error(), why) {
			t.Errorf("from %s: %v", from, err)
		}
	}
}

package libvirt

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
// observed, and after a restart it does.
func TestStartOnce(t *testing.T) {
	onHost(t, func(w bench) {
		l := tiny.Idle(w.T, w.v.home, 1)
		m := &l.Machines[0]
		l.Images, m.Image = []lab.Image{tiny.Talker(w.T, w.v.home)}, "talker"
		start := func(from lab.Boot) error {
			return w.v.StartOnce(w.Context(), l, provider.Start{Machine: "m0", From: from}, provider.Silent)
		}
		if err := start(lab.FromDisk); provider.CodeOf(err) != provider.NotFound {
			w.Errorf("of a machine that is not there: %v", err)
		}
		w.apply(l)
		w.sees(l, "m0", 0, tiny.Said)
		if err := start("network:office"); err != nil {
			w.Fatal(err)
		}
		w.settled(l)
		time.Sleep(3 * time.Second) // in which it would have come to its disk
		if b, err := os.ReadFile(w.observe(l)["libvirt.machine/m0"].Outputs["console"]); err != nil || strings.Contains(string(b), tiny.Said) {
			w.Fatalf("it has come to its disk, or has no console: %v", err)
		}
		w.d.Virsh("reset", "test-m0")
		w.sees(l, "m0", 0, tiny.Said)
		w.settled(l)
		if err := start("network:attic"); provider.CodeOf(err) != provider.Unsupported {
			w.Errorf("from a network that it is not on: %v", err)
		}
		w.clear(l)
	})
}

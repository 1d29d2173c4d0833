package libvirt

import "testing"

// TestTwoMachines makes a lab of two machines that do nothing, looks again, and destroys it.
func TestTwoMachines(t *testing.T) {
	onHost(t, func(w bench) {
		l := w.idle(2)
		did := w.apply(l)
		t.Log(did)
		w.settled(l)
		w.clear(l)
	})
}

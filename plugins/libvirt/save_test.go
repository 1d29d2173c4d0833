package libvirt

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/providertest/tiny"
)

// boots are all that the machine's console tells of boots since it was started, when it has ticked once more.
func (w bench) boots(l lab.Lab) []string {
	w.Helper()
	return tiny.Boots(w, w.observe(l)["libvirt.machine/m0"].Outputs["console"])
}

// power brings the machine of l into a state and fails unless it is observed in that one, and stays so.
func (w bench) power(l lab.Lab, to lab.Power) {
	w.Helper()
	l.Machines[0].Power = to
	if diff := cmp.Diff([]string{"update machine/m0"}, w.apply(l)); diff != "" {
		w.Errorf("to %s: %s", to, diff)
	}
	w.settled(l)
	if got := w.observe(l)["libvirt.machine/m0"].Attrs["power"]; got != string(to) {
		w.Fatalf("the machine is %v, not %s", got, to)
	}
}

// TestPowerStates: one boot goes on, whoever made the machine stand still.
func TestPowerStates(t *testing.T) {
	onHost(t, func(w bench) {
		l := tiny.Clock(w, w.v.home)
		l.Machines[0].NICs[0].Link = lab.Down
		w.apply(l)
		w.settled(l)
		boot := w.boots(l)
		if len(boot) != 1 {
			w.Fatalf("it booted %v", boot)
		}
		same := func(when string) {
			w.Helper()
			if diff := cmp.Diff(boot, w.boots(l)); diff != "" {
				w.Errorf("%s: %s", when, diff)
			}
			if has := w.d.Virsh("dominfo", "test-m0"); !strings.Contains(has, "Managed save:   no") {
				w.Errorf("%s there is saved memory: %s", when, has)
			}
		}
		w.power(l, lab.Suspended)
		console := w.observe(l)["libvirt.machine/m0"].Outputs["console"]
		before, _ := os.ReadFile(console)
		time.Sleep(2 * time.Second)
		if after, _ := os.ReadFile(console); len(after) != len(before) {
			w.Error("a suspended machine goes on")
		}
		w.power(l, lab.On)
		same("resumed")
		w.power(l, lab.Saved)
		w.power(l, lab.On)
		same("restored")
		w.power(l, lab.Suspended)
		w.power(l, lab.Saved)
		w.power(l, lab.Suspended)
		w.power(l, lab.Saved)
		l.Machines[0].Disks[0].Size *= 2 // its guest is to see that
		l.Machines[0].Protect = true
		l.Machines[0].Power = lab.On
		w.apply(l)
		w.settled(l)
		same("suspended, saved, suspended, saved, its disk larger, protected")
		l.Machines[0].Protect = false
		w.apply(l)

		// By another hand; also what was saved while it stood still.
		for _, line := range []string{"suspend", "managedsave", "suspend managedsave", "managedsave start suspend"} {
			for _, verb := range strings.Fields(line) {
				w.d.Virsh(verb, "test-m0")
			}
			if got, want := w.differs(l), "machine/m0 power"; got != want {
				w.Errorf("after virsh %s differs %q, want %q", line, got, want)
			}
			w.apply(l)
			w.settled(l)
			same("healed after virsh " + line)
		}

		// What needs a new start gets one, and what is off has forgotten.
		w.power(l, lab.Saved)
		l.Machines[0].Memory *= 2
		w.power(l, lab.On)
		if again := w.boots(l); len(again) != 1 || again[0] == boot[0] {
			w.Errorf("more memory: booted %v, before %v", again, boot)
		}
		for _, p := range []lab.Power{lab.Saved, lab.Suspended} {
			w.power(l, p)
			w.power(l, lab.Off)
			w.power(l, lab.On)
			boot = w.boots(l)
			same("off and on")
		}
		w.power(l, lab.Saved)
		w.clear(l)
	})
}

// TestSaveCutShort: libvirtd is killed while it writes a machine's memory. The machine goes on, and nothing of it is left
// that could be taken for its memory later.
func TestSaveCutShort(t *testing.T) {
	onHost(t, func(w bench) {
		l := tiny.Clock(w, w.v.home)
		w.apply(l)
		boot := w.boots(l)
		l.Machines[0].Power = lab.Saved
		rs, err := w.v.Expand(l, nil)
		if err != nil {
			t.Fatal(err)
		}
		o := w.observe(l)["libvirt.machine/m0"]
		done := make(chan error, 1)
		for _, r := range rs {
			if r.Addr.Kind != kindMachine {
				continue
			}
			s := seed("m0")
			r.Seed = &s
			go func() {
				done <- w.v.Update(w.Context(), o, r, func(s provider.Step) {
					if s.Phase == "saving memory" {
						go func() { time.Sleep(30 * time.Millisecond); w.d.Kill(); w.d.Resume() }()
					}
				})
			}()
		}
		select {
		case err = <-done:
			w.Log("the update ended with", err)
		case <-time.After(5 * time.Minute):
			w.Fatal("the update does not end")
		}
		w.Log(w.observe(l)["libvirt.machine/m0"].Attrs["power"], w.d.Virsh("dominfo", "test-m0"))
		w.apply(l)
		w.settled(l)
		l.Machines[0].Power = lab.On
		w.apply(l)
		w.settled(l)
		if diff := cmp.Diff(boot, w.boots(l)); diff != "" {
			w.Error(diff)
		}
		w.clear(l)
	})
}

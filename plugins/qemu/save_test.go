package qemu

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/providertest/tiny"
)

// clock is a lab of one machine that tells on its console that it goes on.
func (w world) clock() lab.Lab { return tiny.Clock(w, w.q.home) }

// boots are all that a machine's console tells of boots since it was started, when it has ticked once more.
func (w world) boots() []string { w.Helper(); return tiny.Boots(w, w.q.dirs("test").console("m0")) }

// power brings the machine of l into a state and fails unless it is observed in that one, and stays so.
func (w world) power(l lab.Lab, to lab.Power) {
	w.Helper()
	l.Machines[0].Power = to
	if diff := cmp.Diff([]string{"update machine/m0"}, w.apply(l)); diff != "" {
		w.Errorf("to %s: %s", to, diff)
	}
	w.settled(l)
	if got := w.observe(l)["qemu.machine/m0"].Attrs["power"]; got != string(to) {
		w.Fatalf("the machine is %v, not %s", got, to)
	}
}

// unsaved fails if anything is left of a machine's saved memory.
func (w world) unsaved(when string) {
	w.Helper()
	ds := w.q.dirs("test")
	for _, f := range []string{ds.saved("m0"), ds.memory("m0"), ds.memory("m0") + ".new"} {
		if exists(f) {
			w.Errorf("%s there is %s", when, f)
		}
	}
}

// TestPowerStates: one boot goes on, whatever the machine was built of while it ran.
func TestPowerStates(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	l := w.clock()
	lan := l.Machines[0].NICs[0]
	l.Machines[0].NICs = l.Machines[0].NICs[1:]
	w.apply(l)
	w.settled(l)
	boot := w.boots()
	if len(boot) != 1 {
		t.Fatalf("it booted %v", boot)
	}
	same := func(when string) {
		t.Helper()
		if diff := cmp.Diff(boot, w.boots()); diff != "" {
			t.Errorf("%s: %s", when, diff)
		}
	}
	// What is plugged in while it runs gets ports that no command line would give it.
	lan.Link = lab.Down
	l.Machines[0].Disks = append(l.Machines[0].Disks, lab.Disk{Name: "data", Size: lab.MiB})
	w.apply(l)
	l.Machines[0].NICs = append([]lab.NIC{lan}, l.Machines[0].NICs...)
	w.apply(l)
	w.settled(l)

	pid := w.pid(l, "m0")
	w.power(l, lab.Suspended)
	if said := w.said("m0"); w.pid(l, "m0") != pid {
		t.Error("to be suspended cost the machine its process")
	} else if time.Sleep(2 * time.Second); w.said("m0") != said {
		t.Error("a suspended machine goes on")
	}
	w.power(l, lab.On)
	if same("resumed"); w.pid(l, "m0") != pid {
		t.Error("to be resumed cost the machine its process")
	}

	w.power(l, lab.Saved)
	ds := w.q.dirs("test")
	if st, err := os.Stat(ds.memory("m0")); err != nil || st.Mode().Perm() != 0o600 || alive(pid) {
		t.Errorf("saved: %v, mode %v, alive %v", err, st.Mode(), alive(pid))
	}
	w.power(l, lab.On)
	same("restored")
	w.unsaved("after it was restored")

	w.power(l, lab.Suspended)
	w.power(l, lab.Saved)
	w.power(l, lab.Suspended)
	w.power(l, lab.Saved)
	l.Machines[0].Disks[1].Size *= 2 // its guest is to see that
	l.Machines[0].Power = lab.On
	w.apply(l)
	w.settled(l)
	same("suspended, saved, suspended, saved, its disk larger")

	// What needs a new start gets one, and what is off has forgotten.
	w.power(l, lab.Saved)
	l.Machines[0].Memory *= 2
	w.power(l, lab.On)
	if again := w.boots(); len(again) != 1 || again[0] == boot[0] {
		t.Errorf("more memory: booted %v, before %v", again, boot)
	}
	for _, p := range []lab.Power{lab.Saved, lab.Suspended} {
		w.power(l, p)
		w.power(l, lab.Off)
		w.unsaved("off")
		w.power(l, lab.On)
	}
	w.power(l, lab.Saved)
	w.apply(lab.Lab{Name: "test", Target: "local"})
	if exists(ds.data) || exists(ds.run) {
		t.Errorf("after destroy there is still %s or %s", ds.data, ds.run)
	}
}

// TestSaveCutShort: whatever a crash leaves is either used as it should be, or gone.
func TestSaveCutShort(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	l := w.clock()
	w.apply(l)
	boot := w.boots()
	ds := w.q.dirs("test")
	update := func(ctx context.Context, to lab.Power) error {
		o := w.observe(l)["qemu.machine/m0"]
		r := provider.Resource{Addr: o.Addr, Lab: o.Lab, Attrs: provider.Attrs{}, Machine: "m0"}
		for k, v := range o.Attrs {
			r.Attrs[k] = v
		}
		r.Attrs["power"] = string(to)
		return w.q.Update(ctx, o, r, provider.Silent)
	}
	same := func(when string) {
		t.Helper()
		w.settled(l)
		if diff := cmp.Diff(boot, w.boots()); diff != "" {
			t.Errorf("%s: %s", when, diff)
		}
		w.unsaved(when)
	}

	// Nobody waits for the end of it any more: the machine goes on by itself.
	ctx, cancel := context.WithCancel(t.Context())
	o := w.observe(l)["qemu.machine/m0"]
	r := provider.Resource{Addr: o.Addr, Lab: o.Lab, Attrs: provider.Attrs{}, Machine: "m0"}
	for k, v := range o.Attrs {
		r.Attrs[k] = v
	}
	r.Attrs["power"] = string(lab.Saved)
	err := w.q.Update(ctx, o, r, func(s provider.Step) {
		if s.Phase == "saving memory" {
			cancel()
		}
	})
	if provider.CodeOf(err) != provider.Canceled {
		t.Fatalf("canceled: %v", err)
	}
	same("after a save was given up")

	// labctl is killed when all is written, but before the process is ended.
	w.power(l, lab.Saved)
	memory, err1 := os.ReadFile(ds.memory("m0"))
	saved, err2 := os.ReadFile(ds.saved("m0"))
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	l.Machines[0].Power = lab.On
	w.apply(l)
	if err := update(t.Context(), lab.Suspended); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(ds.memory("m0"), memory, 0o600), os.WriteFile(ds.saved("m0"), saved, 0o600)); err != nil {
		t.Fatal(err)
	}
	if got := w.observe(l)["qemu.machine/m0"].Attrs["power"]; got != "suspended" {
		t.Errorf("with a process and saved memory it is %v", got)
	}
	w.apply(l)
	same("after a save without its end")

	// It is killed before the memory is loaded.
	w.power(l, lab.Saved)
	s, err := ds.loadSaved("m0")
	if err != nil || s == nil {
		t.Fatal(s, err)
	}
	if err := w.q.start(t.Context(), *s, ds, provider.Silent); err != nil {
		t.Fatal(err)
	}
	if got := w.observe(l)["qemu.machine/m0"].Attrs["power"]; got != "saved" {
		t.Errorf("before its memory is loaded it is %v", got)
	}
	l.Machines[0].Power = lab.On
	w.apply(l)
	same("after a restore without its end")

	// QEMU is killed while it writes: there is no saved machine, and what there is of it goes.
	w.power(l, lab.Off)
	if err := errors.Join(os.WriteFile(ds.memory("m0"), memory[:len(memory)/2], 0o600), os.WriteFile(ds.memory("m0")+".new", memory, 0o600)); err != nil {
		t.Fatal(err)
	}
	if got := w.observe(l)["qemu.machine/m0"].Attrs["power"]; got != "off" {
		t.Errorf("with half its memory it is %v", got)
	}
	w.power(l, lab.On)
	w.unsaved("started")

	// Memory that cannot be loaded is not thrown away, unless the machine is.
	w.power(l, lab.Saved)
	if err := os.Truncate(ds.memory("m0"), 1000); err != nil {
		t.Fatal(err)
	}
	if err := update(t.Context(), lab.On); provider.CodeOf(err) != provider.Corrupt {
		t.Errorf("with a memory of 1000 bytes: %v", err)
	}
	if got := w.observe(l)["qemu.machine/m0"].Attrs["power"]; got != "saved" || !exists(ds.memory("m0")) {
		t.Errorf("memory that cannot be loaded: it is %v", got)
	}
	w.apply(lab.Lab{Name: "test", Target: "local"})
	if exists(ds.data) {
		t.Errorf("after destroy there is still %s", ds.data)
	}
}

// TestSaveWithoutRoom: a save for which there is no room leaves the machine as it was.
func TestSaveWithoutRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	l := w.clock()
	w.apply(l)
	boot := w.boots()
	tiny.Need(t, "prlimit")
	if out, err := exec.Command("prlimit", "--pid", strconv.Itoa(w.pid(l, "m0")), "--fsize=100000").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	l.Machines[0].Power = lab.Saved
	rs, err := w.q.Expand(l, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rs {
		if r.Addr.Kind == kindMachine {
			err = w.q.Update(t.Context(), w.observe(l)["qemu.machine/m0"], r, provider.Silent)
		}
	}
	if err == nil {
		t.Fatal("saved to a full disk")
	}
	t.Log(err)
	if diff := cmp.Diff(boot, w.boots()); diff != "" {
		t.Error(diff)
	}
	w.unsaved("after the failure")
}

package qemu

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/qemu/qmp"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/providertest/tiny"
)

// powerOf is a machine's power.
func (w world) powerOf(l lab.Lab, machine string) string {
	w.Helper()
	p, _ := w.observe(l)["qemu.machine/"+machine].Attrs["power"].(string)
	return p
}

// tell gives a running machine's QEMU one command.
func (w world) tell(machine, command string, args, out any) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), time.Minute)
	defer cancel()
	c, err := qmp.Dial(ctx, w.q.dirs("test").qmp(machine))
	if err != nil {
		w.Fatal(err)
	}
	defer c.Close()
	if err := c.Execute(ctx, command, args, out); err != nil {
		w.Fatal(err)
	}
}

// writes fills the end of the first MiB of a disk with a byte: through the machine's own QEMU where that has it open.
func (w world) writes(machine, disk string, running bool, b byte) {
	w.Helper()
	order := fmt.Sprintf("write -P %d 512k 256k", b)
	if !running {
		if out, err := exec.Command("qemu-io", "-f", "qcow2", "-c", order, w.q.dirs("test").disk(machine, disk)).CombinedOutput(); err != nil {
			w.Fatalf("%v: %s", err, out)
		}
		return
	}
	var said string
	id := diskID(1, disk)
	if disk == "root" {
		id = diskID(0, disk)
	}
	w.tell(machine, "human-monitor-command", map[string]string{"command-line": fmt.Sprintf("qemu-io -d /machine/peripheral/%s/virtio-backend %q", id, order)}, &said)
	if said != "" && !strings.Contains(said, "wrote 262144") {
		w.Fatalf("QEMU says %q", said)
	}
}

// holds fails unless a disk of a machine that is off holds what was written.
func (w world) holds(machine, disk string, b byte) {
	w.Helper()
	out, err := exec.Command("qemu-io", "-f", "qcow2", "-c", fmt.Sprintf("read -P %d 512k 256k", b), w.q.dirs("test").disk(machine, disk)).CombinedOutput()
	if err != nil || strings.Contains(string(out), "failed") {
		w.Errorf("disk %s/%s does not hold %d: %v: %s", machine, disk, b, err, out)
	}
}

func (w world) take(l lab.Lab, name string) {
	w.Helper()
	if err := w.q.TakeSnapshot(w.Context(), l, provider.Snapshot{Name: name, Taken: time.Now()}, provider.Silent); err != nil {
		w.Fatal(err)
	}
}

// snapshots are the lab's, each with whether it is complete.
func (w world) snapshots(l lab.Lab) map[string]bool {
	w.Helper()
	all, err := w.q.Snapshots(w.Context(), l)
	if err != nil {
		w.Fatal(err)
	}
	by := map[string]bool{}
	for _, s := range all {
		by[s.Name] = s.Complete
	}
	return by
}

// TestSnapshotContent: what disks and firmware variables held comes back, of machines that run, stand still and are off;
// also on a disk in a pool that has grown since while its machine ran.
func TestSnapshotContent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	if code, _ := w.q.efi(lab.AMD64); code == "" {
		tiny.Skip(t, "ovmf is not installed")
	}
	l := w.idle(3)
	l.Pools = []lab.Pool{{Name: "disks", Path: t.TempDir()}}
	l.Machines[0].Disks = append(l.Machines[0].Disks, lab.Disk{Name: "data", Size: 2 * lab.MiB, Pool: "disks"})
	l.Machines[1].Power, l.Machines[1].Firmware = lab.Off, lab.UEFI
	w.apply(l)
	vars := w.q.dirs("test").vars("m1")
	for path, content := range map[string]string{vars: "boot first", w.q.dirs("test").vars("m2"): "left by other firmware"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write := func(b byte) {
		w.writes("m0", "root", true, b)
		w.writes("m0", "data", true, b+1)
		w.writes("m1", "root", false, b+2)
		w.writes("m2", "root", true, b+3)
	}
	write(10)
	w.tell("m2", "stop", nil, nil)
	pid := w.pid(l, "m0")
	w.take(l, "one")
	if w.powerOf(l, "m0") != "on" || w.powerOf(l, "m1") != "off" || w.powerOf(l, "m2") != "suspended" || w.pid(l, "m0") != pid {
		t.Errorf("after a snapshot m0 is %s, m1 %s, m2 %s", w.powerOf(l, "m0"), w.powerOf(l, "m1"), w.powerOf(l, "m2"))
	}

	write(20)
	w.take(l, "two")
	write(30)
	if err := os.WriteFile(vars, []byte("boot second"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(w.q.dirs("test").vars("m2")); err != nil {
		t.Fatal(err)
	}
	l.Machines[0].Disks[1].Size *= 4
	w.apply(l)
	if w.pid(l, "m0") != pid {
		t.Error("a disk with snapshots grew, and its machine was started over")
	}
	w.settled(l)

	if err := w.q.RemoveSnapshot(t.Context(), l, "two", provider.Silent); err != nil {
		t.Fatal(err)
	}
	l.Machines[2].Power = lab.Saved
	w.apply(l)
	w.take(l, "three")
	if p := w.powerOf(l, "m2"); p != "saved" {
		t.Errorf("a machine that was saved is %s after a snapshot", p)
	}
	l.Machines[2].Power = lab.On
	if err := w.q.RestoreSnapshot(t.Context(), l, "one", provider.Silent); err != nil {
		t.Fatal(err)
	}
	for i, disk := range []string{"m0/root", "m0/data", "m1/root", "m2/root"} {
		machine, name, _ := strings.Cut(disk, "/")
		w.holds(machine, name, byte(10+i))
		if tags, err := snapshotTags(w.q.dirs("test").disk(machine, name)); err != nil || len(tags) != 2 {
			t.Errorf("%s has the snapshots %q: %v", disk, tags, err)
		}
	}
	if p := w.powerOf(l, "m2"); p != "off" { // its memory is of another disk
		t.Errorf("a machine that was saved is %s after restoring an older disk", p)
	}
	if b, err := os.ReadFile(vars); string(b) != "boot first" {
		t.Errorf("the variables are %q: %v", b, err)
	}
	if b, err := os.ReadFile(w.q.dirs("test").vars("m2")); string(b) != "left by other firmware" {
		t.Errorf("the variables of m2 are %q: %v", b, err)
	}
	if got := w.observe(l)["qemu.disk/m0/data"].Attrs["size"]; got != float64(2*lab.MiB) {
		t.Errorf("the grown disk is as large as %v", got)
	}
	w.apply(l)
	w.settled(l)
	for i, m := range l.Machines {
		if out, err := exec.Command("qemu-img", "check", "-U", w.q.dirs("test").disk(m.Name, "root")).CombinedOutput(); err != nil {
			t.Errorf("disk %d: %v: %s", i, err, out)
		}
	}
	for _, name := range []string{"one", "three"} {
		if err := w.q.RemoveSnapshot(t.Context(), l, name, provider.Silent); err != nil {
			t.Fatal(err)
		}
	}
	if exists(w.q.dirs("test").snapshots()) {
		t.Error("the folder of snapshots is left after the last")
	}
}

// TestSnapshotFails: when a disk cannot be kept, or the caller gives up, machines go on and nothing of it is left.
func TestSnapshotFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	l := w.idle(2)
	l.Machines[1].Power = lab.Off
	w.apply(l)
	ds := w.q.dirs("test")
	clean := func(when string) {
		t.Helper()
		if p := w.powerOf(l, "m0"); p != "on" {
			t.Errorf("%s machine m0 is %s", when, p)
		}
		for _, m := range l.Machines {
			if tags, err := snapshotTags(ds.disk(m.Name, "root")); err != nil || len(tags) > 0 {
				t.Errorf("%s a disk of %s holds %q: %v", when, m.Name, tags, err)
			}
		}
		if diff := cmp.Diff(map[string]bool{}, w.snapshots(l)); diff != "" || exists(ds.snapshots()) {
			t.Errorf("%s there is something left: %s", when, diff)
		}
		w.settled(l)
	}

	holder := exec.Command("qemu-io", "-f", "qcow2", ds.disk("m1", "root")) // waits for orders, and holds the file's lock
	in, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); _ = holder.Wait() })
	if _, err := out.Read(make([]byte, 8)); err != nil { // its prompt
		t.Fatal(err)
	}
	err = w.q.TakeSnapshot(t.Context(), l, provider.Snapshot{Name: "locked"}, provider.Silent)
	if provider.CodeOf(err) != provider.InUse {
		t.Errorf("a disk that another program holds: %v", err)
	}
	in.Close()
	_ = holder.Wait()
	clean("after a failure")

	ctx, cancel := context.WithCancel(t.Context())
	err = w.q.TakeSnapshot(ctx, l, provider.Snapshot{Name: "canceled"}, func(s provider.Step) {
		if s.Phase == "keeping disks" {
			cancel()
		}
	})
	if provider.CodeOf(err) != provider.Canceled {
		t.Errorf("given up in the middle: %v", err)
	}
	clean("after giving up")

	w.tell("m0", "stop", nil, nil) // as if killed in the middle
	w.take(l, "paused")
	if p := w.powerOf(l, "m0"); p != "suspended" {
		t.Errorf("a machine that stood still is %s after a snapshot", p)
	}
	w.apply(l)
	w.settled(l)
	if diff := cmp.Diff(map[string]bool{"paused": true}, w.snapshots(l)); diff != "" {
		t.Error(diff)
	}
}

// diesInSnapshot does what "HOME OP" says, and is killed when disks are to be kept or restored.
func diesInSnapshot(how string) {
	home, op, _ := strings.Cut(how, " ")
	q, err := open(provider.Options{Home: home, Target: "local", Values: map[string]any{"accel": "tcg"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	die := func(s provider.Step) {
		if strings.HasSuffix(s.Phase, "ing disks") {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	if op == "take" {
		err = q.TakeSnapshot(context.Background(), lab.Lab{Name: "test"}, provider.Snapshot{Name: "killed", Taken: time.Now()}, die)
	} else {
		err = q.RestoreSnapshot(context.Background(), lab.Lab{Name: "test"}, "killed", die)
	}
	fmt.Println("survived:", err)
}

// killed runs diesInSnapshot.
func (w world) killed(op string) {
	w.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "QEMU_TEST_DIES_IN_SNAPSHOT="+w.q.home+" "+op)
	if out, err := cmd.CombinedOutput(); err == nil || err.Error() != "signal: killed" {
		w.Fatalf("%v: %s", err, out)
	}
}

// TestSnapshotKilled: who kills labctl in the middle sees a machine that stands still and a snapshot that is not whole, and
// can mend both.
func TestSnapshotKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	l := w.idle(2)
	w.apply(l)
	w.killed("take")
	for _, m := range []string{"m0", "m1"} {
		if p := w.powerOf(l, m); p != "suspended" {
			t.Errorf("machine %s is %s", m, p)
		}
	}
	if diff := cmp.Diff(map[string]bool{"killed": false}, w.snapshots(l)); diff != "" {
		t.Error(diff)
	}
	pid := w.pid(l, "m0")
	if err := w.q.RestoreSnapshot(t.Context(), l, "killed", provider.Silent); provider.CodeOf(err) != provider.Invalid || w.pid(l, "m0") != pid {
		t.Errorf("restoring what is half made: %v", err)
	}
	if diff := cmp.Diff([]string{"update machine/m0", "update machine/m1"}, w.apply(l)); diff != "" {
		t.Error(diff)
	}
	w.settled(l)
	if again := w.pid(l, "m0"); again != pid {
		t.Error("letting it go on started it over")
	}
	if err := w.q.RemoveSnapshot(t.Context(), l, "killed", provider.Silent); err != nil || exists(w.q.dirs("test").snapshots()) {
		t.Errorf("removing what is half made: %v", err)
	}
	w.take(l, "killed")
}

// TestSnapshotRestoreKilled: a machine never starts with some of its disks restored and others not: who starts it, or grows
// its disks, finishes that first; until then the snapshot stays.
func TestSnapshotRestoreKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	l := w.idle(2)
	l.Machines[0].Disks = append(l.Machines[0].Disks, lab.Disk{Name: "data", Size: 2 * lab.MiB})
	w.apply(l)
	w.writes("m0", "root", true, 1)
	w.writes("m0", "data", true, 1)
	w.take(l, "killed")
	w.writes("m0", "root", true, 2)
	w.writes("m0", "data", true, 2)
	w.killed("restore")
	if p := w.powerOf(l, "m0"); p != "off" {
		t.Errorf("m0 is %s", p)
	}
	if err := w.q.RemoveSnapshot(t.Context(), l, "killed", provider.Silent); provider.CodeOf(err) != provider.InUse {
		t.Errorf("removing a snapshot that is half restored: %v", err)
	}
	if err := w.q.TakeSnapshot(t.Context(), l, provider.Snapshot{Name: "another"}, provider.Silent); provider.CodeOf(err) != provider.InUse {
		t.Errorf("taking a snapshot of what is half restored: %v", err)
	}
	l.Machines[0].Disks[0].Size *= 2
	l.Machines[0].Disks[1].Size *= 2
	l.Machines[1].Power = lab.Off
	w.apply(l)
	w.settled(l)
	l.Machines[0].Power = lab.Off
	w.apply(l)
	w.holds("m0", "root", 1)
	w.holds("m0", "data", 1)
	if err := w.q.RemoveSnapshot(t.Context(), l, "killed", provider.Silent); provider.CodeOf(err) != provider.InUse {
		t.Errorf("m1 was not started, and still has half of it: %v", err)
	}
	if err := w.q.RestoreSnapshot(t.Context(), l, "killed", provider.Silent); err != nil {
		t.Error(err)
	}
	if err := w.q.RemoveSnapshot(t.Context(), l, "killed", provider.Silent); err != nil {
		t.Error(err)
	}
}

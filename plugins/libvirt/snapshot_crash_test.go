package libvirt

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// TestSnapshotCrash ends labctl at many points of taking and of restoring a snapshot, as TestCrash does.
func TestSnapshotCrash(t *testing.T) {
	onHost(t, func(w bench) {
		l := w.writers()
		l.Machines = append(l.Machines[:1:1], l.Machines[2])
		w.apply(l)
		take := func(v *virt) error {
			return v.TakeSnapshot(t.Context(), l, provider.Snapshot{Name: "s"}, provider.Silent)
		}
		restore := func(v *virt) error { return v.RestoreSnapshot(t.Context(), l, "s", provider.Silent) }
		const all = 1 << 30
		takes, err := w.cut(t, all, take)
		if err != nil {
			t.Fatal(err)
		}
		restores, err := w.cut(t, all, restore)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("packets: %d to take one, %d to restore it", takes, restores)
		points := 6
		if n, err := strconv.Atoi(os.Getenv("LABCTL_SOAK")); err == nil {
			points = n
		}
		for i := range points {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				bench{t, w.v, w.d}.snapshotCrash(l, take, rand.IntN(takes), restore, rand.IntN(restores), i%2 == 0)
			})
		}
		w.clear(l)
	})
}

// snapshotCrash breaks the taking of a snapshot off, and then its restoring, which it finishes by doing it again, or by
// an apply.
func (w bench) snapshotCrash(l lab.Lab, take func(*virt) error, takes int, restore func(*virt) error, restores int, again bool) {
	w.Helper()
	if err := w.v.RemoveSnapshot(w.Context(), l, "s", provider.Silent); err != nil {
		w.Fatal(err)
	}
	_, err := w.cut(w.T, takes, take)
	w.Logf("taken with %d packets: %v: %+v", takes, err, w.snapshots(l))
	w.apply(l) // a machine may be held still
	w.settled(l)
	if err := w.v.RemoveSnapshot(w.Context(), l, "s", provider.Silent); err != nil {
		w.Fatal(err)
	}
	if left, _ := filepath.Glob(disk("*" + at + "*")); len(left) > 0 || strings.Contains(w.d.Virsh("list", "--all", "--name"), copierSuffix) {
		w.Errorf("left of a half made snapshot: %v %s", left, w.d.Virsh("list", "--all"))
	}
	if err := take(w.v); err != nil {
		w.Fatal(err)
	}
	_, err = w.cut(w.T, restores, restore)
	w.Logf("restored with %d packets: %v", restores, err)
	off := []string{"m2--root"}
	if again || err == nil {
		if err := restore(w.v); err != nil {
			w.Fatal(err)
		}
		off = []string{"m0--root", "m0--data", "m2--root"}
	} else {
		w.apply(l)
		w.settled(l)
	}
	for _, d := range off {
		w.same("test--"+d+".qcow2", "test--"+d+"@s.qcow2")
	}
	w.apply(l)
	w.settled(l)
}

// TestSnapshotKill kills libvirtd while it copies disks, and while the machines are held still; nobody who waits for it
// is left waiting, and when it is back all is as it was.
func TestSnapshotKill(t *testing.T) {
	onHost(t, func(w bench) {
		l := w.writers()
		l.Machines = append(l.Machines[:1:1], l.Machines[2])
		w.apply(l)
		for _, phase := range []string{"copying disks", "holding machines still"} {
			killed := false
			err := w.v.TakeSnapshot(t.Context(), l, provider.Snapshot{Name: "s"}, func(s provider.Step) {
				if !killed && s.Phase == phase {
					killed = true
					w.d.Kill()
					w.d.Resume()
				}
			})
			t.Logf("libvirtd killed while %s (%v): %v: %+v", phase, killed, err, w.snapshots(l))
			w.apply(l)
			w.settled(l)
			w.counts()
			if err := w.v.RemoveSnapshot(t.Context(), l, "s", provider.Silent); err != nil {
				t.Fatal(err)
			}
		}
		w.take(l, "s")
		killed := false
		err := w.v.RestoreSnapshot(t.Context(), l, "s", func(s provider.Step) {
			if !killed && s.Phase == "restoring m2" {
				killed = true
				w.d.Kill()
				w.d.Resume()
			}
		})
		t.Logf("libvirtd killed while it restores (%v): %v", killed, err)
		if err := w.v.RestoreSnapshot(t.Context(), l, "s", provider.Silent); err != nil {
			t.Fatal(err)
		}
		for _, d := range []string{"m0--root", "m0--data", "m2--root"} {
			w.same("test--"+d+".qcow2", "test--"+d+"@s.qcow2")
		}
		w.apply(l)
		w.settled(l)
		w.clear(l)
		if left := w.d.Virsh("list", "--all", "--name"); left != "" {
			t.Errorf("left: %s", left)
		}
	})
}

// TestSnapshotFull takes a snapshot where there is no room for it: the error says so, the machines go on, and nothing of
// it is left.
func TestSnapshotFull(t *testing.T) {
	onHost(t, func(w bench) {
		dir := "/run/small"
		if err := os.MkdirAll(dir, 0o711); err != nil {
			t.Fatal(err)
		}
		mount := func(args ...string) {
			t.Helper()
			if out, err := w.d.Command(t.Context(), "mount", args...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
		mount("-t", "tmpfs", "-o", "size=50m", "tmpfs", dir)
		w = newBench(t, w.d, map[string]any{"pool_path": dir})
		l := w.writers()
		l.Machines = append(l.Machines[:1:1], l.Machines[2])
		l.Machines[1].Disks = append(l.Machines[1].Disks, lab.Disk{Name: "data", Size: 64 * lab.MiB})
		l = lab.Complete(l)
		w.apply(l)
		data := filepath.Join(dir, diskPool, "test--m2--data.qcow2")
		if out, err := exec.Command("qemu-io", "-f", "qcow2", "-c", "write -P 7 0 32M", data).CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
		err := w.v.TakeSnapshot(t.Context(), l, provider.Snapshot{Name: "s"}, provider.Silent)
		if provider.CodeOf(err) != provider.Full {
			t.Errorf("code %q: %v", provider.CodeOf(err), err)
		}
		if left, _ := filepath.Glob(dir + "/*/*" + at + "*"); len(left)+len(w.snapshots(l)) > 0 {
			t.Errorf("left of a snapshot that there was no room for: %v", left)
		}
		w.settled(l)
		w.counts()
		mount("-o", "remount,size=150m", dir)
		w.take(l, "s")
		w.clear(l)
	})
}

package libvirt

import (
	"fmt"
	"math/rand/v2"
	"os"
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

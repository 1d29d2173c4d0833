package qemu

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// found are the files below a folder, by their paths in it.
func found(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && path != dir {
			rel, _ := filepath.Rel(dir, path)
			all = append(all, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestPool keeps disks in a folder of their own, and leaves nothing there.
func TestPool(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	pool := t.TempDir()
	l := w.idle(2)
	l.Pools = []lab.Pool{{Name: "disks", Path: pool + "/deep/"}, {Name: "fast"}}
	l.Machines[0].Disks = append(l.Machines[0].Disks, lab.Disk{Name: "data", Size: lab.MiB})
	for i := range l.Machines[0].Disks {
		l.Machines[0].Disks[i].Pool = "disks"
	}
	l.Machines[1].Disks[0].Pool = "fast"
	w.apply(l)
	w.settled(l)
	o := w.observe(l)["qemu.disk/m0/data"]
	if path := o.Outputs["path"]; filepath.Dir(filepath.Dir(filepath.Dir(path))) != pool+"/deep" || !exists(path) {
		t.Errorf("the disk is %s", path)
	}
	if got := found(t, pool); len(got) != 5 { // deep, the lab's, the machine's, two disks
		t.Errorf("the pool has %v", got)
	}
	l.Machines[0].Disks[1].Size *= 2
	w.apply(l)
	w.settled(l)

	moved := l // only a reinstall takes a disk elsewhere, and that is delete and create
	moved.Machines = append([]lab.Machine(nil), l.Machines...)
	moved.Machines[0].Disks = append([]lab.Disk(nil), l.Machines[0].Disks...)
	moved.Machines[0].Disks[1].Pool = ""
	rs, err := w.q.Expand(moved, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rs {
		if r.Addr == o.Addr {
			if err := w.q.Update(t.Context(), o, r, provider.Silent); provider.CodeOf(err) != provider.Invalid {
				t.Errorf("moving by an update: %v", err)
			}
			if err := w.q.Delete(t.Context(), o, provider.Silent); err != nil {
				t.Fatal(err)
			}
			if err := w.q.Create(t.Context(), r, provider.Silent); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := found(t, pool); len(got) != 4 {
		t.Errorf("after one disk has left, the pool has %v", got)
	}

	// A pool that is not there is not made anew behind the user's back.
	aside := pool + "-aside"
	if err := os.Rename(pool, aside); err != nil {
		t.Fatal(err)
	}
	for _, r := range rs {
		if r.Addr.Name == "m0/root" && r.Addr.Kind == kindDisk {
			if err := w.q.Create(t.Context(), r, provider.Silent); provider.CodeOf(err) != provider.NotFound {
				t.Errorf("a disk whose pool is not mounted: %v", err)
			}
		}
	}
	if err := os.Rename(aside, pool); err != nil {
		t.Fatal(err)
	}

	// Killed between link and disk.
	half, err := w.q.dirs("test").settle(pool+"/deep", "m0", "half")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(half+".new", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	w.apply(lab.Lab{Name: "test", Target: "local"})
	if got := found(t, pool); len(got) != 1 {
		t.Errorf("after destroy the pool has %v", got)
	}
	if ds := w.q.dirs("test"); exists(ds.data) || exists(ds.run) {
		t.Errorf("after destroy there is still %s or %s", ds.data, ds.run)
	}
}

func TestExpandPools(t *testing.T) {
	l := office()
	l.Machines = l.Machines[:1]
	l.Pools = []lab.Pool{{Name: "disks", Path: "/srv/disks/"}, {Name: "images"}, {Name: "fast"}}
	l.Machines[0].Disks = []lab.Disk{{Name: "root", Size: lab.GiB, Pool: "disks"}, {Name: "a", Size: lab.GiB, Pool: "fast"}}
	rs, err := expand(l, nil, options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rs {
		if want := map[string]any{l.Machines[0].Name + "/root": "/srv/disks"}[r.Addr.Name]; r.Addr.Kind == kindDisk && r.Attrs["pool"] != want {
			b, _ := json.Marshal(r.Attrs)
			t.Errorf("%s: %s", r.Addr, b)
		}
	}
	for says, p := range map[string]lab.Pool{
		`pools.disks.path: "srv" is no absolute path`: {Name: "disks", Path: "srv"},
		"pools.images.path: QEMU's images":            {Name: "images", Path: "/srv/images"},
	} {
		l.Pools = []lab.Pool{p}
		if _, err := expand(l, nil, options{}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

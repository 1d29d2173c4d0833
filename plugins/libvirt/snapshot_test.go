package libvirt

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/providertest/tiny"
)

// counter is a boot sector that counts: it writes the next number to its disk at 1 MiB, then at 2 MiB, without end
// (int 13h, extended write). Its other disks the BIOS does not show it.
var counter = []byte{
	0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0xbc, 0x00, 0x7c, // ds, es, ss = 0; sp = 0x7c00
	0x66, 0xc7, 0x06, 0x00, 0x7e, 0, 0, 0, 0, // number at 0x7e00 = 0
	0x66, 0xff, 0x06, 0x00, 0x7e, // again: number++
	0xbe, 0x31, 0x7c, 0xb2, 0x80, 0xb8, 0x00, 0x43, 0xcd, 0x13, // write to disk 0x80
	0xbe, 0x41, 0x7c, 0xb2, 0x80, 0xb8, 0x00, 0x43, 0xcd, 0x13, // write to disk 0x80
	0xeb, 0xe5, // again
	0x90, 0x90,
	0x10, 0, 1, 0, 0x00, 0x7e, 0, 0, 0x00, 0x08, 0, 0, 0, 0, 0, 0, // one sector from 0:0x7e00 to sector 2048
	0x10, 0, 1, 0, 0x00, 0x7e, 0, 0, 0x00, 0x10, 0, 0, 0, 0, 0, 0, // and to sector 4096
}

// writers is a lab of a machine that writes to its disk all the time, one with UEFI variables, and one that is
// off.
func (w bench) writers() lab.Lab {
	w.Helper()
	l := w.idle(3)
	disk := make([]byte, 1<<20)
	copy(disk, counter)
	disk[510], disk[511] = 0x55, 0xaa
	img := lab.Image{Name: "counter", Arch: lab.AMD64, URL: "file:///counter.img", Digest: fmt.Sprintf("sha256:%x", sha256.Sum256(disk)), MinDisk: lab.MiB}
	tiny.Stock(w.T, w.v.home, img, disk, nil)
	l.Images = append(l.Images, img)
	l.Machines[0].Image = "counter"
	l.Machines[0].Disks = append(l.Machines[0].Disks, lab.Disk{Name: "data", Size: 8 * lab.MiB})
	l.Machines[1].Firmware = lab.UEFI
	l.Machines[2].Power = lab.Off
	return lab.Complete(l)
}

// disk is where a volume of the test lab is.
func disk(name string) string { return filepath.Join("/var/lib/labctl", diskPool, name) }

// number is what the counter has last written to a sector of a volume, which nobody has open.
func (w bench) number(volume string, sector int) int {
	w.Helper()
	out := filepath.Join(w.TempDir(), "sector")
	cmd := exec.Command("qemu-img", "dd", "-f", "qcow2", "-O", "raw", "bs=512", fmt.Sprintf("skip=%d", sector), fmt.Sprintf("count=%d", sector+1), "if="+disk(volume), "of="+out)
	if text, err := cmd.CombinedOutput(); err != nil {
		w.Fatalf("%v: %s", err, text)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		w.Fatal(err)
	}
	return int(binary.LittleEndian.Uint32(b))
}

// counts waits until the counter has counted on.
func (w bench) counts() {
	w.Helper()
	wrote := regexp.MustCompile(`wr_req (\d+)`)
	writes := func() (n int) {
		if m := wrote.FindStringSubmatch(w.d.Virsh("domblkstat", "test-m0", "vda")); m != nil {
			n, _ = strconv.Atoi(m[1])
		}
		return n
	}
	first := writes()
	for deadline := time.Now().Add(time.Minute); writes() < first+10; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.Fatalf("machine m0 has written %d times and does not go on", first)
		}
	}
}

func (w bench) take(l lab.Lab, name string) {
	w.Helper()
	s := provider.Snapshot{Name: name, Taken: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Note: "before it breaks"}
	if err := w.v.TakeSnapshot(w.Context(), l, s, provider.Silent); err != nil {
		w.Fatal(err)
	}
}

func (w bench) snapshots(l lab.Lab) []provider.Snapshot {
	w.Helper()
	all, err := w.v.Snapshots(w.Context(), l)
	if err != nil {
		w.Fatal(err)
	}
	return all
}

// same fails unless two volumes hold the same on the same image.
func (w bench) same(a, b string) {
	w.Helper()
	if out, err := exec.Command("qemu-img", "compare", "-U", disk(a), disk(b)).CombinedOutput(); err != nil {
		w.Errorf("%s and %s: %s", a, b, out)
	}
	for _, name := range []string{a, b} {
		out, err := exec.Command("qemu-img", "info", "-U", disk(name)).CombinedOutput()
		if image := strings.Contains(string(out), "backing file: /var/lib/labctl/images/labctl-image-"); err != nil || image == strings.Contains(name, "data") {
			w.Errorf("%s is not on its image: %v %s", name, err, out)
		}
	}
}

func TestSnapshot(t *testing.T) {
	onHost(t, func(w bench) {
		l := w.writers()
		w.apply(l)
		w.settled(l)
		w.counts()
		w.take(l, "s1")
		w.settled(l)
		first, second := w.number("test--m0--root@s1.qcow2", 2048), w.number("test--m0--root@s1.qcow2", 4096)
		t.Logf("the counter was at %d and %d", first, second)
		if second < 10 || first < second || first > second+1 {
			t.Errorf("the disk is not of one moment: %d in the first place, %d in the second", first, second)
		}
		w.same("test--m2--root.qcow2", "test--m2--root@s1.qcow2")
		vars, err := os.ReadFile(disk("test--m1--nvram@s1.fd"))
		if err != nil {
			t.Fatal(err)
		}
		got := w.snapshots(l)
		if len(got) != 1 || got[0].Size == 0 {
			t.Fatalf("snapshots: %+v", got)
		}
		got[0].Size = 0
		want := []provider.Snapshot{{Name: "s1", Taken: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Note: "before it breaks", Machines: []string{"m0", "m1", "m2"}, Complete: true}}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}

		w.counts()
		if err := os.WriteFile(disk("test--m1--nvram.fd"), make([]byte, len(vars)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := w.v.RestoreSnapshot(t.Context(), l, "s1", provider.Silent); err != nil {
			t.Fatal(err)
		}
		for _, d := range []string{"m0--root", "m0--data", "m1--root", "m2--root"} {
			w.same("test--"+d+".qcow2", "test--"+d+"@s1.qcow2")
		}
		if now, _ := os.ReadFile(disk("test--m1--nvram.fd")); string(now) != string(vars) {
			t.Errorf("the UEFI variables are not what they were")
		}
		if did := w.apply(l); !cmp.Equal(did, []string{"update machine/m0", "update machine/m1"}) {
			t.Errorf("after a restore the machines are off, and all else is as it was; the plan did %v", did)
		}
		w.settled(l)
		w.counts()
		if err := w.v.RemoveSnapshot(t.Context(), l, "s1", provider.Silent); err != nil {
			t.Fatal(err)
		}
		if left, _ := filepath.Glob(disk("*" + at + "*")); len(left)+len(w.snapshots(l)) > 0 {
			t.Errorf("left of a snapshot that was removed: %v %v", left, w.snapshots(l))
		}
		w.take(l, "s2")
		w.clear(l)
	})
}

// TestKept deletes the disks of a protected machine: what they held is found in volumes that need nothing of the lab.
func TestKept(t *testing.T) {
	onHost(t, func(w bench) {
		l := w.writers()
		l.Machines = l.Machines[:1]
		l.Machines[0].Protect = true
		w.apply(l)
		w.settled(l)
		w.counts()
		var notes []string
		for _, kind := range []string{kindMachine, kindDisk} {
			for _, o := range w.observe(l) {
				if o.Addr.Kind != kind {
					continue
				}
				err := w.v.Delete(t.Context(), o, func(s provider.Step) {
					if s.Note != "" {
						notes = append(notes, s.Note)
					}
				})
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		w.clear(l)
		kept, _ := filepath.Glob(disk("labctl-kept@test--m0--*.qcow2"))
		if len(kept) != 2 || len(notes) != 2 {
			t.Fatalf("kept: %v; told: %q", kept, notes)
		}
		for _, file := range kept {
			out, err := exec.Command("qemu-img", "info", file).CombinedOutput()
			if err != nil || strings.Contains(string(out), "backing file") || !strings.Contains(strings.Join(notes, "\n"), file) {
				t.Errorf("%s needs an image, or nobody was told: %s %q", file, out, notes)
			}
			if strings.Contains(file, "root") {
				if n := w.number(filepath.Base(file), 2048); n < 10 {
					t.Errorf("what was written is not kept: %d", n)
				}
			}
		}
	})
}

// TestSnapshotVars keeps the UEFI variables of a machine whose domain somebody else has defined: libvirt has them in a
// folder of its own, which is no pool, and tells where only while the machine runs.
func TestSnapshotVars(t *testing.T) {
	onHost(t, func(w bench) {
		l := w.writers()
		l.Machines = l.Machines[1:2]
		l.Machines[0].Power = lab.Off
		w.apply(l)
		w.take(l, "never-ran")
		own := filepath.Join(t.TempDir(), "own.xml")
		x := regexp.MustCompile(`(?s)\s*<nvram.*?(</nvram>|/>)`).ReplaceAllString(w.d.Virsh("dumpxml", "--inactive", "test-m1"), "")
		if err := os.WriteFile(own, []byte(x), 0o644); err != nil {
			t.Fatal(err)
		}
		w.d.Virsh("define", own)
		err := w.v.TakeSnapshot(t.Context(), l, provider.Snapshot{Name: "s"}, provider.Silent)
		if provider.CodeOf(err) != provider.Unsupported || !strings.Contains(err.Error(), "start it first") {
			t.Errorf("what cannot be kept is said: %v", err)
		}
		l.Machines[0].Power = lab.On
		w.apply(l)
		w.settled(l)
		w.take(l, "s")
		file := "/var/lib/libvirt/qemu/nvram/test-m1_VARS.fd"
		was, err := os.ReadFile(disk("test--m1--nvram@s.fd"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, make([]byte, len(was)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := w.v.RestoreSnapshot(t.Context(), l, "s", provider.Silent); err != nil {
			t.Fatal(err)
		}
		if is, err := os.ReadFile(file); err != nil || string(is) != string(was) {
			t.Errorf("the UEFI variables are not what they were: %v", err)
		}
		if pools := w.d.Virsh("pool-list", "--all", "--name"); strings.Contains(pools, "passing") {
			t.Errorf("left: %s", pools)
		}
		w.apply(l)
		w.settled(l)
		w.clear(l)
		if _, err := os.Stat(file); err == nil {
			t.Errorf("left: %s", file)
		}
	})
}

// TestSnapshotImage: the image of a disk stays for as long as a snapshot is made from it, though the disk is gone.
func TestSnapshotImage(t *testing.T) {
	onHost(t, func(w bench) {
		l := w.idle(1)
		l.Machines[0].Power = lab.Off
		w.apply(l)
		w.take(l, "s")
		w.d.Virsh("undefine", "test-m0")
		w.d.Virsh("vol-delete", "--pool", poolPrefix+diskPool, "test--m0--root.qcow2")
		other := newBench(t, w.d, nil) // who does not know that the lab wants it
		images := func() int {
			if err := other.v.sweep(t.Context(), "other"); err != nil {
				t.Fatal(err)
			}
			files, _ := filepath.Glob("/var/lib/labctl/" + imagePool + "/*.qcow2")
			return len(files)
		}
		if n := images(); n != 1 {
			t.Errorf("the image of a snapshot is gone: %d are left", n)
		}
		if err := other.v.RemoveSnapshot(t.Context(), l, "s", provider.Silent); err != nil {
			t.Fatal(err)
		}
		if n := images(); n != 0 {
			t.Errorf("%d images are left that nobody uses", n)
		}
		w.clear(l)
	})
}

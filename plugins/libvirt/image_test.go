package libvirt

import (
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// images are the parts of images on the host.
func (w bench) images() string {
	w.Helper()
	files, _ := filepath.Glob("/var/lib/labctl/images/*")
	for i := range files {
		files[i] = strings.TrimPrefix(filepath.Ext(files[i]), ".")
	}
	return strings.Join(files, " ")
}

// other is a lab beside l on the same host, of the same image.
func other(l lab.Lab, name string, n byte) lab.Lab {
	l.Name = name
	l.Networks = []lab.Network{{Name: "office", CIDR: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 30, n, 0}), 24), MTU: 1500}}
	m := l.Machines[0]
	m.NICs = []lab.NIC{{Network: "office", Link: lab.Up}}
	l.Machines = []lab.Machine{m}
	return lab.Complete(l)
}

// TestImages has labs share an image: the last that uses it takes it away, but not from under anybody else.
func TestImages(t *testing.T) {
	onHost(t, func(w bench) {
		one := w.idle(1)
		two := other(one, "two", 1)
		w.apply(one)
		w.apply(two)
		w.clear(one)
		if got := w.images(); got != "qcow2 whole" {
			t.Errorf("with another lab: %q", got)
		}
		w.settled(two)
		base := filepath.Join("/var/lib/labctl/images", imageVolume(image.ID(one.Images[0])))
		w.d.Virsh("vol-create-as", "labctl-disks", "kept", "8M", "--format", "qcow2", "--backing-vol", base, "--backing-vol-format", "qcow2")
		w.clear(two)
		if got := w.images(); got != "qcow2 whole" {
			t.Errorf("with a disk of nobody's: %q", got)
		}
		w.d.Virsh("vol-delete", "kept", "--pool", "labctl-disks")
		// Taken away between the look and the disk.
		desired, err := w.v.Expand(one, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range desired {
			if r.Addr.Kind == kindDisk {
				w.forgetImages()
				if err := w.v.Create(t.Context(), r, provider.Silent); err != nil {
					t.Error(err)
				}
			}
		}
		w.apply(one)
		w.settled(one)
		w.whole(one)
		// While an apply goes on, what the lab is to have stays, though no disk is made from it just now.
		for _, o := range w.observe(one) {
			if o.Addr.Kind != kindMachine && o.Addr.Kind != kindDisk {
				continue
			}
			if err := w.v.Delete(t.Context(), o, provider.Silent); err != nil {
				t.Fatal(err)
			}
		}
		if got := w.images(); got != "qcow2 whole" {
			t.Errorf("between a disk and the next: %q", got)
		}
		w.apply(one)
		w.clear(one)
		if left, _ := filepath.Glob("/var/lib/labctl/*"); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	})
}

// TestImagesAtOnce has labs come and go at the same time, each by a labctl of its own: none takes the image from under
// another's disk.
func TestImagesAtOnce(t *testing.T) {
	onHost(t, func(w bench) {
		var wg sync.WaitGroup
		for n := range 3 {
			w := newBench(t, w.d, nil)
			l := other(w.idle(1), fmt.Sprint("at-once-", n), byte(n))
			l.Machines[0].Power = lab.Off
			try := func(l lab.Lab) (err error) { // as the engine does
				for range 5 {
					if _, err = w.try(t.Context(), l); provider.CodeOf(err) != provider.Busy {
						return err
					}
				}
				return err
			}
			wg.Go(func() {
				for i := range 5 {
					if err := try(l); err != nil {
						t.Errorf("%s, %d: %v", l.Name, i, err)
						return
					}
					disk := filepath.Join("/var/lib/labctl/disks", diskVolume(l.Name, "m0", "root"))
					if out, err := exec.Command("qemu-img", "info", "-U", "--backing-chain", disk).CombinedOutput(); err != nil {
						t.Errorf("%s, %d: %v: %s", l.Name, i, err, out)
					}
					if err := try(lab.Lab{Name: l.Name}); err != nil {
						t.Errorf("%s, %d: %v", l.Name, i, err)
						return
					}
				}
			})
		}
		wg.Wait()
		if left, _ := filepath.Glob("/var/lib/labctl/*"); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	})
}

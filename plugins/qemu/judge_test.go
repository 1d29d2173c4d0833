package qemu

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/providertest"
)

// TestJudge has the contract's judge look at real machines: one that does nothing, and one that runs Debian's kernel,
// which is what the judge edits.
func TestJudge(t *testing.T) {
	if testing.Short() {
		t.Skip("starts some forty machines")
	}
	need(t, "qemu-system-x86_64", "qemu-img")
	run, err := os.MkdirTemp("/tmp", "lq")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(run) })
	t.Setenv("XDG_RUNTIME_DIR", run)
	kernel, err := os.ReadFile(testKernel(t))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"vmlinuz": kernel, "initrd": initrd(t)}
	l := providertest.Lab()
	l.Images = []lab.Image{
		{Name: "base", Arch: lab.AMD64, URL: l.Images[0].URL, Digest: l.Images[0].Digest, MinDisk: lab.GiB},
		{Name: "linux", Arch: lab.AMD64, Kernel: true, MinDisk: lab.GiB, Build: &lab.Build{Distribution: "debian", Release: "bookworm"}},
	}
	pool := t.TempDir()
	other := l.Images[1]
	other.Build = &lab.Build{Distribution: "debian", Release: "bookworm", Packages: []string{"other"}}
	base2 := l.Images[0]
	base2.Digest = "sha256:" + strings.Repeat("6a", 32) // what the judge changes it to
	web := &l.Machines[1]
	web.Image, web.Firmware, web.Memory = "linux", lab.Kernel, 256*lab.MiB
	providertest.Test(t, providertest.Options{
		Plugin: Plugin(), Lab: l, Slow: true, Deadline: 2 * time.Minute,
		Options: func(t *testing.T) provider.Options {
			o := provider.Options{Home: t.TempDir(), Target: "test", Values: map[string]any{"accel": "tcg", "stop": "200ms"}}
			q, err := open(o)
			if err != nil {
				t.Fatal(err)
			}
			w := world{t, q}
			for _, i := range []lab.Image{l.Images[0], base2} {
				w.stock(i, make([]byte, 1<<20), nil)
			}
			for _, i := range []lab.Image{l.Images[1], other} {
				w.stock(i, make([]byte, 1<<20), files)
			}
			return o
		},
		Edits: []providertest.Edit{
			{Name: "another build", Change: func(l *lab.Lab) { l.Images[1] = other }},
			{Name: "a pool", Change: func(l *lab.Lab) {
				l.Pools = []lab.Pool{{Name: "disks", Path: pool}}
				l.Machines[0].Disks[0].Pool = "disks"
			}},
			{Name: "another domain", Change: func(l *lab.Lab) { l.Domain = "other.lab" }},
		},
		Fixed: map[string]string{
			"image.id": "the store has every image that the lab names, or it is absent", "image.source": "as image.id",
			"network.lab": "the mark of the owner", "disk.lab": "the mark of the owner", "machine.lab": "the mark of the owner", "guest.lab": "the mark of the owner",
			"network.name": "is the resource's name", "network.key": "is made of the name", "network.mac": "is made of the names of lab and network",
			"network.join": "only set on macOS", "network.host_access": "an option of the target", "network.forward": "an option of the target",
			"machine.arch": "needs another image, so that the root disk is remade",
		},
		BootID: bootIdentity,
	})
}

// bootIdentity is the process, and the boot id that the guest tells on its console.
func bootIdentity(t *testing.T, p provider.Provider, l lab.Lab, machine string) string {
	t.Helper()
	all, err := p.Observe(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range all {
		if o.Addr.Kind != kindMachine || o.Machine != machine {
			continue
		}
		id := o.Outputs["pid"]
		if o.Attrs["firmware"] != string(lab.Kernel) {
			return id
		}
		line := regexp.MustCompile(`BOOT (\S+)`)
		for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
			b, _ := os.ReadFile(o.Outputs["console"])
			if all := line.FindAllSubmatch(b, -1); all != nil && strings.Contains(string(b), "SEES") {
				return fmt.Sprintf("%s %d %s", id, len(all), all[len(all)-1][1])
			}
		}
		t.Fatalf("machine %s does not boot", machine)
	}
	t.Fatalf("machine %s is not observed", machine)
	return ""
}

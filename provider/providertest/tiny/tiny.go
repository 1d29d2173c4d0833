// Package tiny has the smallest machines there are, for tests of providers that run real ones: a boot sector that
// does nothing, and Debian's kernel with one program that tells what it sees.
//
// It must not know any provider.
package tiny

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/providertest"
)

// Need skips a test that starts machines where that is not wanted (-short), or a program is missing, as Skip does.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts machines")
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			Skip(t, "%s is not installed", p)
		}
	}
}

// Skip skips on a laptop and fails in CI: there a skip would hide what is not tested.
func Skip(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// Idle is a lab called "test" of n machines m0, m1, ... that do nothing, on the uplink "lan" and the network "office".
// Their image is in the store of home.
func Idle(t testing.TB, home string, n int) lab.Lab {
	t.Helper()
	b := make([]byte, 1<<20)
	copy(b, []byte{0xfa, 0xf4, 0xeb, 0xfc}) // cli; hlt; jmp hlt
	b[510], b[511] = 0x55, 0xaa
	img := lab.Image{Name: "idle", Arch: lab.AMD64, URL: "file:///boot.img", Digest: fmt.Sprintf("sha256:%x", sha256.Sum256(b)), MinDisk: lab.MiB}
	Stock(t, home, img, b, nil)
	l := lab.Lab{
		Name: "test", Domain: "test.lab", Target: "local", Images: []lab.Image{img},
		Networks: []lab.Network{
			{Name: "lan", Uplink: true, MTU: 1500},
			{Name: "office", CIDR: netip.MustParsePrefix("10.20.0.0/24"), MTU: 9000},
		},
	}
	for i := range n {
		l.Machines = append(l.Machines, lab.Machine{
			Name: fmt.Sprintf("m%d", i), CPUs: 1, Memory: 64 * lab.MiB, Arch: lab.AMD64, Firmware: lab.BIOS, Image: "idle",
			Disks: []lab.Disk{{Name: "root", Size: 8 * lab.MiB}}, Power: lab.On, Ready: lab.Duration(time.Minute),
			NICs: []lab.NIC{{Network: "lan", Link: lab.Up}, {Network: "office", Link: lab.Up}},
		})
	}
	return lab.Complete(l)
}

// Linux is a lab as Idle's of one machine that runs Debian's kernel with testdata/guest as its only program.
func Linux(t testing.TB, home string) lab.Lab {
	t.Helper()
	l := Idle(t, home, 1)
	l.Images = []lab.Image{LinuxImage(t, home)}
	l.Machines[0].Image, l.Machines[0].Firmware, l.Machines[0].Memory = "linux", lab.Kernel, 256*lab.MiB
	return l
}

// LinuxImage is the image of Linux's machine, for firmware "kernel"; it is put into the store of home.
func LinuxImage(t testing.TB, home string) lab.Image {
	t.Helper()
	img := lab.Image{Name: "linux", Arch: lab.AMD64, Kernel: true, MinDisk: lab.MiB, Build: &lab.Build{Distribution: "debian", Release: "bookworm"}}
	Stock(t, home, img, make([]byte, 1<<20), Files(t))
	return img
}

// Judged is the judge's own lab with a server that runs Linux's kernel, all the images that it and its edits use, and an
// edit to another build of that server's image.
func Judged() (lab.Lab, []lab.Image, providertest.Edit) {
	l := providertest.Lab()
	l.Images = []lab.Image{
		{Name: "base", Arch: lab.AMD64, URL: l.Images[0].URL, Digest: l.Images[0].Digest, MinDisk: lab.GiB},
		{Name: "linux", Arch: lab.AMD64, Kernel: true, MinDisk: lab.GiB, Build: &lab.Build{Distribution: "debian", Release: "bookworm"}},
	}
	other := l.Images[1]
	other.Build = &lab.Build{Distribution: "debian", Release: "bookworm", Packages: []string{"other"}}
	base2 := l.Images[0]
	base2.Digest = "sha256:" + strings.Repeat("6a", 32) // what the judge changes it to
	web := &l.Machines[1]
	web.Image, web.Firmware, web.Memory = "linux", lab.Kernel, 256*lab.MiB
	return l, []lab.Image{l.Images[0], l.Images[1], other, base2}, providertest.Edit{Name: "another build", Change: func(l *lab.Lab) { l.Images[1] = other }}
}

// Files are what an image for firmware "kernel" has beside its disk: Debian's kernel and testdata/guest.
func Files(t testing.TB) map[string][]byte {
	t.Helper()
	return map[string][]byte{"vmlinuz": kernel(t)["vmlinuz"], "initrd": initrd(t, "guest", nil)}
}

// Inhabited puts into the store of home, as the image i (one that has Kernel), a machine that is up within seconds and
// lets labctl in: testdata/inhabited says what it can. So all of labctl can be tried on it but what is inside a machine.
func Inhabited(t testing.TB, home string, i lab.Image) {
	t.Helper()
	k := kernel(t)
	vmlinuz := k["vmlinuz"]
	delete(k, "vmlinuz")
	Stock(t, home, i, make([]byte, 1<<20), map[string][]byte{"vmlinuz": vmlinuz, "initrd": initrd(t, "inhabited", k)})
}

// StockJudged puts the images of Judged into the store of home.
func StockJudged(t testing.TB, home string, images []lab.Image, files map[string][]byte) {
	t.Helper()
	for _, i := range images {
		if i.Kernel {
			Stock(t, home, i, make([]byte, 1<<20), files)
		} else {
			Stock(t, home, i, make([]byte, 1<<20), nil)
		}
	}
}

// Stock puts an image into the store of home by hand, the way image.Store would have.
func Stock(t testing.TB, home string, i lab.Image, disk []byte, files map[string][]byte) {
	t.Helper()
	dir := filepath.Join(home, "images", image.Short(image.ID(i)))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	raw := filepath.Join(t.TempDir(), "raw")
	if err := os.WriteFile(raw, disk, 0o644); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "disk.qcow2")
	if out, err := exec.Command("qemu-img", "convert", "-O", "qcow2", raw, path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	qcow, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rec := map[string]any{"id": image.ID(i), "name": i.Name, "arch": i.Arch, "size": len(disk), "cmdline": "console=ttyS0 quiet"}
	digests := map[string]string{"disk.qcow2": fmt.Sprintf("sha256:%x", sha256.Sum256(qcow))}
	for name, b := range files {
		digests[name] = fmt.Sprintf("sha256:%x", sha256.Sum256(b))
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
		rec["kernel"], rec["initrd"] = "vmlinuz", "initrd"
	}
	rec["digests"] = digests
	b, err := json.Marshal(rec)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "image.json"), b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// Boot is the identity of a machine's current boot: the output that names its process, or where it is Linux's machine
// the boot id that the guest tells on its console, which one that was saved and restored keeps.
func Boot(t testing.TB, p provider.Provider, l lab.Lab, machine, process string) string {
	t.Helper()
	all, err := p.Observe(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range all {
		if o.Addr.Kind != "machine" || o.Machine != machine {
			continue
		}
		id := o.Outputs[process]
		if o.Attrs["firmware"] != string(lab.Kernel) {
			return id
		}
		line := regexp.MustCompile(`BOOT (\S+)`)
		for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
			b, _ := os.ReadFile(o.Outputs["console"])
			if all := line.FindAllSubmatch(b, -1); all != nil && strings.Contains(string(b), "SEES") {
				return fmt.Sprintf("%d %s", len(all), all[len(all)-1][1])
			}
		}
		b, _ := os.ReadFile(o.Outputs["console"])
		t.Fatalf("machine %s does not boot; its console: %.1000q", machine, b)
	}
	t.Fatalf("machine %s is not observed", machine)
	return ""
}

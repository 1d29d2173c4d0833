package libvirt

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/libvirt/libvirttest"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/providertest"
)

// TestJudge has the contract's judge look at a real libvirtd: with a machine that does nothing, and one that runs
// Debian's kernel, which is what the judge edits.
func TestJudge(t *testing.T) {
	if testing.Short() {
		t.Skip("starts some forty machines")
	}
	libvirttest.Inside(t, libvirttest.Config{}, judge)
}

func judge(t *testing.T, d *libvirttest.Daemon) {
	files := map[string][]byte{"vmlinuz": testKernel(t), "initrd": initrd(t)}
	l := providertest.Lab()
	l.Images = []lab.Image{
		{Name: "base", Arch: lab.AMD64, URL: l.Images[0].URL, Digest: l.Images[0].Digest, MinDisk: lab.GiB},
		{Name: "linux", Arch: lab.AMD64, Kernel: true, MinDisk: lab.GiB, Build: &lab.Build{Distribution: "debian", Release: "bookworm"}},
	}
	other := l.Images[1]
	other.Build = &lab.Build{Distribution: "debian", Release: "bookworm", Packages: []string{"other"}}
	base2 := l.Images[0]
	base2.Digest = "sha256:" + strings.Repeat("6a", 32) // what the judge changes it to
	// Networks that do not touch, not even when the judge makes them wider: libvirt's are all on one host.
	l.Networks[0].CIDR = netip.MustParsePrefix("10.199.4.0/24")
	for i := range l.Machines {
		for j := range l.Machines[i].NICs {
			l.Machines[i].NICs[j].Addr = netip.Addr{}
		}
	}
	l = lab.Complete(l)
	web := &l.Machines[1]
	web.Image, web.Firmware, web.Memory = "linux", lab.Kernel, 256*lab.MiB
	providertest.Test(t, providertest.Options{
		Plugin: Plugin(), Lab: l, Slow: true, Deadline: 2 * time.Minute,
		Options: func(t *testing.T) provider.Options {
			home := t.TempDir()
			for _, i := range []lab.Image{l.Images[0], base2} {
				stock(t, home, i, make([]byte, 1<<20), nil)
			}
			for _, i := range []lab.Image{l.Images[1], other} {
				stock(t, home, i, make([]byte, 1<<20), files)
			}
			return provider.Options{Home: home, Target: "test", Values: map[string]any{"uri": d.URI, "type": "qemu", "stop": "200ms"}}
		},
		Edits: []providertest.Edit{
			{Name: "another build", Change: func(l *lab.Lab) { l.Images[1] = other }},
			{Name: "another domain", Change: func(l *lab.Lab) { l.Domain = "other.lab" }},
			{Name: "a second prefix", Change: func(l *lab.Lab) {
				l.Networks[1].CIDR6 = lab.ULA(l.Name, l.Networks[1].Name)
				*l = lab.Complete(*l)
			}},
			{Name: "disks in a pool of the lab's own", Change: func(l *lab.Lab) {
				l.Pools = []lab.Pool{{Name: "fast", Path: "/var/lib/labctl/fast"}}
				l.Machines[1].Disks[1].Pool = "fast"
			}},
		},
		Fixed: map[string]string{
			"image.id": "the store has every image that the lab names, or it is absent", "image.source": "as image.id", "image.pool": "moving it makes another image",
			"pool.path": "is what the pool is found by", "pool.power": "pools run, unless somebody stops them",
			"network.power": "networks run, unless somebody stops them", "network.autostart": "always on", "network.definition": "only after a change by another hand",
			"network.name": "is the resource's name", "network.bridge": "an option of the target",
			"machine.arch": "needs another image, so that the root disk is remade", "machine.name": "is the resource's name", "machine.root": "needs another disk, so that it is remade",
			"machine.cpu": "an option of the target", "machine.type": "an option of the target", "machine.board": "an option of the target", "machine.autostart": "an option of the target",
			"machine.seed": "only after a crash", "machine.definition": "only after a change by another hand",
		},
		BootID: bootIdentity,
		Gone: func(t *testing.T, _ provider.Options, l lab.Lab) {
			left := d.Virsh("list", "--all", "--name") + d.Virsh("net-list", "--all", "--name")
			files, _ := filepath.Glob("/var/lib/labctl/*/" + prefix(l.Name) + "*")
			if left != "" || len(files) > 0 {
				t.Errorf("nothing is left after the last object is deleted: %q, %v", left, files)
			}
		},
	})
}

// bootIdentity is the domain's number, and the boot id that the guest tells on its console.
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
		id := o.Outputs["id"]
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
		b, _ := os.ReadFile(o.Outputs["console"])
		t.Fatalf("machine %s does not boot; its console: %.1000q", machine, b)
	}
	t.Fatalf("machine %s is not observed", machine)
	return ""
}

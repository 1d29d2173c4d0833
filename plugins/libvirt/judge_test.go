package libvirt

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/libvirt/libvirttest"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/providertest"
	"github.com/labctl-dev/labctl/provider/providertest/tiny"
)

// TestJudge has the contract's judge look at a real libvirtd: with a machine that does nothing, and one that runs
// Debian's kernel, which is what the judge edits.
func TestJudge(t *testing.T) {
	if testing.Short() {
		t.Skip("starts some forty machines")
	}
	t.Parallel()
	libvirttest.Inside(t, libvirttest.Config{}, judge)
}

func judge(t *testing.T, d *libvirttest.Daemon) {
	files := tiny.Files(t)
	l, images, build := tiny.Judged()
	// Networks that do not touch, not even when the judge makes them wider: libvirt's are all on one host.
	l.Networks[0].CIDR = netip.MustParsePrefix("10.199.4.0/24")
	for i := range l.Machines {
		for j := range l.Machines[i].NICs {
			l.Machines[i].NICs[j].Addr = netip.Addr{}
		}
	}
	l = lab.Complete(l)
	providertest.Test(t, providertest.Options{
		Plugin: Plugin(), Lab: l, Slow: true, Deadline: 2 * time.Minute,
		Options: func(t *testing.T) provider.Options {
			home := t.TempDir()
			tiny.StockJudged(t, home, images, files)
			return provider.Options{Home: home, Target: "test", Values: map[string]any{"uri": d.URI, "type": "qemu", "stop": "200ms"}}
		},
		Edits: []providertest.Edit{
			build,
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
		Foreign: func(t *testing.T, o provider.Options) {
			define := func(command, text string) {
				file := filepath.Join(t.TempDir(), "x.xml")
				if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
				d.Virsh(command, file)
			}
			define("net-define", "<network><name>foreign</name><forward mode='nat'/><ip address='10.199.77.1' prefix='24'/></network>")
			d.Virsh("net-start", "foreign")
			define("define", "<domain type='qemu'><name>stranger</name><memory unit='MiB'>128</memory><os><type>hvm</type></os>"+
				"<devices><interface type='network'><mac address='52:54:00:00:00:31'/><source network='foreign'/></interface></devices></domain>")
			t.Cleanup(func() {
				d.Virsh("undefine", "stranger")
				d.Virsh("net-destroy", "foreign")
				d.Virsh("net-undefine", "foreign")
			})
		},
		Fixed: map[string]string{
			"image.id": "the store has every image that the lab names, or it is absent", "image.source": "as image.id", "image.pool": "moving it makes another image",
			"pool.path": "is what the pool is found by", "pool.power": "pools run, unless somebody stops them",
			"network.power": "networks run, unless somebody stops them", "network.autostart": "always on", "network.detached": "only after a crash or a change by another hand", "network.definition": "only after a change by another hand",
			"network.name": "is the resource's name", "network.bridge": "an option of the target", "network.mac": "is made of the names",
			"machine.arch": "needs another image, so that the root disk is remade", "machine.name": "is the resource's name", "machine.root": "needs another disk, so that it is remade",
			"machine.cpu": "an option of the target", "machine.type": "an option of the target", "machine.board": "an option of the target", "machine.autostart": "an option of the target",
			"machine.seed": "only after a crash", "machine.definition": "only after a change by another hand",
		},
		BootID: func(t *testing.T, p provider.Provider, l lab.Lab, machine string) string {
			return tiny.Boot(t, p, l, machine, "id")
		},
		Gone: func(t *testing.T, _ provider.Options, l lab.Lab) {
			left := d.Virsh("list", "--all", "--name") + d.Virsh("net-list", "--all", "--name")
			files, _ := filepath.Glob("/var/lib/labctl/*/" + prefix(l.Name) + "*")
			if left != "" || len(files) > 0 {
				t.Errorf("nothing is left after the last object is deleted: %q, %v", left, files)
			}
		},
	})
}

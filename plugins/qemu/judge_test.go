package qemu

import (
	"testing"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/providertest"
	"github.com/labctl-dev/labctl/provider/providertest/tiny"
)

// TestJudge has the contract's judge look at real machines: one that does nothing, and one that runs Debian's kernel,
// which is what the judge edits.
func TestJudge(t *testing.T) {
	if testing.Short() {
		t.Skip("starts some forty machines")
	}
	tiny.Need(t, "qemu-system-x86_64", "qemu-img")
	t.Parallel()
	files, pool := tiny.Files(t), t.TempDir()
	l, images, build := tiny.Judged()
	providertest.Test(t, providertest.Options{
		Plugin: Plugin(), Lab: l, Slow: true, Deadline: 2 * time.Minute,
		Options: func(t *testing.T) provider.Options {
			o := provider.Options{Home: t.TempDir(), Target: "test", Values: map[string]any{"accel": "tcg", "stop": "200ms"}}
			tiny.StockJudged(t, o.Home, images, files)
			return o
		},
		Edits: []providertest.Edit{
			build,
			{Name: "a pool", Change: func(l *lab.Lab) {
				l.Pools = []lab.Pool{{Name: "disks", Path: pool}}
				l.Machines[0].Disks[0].Pool = "disks"
			}},
			{Name: "another domain", Change: func(l *lab.Lab) { l.Domain = "other.lab" }},
		},
		Skip: map[string]string{"installed from the network": "its machines have no image that an installer could write: see testdata/scripts/qemu_netboot.txtar"},
		Fixed: map[string]string{
			"disk.install": "as the edit that is skipped",
			"image.id":     "the store has every image that the lab names, or it is absent", "image.source": "as image.id",
			"network.lab": "the mark of the owner", "disk.lab": "the mark of the owner", "machine.lab": "the mark of the owner", "guest.lab": "the mark of the owner",
			"network.name": "is the resource's name", "network.key": "is made of the name", "network.mac": "is made of the names of lab and network",
			"network.join": "only set on macOS", "network.host_access": "an option of the target", "network.forward": "an option of the target",
			"machine.arch": "needs another image, so that the root disk is remade",
		},
		BootID: func(t *testing.T, p provider.Provider, l lab.Lab, machine string) string {
			return tiny.Boot(t, p, l, machine, "pid")
		},
	})
}

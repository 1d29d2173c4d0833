package libvirtbench

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/libvirt"
	"github.com/labctl-dev/labctl/plugins/libvirt/libvirttest"
	"github.com/labctl-dev/labctl/provider"
)

const labName = "bench"

// bootSector is an image that does nothing: a machine of it costs what its start costs, and nothing after.
func bootSector(b *testing.B) string {
	disk := make([]byte, 1<<20)
	copy(disk, []byte{0xfa, 0xf4, 0xeb, 0xfc}) // cli; hlt; jmp hlt
	disk[510], disk[511] = 0x55, 0xaa
	file := filepath.Join(b.TempDir(), "boot.img")
	if err := os.WriteFile(file, disk, 0o644); err != nil {
		b.Fatal(err)
	}
	return file
}

// spec is a lab of n machines on two networks, in labctl's words.
func spec(uri, image, digest string, n int) string {
	return fmt.Sprintf(`
name: %q
networks: {lan: uplink: true, office: cidr: "10.20.0.0/24"}
images: idle: {url: "file://%s", sha256: "%s", min_disk: "1MiB"}
let machine = {nics: {lan: {}, office: {}}, memory: "128MiB", image: "idle", disk: "8MiB", firmware: "bios"}
servers: {%s}
targets: host: {provider: "libvirt", uri: %q, type: "qemu"}
`, labName, image, digest, strings.Join(each(n, func(name string) string { return name + ": machine" }), ", "), uri)
}

// each makes a text of each machine's name.
func each(n int, f func(name string) string) []string {
	var words []string
	for i := range n {
		words = append(words, f(fmt.Sprintf("m%02d", i)))
	}
	return words
}

// labOf is the same lab as far as it matters for looking at it.
func labOf(image, digest string, n int) lab.Lab {
	l := lab.Lab{
		Name: labName, Domain: labName + ".lab", Target: "host",
		Images: []lab.Image{{Name: "idle", Arch: lab.AMD64, URL: "file://" + image, Digest: "sha256:" + digest, MinDisk: lab.MiB}},
		Networks: []lab.Network{
			{Name: "lan", Uplink: true, MTU: 1500},
			{Name: "office", CIDR: netip.MustParsePrefix("10.20.0.0/24"), MTU: 1500},
		},
	}
	each(n, func(name string) string {
		l.Machines = append(l.Machines, lab.Machine{
			Name: name, CPUs: 1, Memory: 128 * lab.MiB, Arch: lab.AMD64, Firmware: lab.BIOS, Image: "idle",
			Disks: []lab.Disk{{Name: "root", Size: 8 * lab.MiB}}, Power: lab.On, Ready: lab.Duration(time.Minute),
			NICs: []lab.NIC{{Network: "lan", Link: lab.Up}, {Network: "office", Link: lab.Up}},
		})
		return ""
	})
	return lab.Complete(l)
}

// ours is labctl with a home of its own and a lab of so many machines.
type ours struct {
	b        *testing.B
	home     string
	bin      string // labctl and its plugin
	deaf     string // labctl and the plugin that does not reach into machines
	file     string // the lab
	parallel int
	uri      string
	lab      lab.Lab
}

// newOurs builds labctl, and sees to it that the image is on the host.
func newOurs(b *testing.B, d *libvirttest.Daemon, image string, n, parallel int) *ours {
	o := &ours{b: b, home: b.TempDir(), bin: b.TempDir(), deaf: b.TempDir(), parallel: parallel, uri: d.URI}
	build := exec.Command("go", "build", "-o", o.bin+"/", "../../../cmd/labctl", "../../../cmd/"+pluginName)
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("go build: %v\n%s", err, out)
	}
	self, err := os.Executable()
	o.must(err)
	o.must(os.Symlink(self, filepath.Join(o.deaf, pluginName)))
	o.must(os.Link(filepath.Join(o.bin, "labctl"), filepath.Join(o.deaf, "labctl")))
	disk, err := os.ReadFile(image)
	o.must(err)
	digest := fmt.Sprintf("%x", sha256.Sum256(disk))
	o.file = filepath.Join(o.home, "bench.cue")
	o.must(os.WriteFile(o.file, []byte(spec(d.URI, image, digest, 1)), 0o644))
	o.apply()
	keepImage(d)
	o.destroy()
	o.must(os.WriteFile(o.file, []byte(spec(d.URI, image, digest, n)), 0o644))
	o.lab = labOf(image, digest, n)
	return o
}

// keepImage makes somebody else's volume of the image, so that it stays on the host from one lab to the next.
func keepImage(d *libvirttest.Daemon) {
	const pool, keeper = "labctl-images", "keeper"
	all := strings.Fields(d.Virsh("vol-list", pool))
	for _, w := range all {
		if w == keeper {
			return
		}
	}
	for _, w := range all {
		if strings.HasPrefix(w, "labctl-image-") && strings.HasSuffix(w, ".qcow2") {
			d.Virsh("vol-create-as", pool, keeper, "1M", "--format", "qcow2", "--backing-vol", w, "--backing-vol-format", "qcow2")
		}
	}
}

func (o *ours) must(err error) {
	o.b.Helper()
	if err != nil {
		o.b.Fatal(err)
	}
}

// run runs labctl and returns its exit code.
func (o *ours) run(bin string, args ...string) int {
	o.b.Helper()
	cmd := exec.Command(filepath.Join(bin, "labctl"), args...)
	cmd.Env = append(os.Environ(), "LABCTL_HOME="+o.home, "LABCTL_ACCEL=tcg")
	out, err := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); err == nil || code == 2 {
		return code
	}
	o.b.Fatalf("labctl %s: %v\n%s", strings.Join(args, " "), err, out)
	return 0
}

func (o *ours) plan() {
	if o.run(o.bin, "plan", "--exit-code", o.file) != 2 {
		o.b.Fatal("labctl plan: there is nothing to do, of a lab that does not exist")
	}
}

func (o *ours) apply() {
	o.run(o.deaf, "apply", "-q", "--no-test", "--parallel", fmt.Sprint(o.parallel), o.file)
}

func (o *ours) unchanged() {
	if o.run(o.bin, "plan", "--exit-code", o.file) != 0 {
		o.b.Fatal("labctl plan: there is something to do, of a lab that was just made")
	}
}

func (o *ours) destroy() {
	o.run(o.bin, "destroy", "-q", "--parallel", fmt.Sprint(o.parallel), o.file)
}

// observe is the provider's part of a plan, in this process: a new connection, what the lab should be, and what is.
func (o *ours) observe() {
	p, err := libvirt.Plugin().New(provider.Options{Home: o.home, Target: "host", Values: map[string]any{"uri": o.uri, "type": "qemu"}})
	o.must(err)
	var want []provider.Resource
	var bad error
	var expanded sync.WaitGroup
	expanded.Go(func() { want, bad = p.Expand(o.lab, nil) }) // at the same time, as the engine does it
	have, err := p.Observe(o.b.Context(), o.lab)
	expanded.Wait()
	o.must(errors.Join(bad, err))
	if len(have) != len(want) {
		o.b.Fatalf("the provider sees %d things of %d", len(have), len(want))
	}
}

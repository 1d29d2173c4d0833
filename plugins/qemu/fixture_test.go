package qemu

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// skip skips on a laptop and fails in CI: there a skip would hide what is not tested.
func skip(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

func need(t *testing.T, programs ...string) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts machines")
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			skip(t, "%s is not installed", p)
		}
	}
}

// world is a provider with a home of its own. What a test leaves running is ended.
type world struct {
	*testing.T
	q *qemu
}

func newWorld(t *testing.T, values map[string]any) world {
	t.Helper()
	need(t, "qemu-system-x86_64", "qemu-img")
	run, err := os.MkdirTemp("/tmp", "lq") // short: sockets live in it
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_RUNTIME_DIR", run)
	all := map[string]any{"accel": "tcg", "stop": "1s"}
	for k, v := range values {
		all[k] = v
	}
	q, err := open(provider.Options{Home: t.TempDir(), Target: "local", Values: all})
	if err != nil {
		t.Fatal(err)
	}
	w := world{t, q}
	t.Cleanup(func() {
		w.apply(lab.Lab{Name: "test", Target: "local"})
		os.RemoveAll(run)
	})
	return w
}

// bootSector is a whole operating system that does nothing, as an image.
func (w world) bootSector() lab.Image {
	w.Helper()
	b := make([]byte, 1<<20)
	copy(b, []byte{0xfa, 0xf4, 0xeb, 0xfc}) // cli; hlt; jmp hlt
	b[510], b[511] = 0x55, 0xaa
	i := lab.Image{Name: "idle", Arch: lab.AMD64, URL: "file:///boot.img", Digest: fmt.Sprintf("sha256:%x", sha256.Sum256(b)), MinDisk: lab.MiB}
	w.stock(i, b, nil)
	return i
}

// stock puts an image into the store by hand, the way image.Store would have.
func (w world) stock(i lab.Image, disk []byte, files map[string][]byte) {
	w.Helper()
	dir := filepath.Join(w.q.home, "images", image.Short(image.ID(i)))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		w.Fatal(err)
	}
	raw := filepath.Join(w.TempDir(), "raw")
	if err := os.WriteFile(raw, disk, 0o644); err != nil {
		w.Fatal(err)
	}
	path := filepath.Join(dir, "disk.qcow2")
	if out, err := exec.Command("qemu-img", "convert", "-O", "qcow2", raw, path).CombinedOutput(); err != nil {
		w.Fatalf("%v: %s", err, out)
	}
	qcow, err := os.ReadFile(path)
	if err != nil {
		w.Fatal(err)
	}
	rec := map[string]any{"id": image.ID(i), "name": i.Name, "arch": i.Arch, "size": len(disk), "cmdline": "console=ttyS0 quiet"}
	digests := map[string]string{"disk.qcow2": fmt.Sprintf("sha256:%x", sha256.Sum256(qcow))}
	for name, b := range files {
		digests[name] = fmt.Sprintf("sha256:%x", sha256.Sum256(b))
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			w.Fatal(err)
		}
		rec["kernel"], rec["initrd"] = "vmlinuz", "initrd"
	}
	rec["digests"] = digests
	b, err := json.Marshal(rec)
	if err != nil {
		w.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "image.json"), b, 0o644); err != nil {
		w.Fatal(err)
	}
}

// observe returns what exists, by address.
func (w world) observe(l lab.Lab) map[string]provider.Observed {
	w.Helper()
	all, err := w.q.Observe(w.Context(), l)
	if err != nil {
		w.Fatal(err)
	}
	by := map[string]provider.Observed{}
	for _, o := range all {
		by[o.Addr.String()] = o
	}
	return by
}

// apply does what the engine does, one thing after the other, and returns what it did.
func (w world) apply(l lab.Lab) []string {
	w.Helper()
	ctx := w.Context()
	if ctx.Err() != nil {
		ctx = cleanupContext()
	}
	seeds := map[string]lab.Seed{}
	for _, m := range l.Machines {
		seeds[m.Name] = lab.Seed{Machine: m.Name, UserData: []byte("#cloud-config\n"), MetaData: []byte("instance-id: x\n"), NetworkConfig: []byte("version: 2\n"), Digest: "sha256:1"}
	}
	desired, err := w.q.Expand(l, seeds)
	if err != nil {
		w.Fatal(err)
	}
	found, err := w.q.Observe(ctx, l)
	if err != nil {
		w.Fatal(err)
	}
	want, have := map[provider.Addr]provider.Resource{}, map[provider.Addr]provider.Observed{}
	for _, r := range desired {
		if err := Description().Check(r); err != nil {
			w.Fatal(err)
		}
		want[r.Addr] = r
	}
	for _, o := range found {
		have[o.Addr] = o
	}
	var did []string
	note := func(what string, a provider.Addr, err error) {
		w.Helper()
		if err != nil {
			w.Fatalf("%s: %v", what, err)
		}
		did = append(did, what+" "+a.Kind+"/"+a.Name)
	}
	kinds := Description().Kinds
	for i := len(kinds) - 1; i >= 0; i-- {
		for _, o := range found {
			if _, ok := want[o.Addr]; !ok && o.Addr.Kind == kinds[i].Name && !o.Shared && kinds[i].Name != kindDisk {
				note("delete", o.Addr, w.q.Delete(ctx, o, provider.Silent))
			}
		}
	}
	for _, k := range kinds {
		for _, r := range desired {
			if r.Addr.Kind != k.Name {
				continue
			}
			if k.Seeded {
				s := seeds[r.Machine]
				r.Seed = &s
			}
			o, ok := have[r.Addr]
			if !ok {
				note("create", r.Addr, w.q.Create(ctx, r, provider.Silent))
			} else if !cmp.Equal(o.Attrs, r.Attrs) {
				note("update", r.Addr, w.q.Update(ctx, o, r, provider.Silent))
			}
		}
	}
	for _, o := range found { // disks last: machines must have let go of them
		if _, ok := want[o.Addr]; !ok && o.Addr.Kind == kindDisk {
			note("delete", o.Addr, w.q.Delete(ctx, o, provider.Silent))
		}
	}
	return did
}

// settled fails unless a second look finds nothing to do: the law of providers.
func (w world) settled(l lab.Lab) {
	w.Helper()
	if did := w.apply(l); len(did) > 0 {
		w.Fatalf("applied, and applied again: %v", did)
	}
}

// idle is a lab of machines that do nothing.
func (w world) idle(n int) lab.Lab {
	w.Helper()
	l := lab.Lab{
		Name: "test", Domain: "test.lab", Target: "local", Images: []lab.Image{w.bootSector()},
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

// linux is a lab of one machine that runs Debian's kernel with testdata/guest as its only program.
func (w world) linux() lab.Lab {
	w.Helper()
	l := w.idle(1)
	l.Images = []lab.Image{{Name: "linux", Arch: lab.AMD64, Kernel: true, MinDisk: lab.MiB, Build: &lab.Build{Distribution: "debian", Release: "bookworm"}}}
	kernel, err := os.ReadFile(testKernel(w.T))
	if err != nil {
		w.Fatal(err)
	}
	w.stock(l.Images[0], make([]byte, 8<<20), map[string][]byte{"vmlinuz": kernel, "initrd": initrd(w.T)})
	l.Machines[0].Image, l.Machines[0].Firmware, l.Machines[0].Memory = "linux", lab.Kernel, 256*lab.MiB
	return l
}

// testKernel is Debian's cloud kernel, from the archive or from an earlier run.
func testKernel(t *testing.T) string {
	t.Helper()
	need(t, "apt-get", "dpkg-deb")
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(cache, "labctl-test", "vmlinuz-cloud-amd64")
	if exists(path) {
		return path
	}
	dir := t.TempDir()
	script := `set -e
pkg=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ {print $2; exit}')
apt-get download -q "$pkg" >&2
dpkg-deb -x "$pkg"_*.deb x
mkdir -p "$(dirname "$1")"
cp x/boot/vmlinuz-* "$1.new"
mv "$1.new" "$1"`
	cmd := exec.Command("sh", "-c", script, "sh", path)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		skip(t, "no kernel to test with: %v: %s", err, out)
	}
	return path
}

// initrd is a cpio archive (newc, kernel Documentation/driver-api/early-userspace/buffer-format.rst) with one program.
func initrd(t *testing.T) []byte {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "init")
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", bin, "./testdata/guest")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	program, err := os.ReadFile(bin)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	entry := func(name string, mode, major, minor int, data []byte) {
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00", b.Len(), mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(name)+1, 0, name)
		b.Write(make([]byte, -b.Len()&3))
		b.Write(data)
		b.Write(make([]byte, -b.Len()&3))
	}
	entry("dev", 0o40755, 0, 0, nil)
	entry("dev/console", 0o20600, 5, 1, nil)
	entry("init", 0o100755, 0, 0, program)
	entry("TRAILER!!!", 0, 0, 0, nil)
	return b.Bytes()
}

// sees waits until the guest's console has said words, after what it had said before.
func (w world) sees(machine string, after int, words string) {
	w.Helper()
	path := w.q.dirs("test").console(machine)
	for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if b, err := os.ReadFile(path); err == nil && len(b) >= after && strings.Contains(string(b[after:]), words) {
			return
		}
	}
	b, _ := os.ReadFile(path)
	w.Fatalf("machine %s never said %q; its console ends with %s", machine, words, lastLines(string(b), 10))
}

// said is how much the guest's console has said.
func (w world) said(machine string) int {
	st, err := os.Stat(w.q.dirs("test").console(machine))
	if err != nil {
		return 0
	}
	return int(st.Size())
}

package tiny

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// fetch brings Debian's cloud kernel, with the modules that virtio devices and a power button take, into folder $1.
const fetch = `set -e
pkg=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ {print $2; exit}')
apt-get download -q "$pkg" >&2
dpkg-deb -x "$pkg"_*.deb x
mkdir -p out "$(dirname "$1")"
cp x/boot/vmlinuz-* out/vmlinuz
for m in virtio virtio_ring virtio_pci virtio_pci_legacy_dev virtio_pci_modern_dev virtio_blk failover net_failover virtio_net button evdev; do
	find x/lib/modules -name "$m.ko" -exec cp {} out/ ';'
done
cp -r out "$1.$$"
mv -T "$1.$$" "$1" || [ -e "$1/vmlinuz" ]`

// kernel is Debian's cloud kernel "vmlinuz" and modules of it, from the archive or from an earlier run.
func kernel(t testing.TB) map[string][]byte {
	t.Helper()
	Need(t, "apt-get", "dpkg-deb")
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(cache, "labctl-test", "linux-cloud-amd64")
	if _, err := os.Stat(folder); err != nil {
		cmd := exec.Command("sh", "-c", fetch, "sh", folder)
		cmd.Dir = t.TempDir()
		if out, err := cmd.CombinedOutput(); err != nil {
			Skip(t, "no kernel to test with: %v: %s", err, out)
		}
	}
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no kernel in %s: %v", folder, err)
	}
	all := map[string][]byte{}
	for _, f := range files {
		if all[filepath.Base(f)], err = os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// initrd is a cpio archive (newc, kernel Documentation/driver-api/early-userspace/buffer-format.rst) with one of
// testdata's programs, and modules.
func initrd(t testing.TB, program string, modules map[string][]byte) []byte {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "init")
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", bin, "github.com/labctl-dev/labctl/provider/providertest/tiny/testdata/"+program)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	init, err := os.ReadFile(bin)
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
	entry("modules", 0o40755, 0, 0, nil)
	names := []string{}
	for name := range modules {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		entry("modules/"+name, 0o100644, 0, 0, modules[name])
	}
	entry("init", 0o100755, 0, 0, init)
	entry("TRAILER!!!", 0, 0, 0, nil)
	return b.Bytes()
}

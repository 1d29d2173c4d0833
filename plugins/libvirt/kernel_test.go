package libvirt

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/lab"
)

// skip skips on a laptop and fails in CI: there a skip would hide what is not tested.
func skip(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// testKernel is Debian's cloud kernel, from the archive or from an earlier run.
func testKernel(t *testing.T) []byte {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(cache, "labctl-test", "vmlinuz-cloud-amd64")
	if _, err := os.Stat(path); err != nil {
		script := `set -e
pkg=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ {print $2; exit}')
apt-get download -q "$pkg" >&2
dpkg-deb -x "$pkg"_*.deb x
mkdir -p "$(dirname "$1")"
cp x/boot/vmlinuz-* "$1.new"
mv "$1.new" "$1"`
		cmd := exec.Command("sh", "-c", script, "sh", path)
		cmd.Dir = t.TempDir()
		if out, err := cmd.CombinedOutput(); err != nil {
			skip(t, "no kernel to test with: %v: %s", err, out)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
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

// linux is a lab of one machine that runs Debian's kernel with testdata/guest as its only program.
func (w bench) linux() lab.Lab {
	w.Helper()
	l := w.idle(1)
	l.Images = []lab.Image{{Name: "linux", Arch: lab.AMD64, Kernel: true, MinDisk: lab.MiB, Build: &lab.Build{Distribution: "debian", Release: "bookworm"}}}
	w.stock(l.Images[0], make([]byte, 1<<20), map[string][]byte{"vmlinuz": testKernel(w.T), "initrd": initrd(w.T)})
	l.Machines[0].Image, l.Machines[0].Firmware, l.Machines[0].Memory = "linux", lab.Kernel, 256*lab.MiB
	return l
}

// console is what a machine's console has printed since it was last started.
func (w bench) console(l lab.Lab, machine string) string {
	w.Helper()
	text, err := w.v.log(w.Context(), l.Name, machine)
	if err != nil {
		w.Fatal(err)
	}
	return string(text)
}

// sees waits until a machine's console has said words after the first so many bytes.
func (w bench) sees(l lab.Lab, machine string, after int, words string) {
	w.Helper()
	text := ""
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if text = w.console(l, machine); len(text) >= after && strings.Contains(text[after:], words) {
			return
		}
	}
	w.Fatalf("machine %s never said %q; its console: %s", machine, words, text[max(0, len(text)-1000):])
}

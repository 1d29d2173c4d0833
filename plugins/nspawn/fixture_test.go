package nspawn

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/providertest"
	"github.com/labctl-dev/labctl/provider/providertest/tiny"
)

// TestMain makes the test program machines and networks too, as the plugin is.
func TestMain(m *testing.M) {
	Main(func(provider.Plugin) { os.Exit(m.Run()) })
}

// need skips where containers cannot be started.
func need(t *testing.T) {
	t.Helper()
	tiny.Need(t, "systemd-nspawn", "ip", "nft", "nsenter", "unshare", "qemu-img", "mke2fs", "slirp4netns", "dnsmasq", "losetup")
	if os.Getuid() != 0 {
		tiny.Skip(t, "containers need root")
	}
}

// system is a disk with the least that systemd-nspawn starts: testdata/init, and what tells that it is a system.
func system(t *testing.T) []byte {
	t.Helper()
	root := filepath.Join(t.TempDir(), "root")
	for _, dir := range []string{"usr/lib", "sbin", "etc", "proc", "sys", "dev", "run", "tmp", "var/lib"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "usr/lib/os-release"), []byte("ID=test\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	disk := filepath.Join(t.TempDir(), "disk")
	for _, words := range [][]string{
		{"go", "build", "-ldflags=-s -w", "-o", filepath.Join(root, "sbin/init"), "./testdata/init"},
		{"truncate", "-s", "16M", disk},
		{"mke2fs", "-q", "-t", "ext4", "-d", root, disk},
	} {
		cmd := exec.Command(words[0], words[1:]...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", words, err, out)
		}
	}
	b, err := os.ReadFile(disk)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// judged is the judge's lab with all images that it and its edits use.
func judged() (lab.Lab, []lab.Image) {
	l := providertest.Lab()
	other := l.Images[0]
	other.Digest = "sha256:" + strings.Repeat("6a", 32) // what the judge changes it to
	return l, []lab.Image{l.Images[0], other}
}

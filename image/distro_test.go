package image_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/lab"
)

// TestDistro: the parts of a distribution's installer are fetched once, by their digests, and are there whole or not at all.
func TestDistro(t *testing.T) {
	from := t.TempDir()
	part := func(name string) lab.Part {
		path := filepath.Join(from, name)
		if err := os.WriteFile(path, []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
		return lab.Part{URL: "file://" + path, SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(name)))}
	}
	i := lab.Installer{Name: "ubuntu", Answers: lab.Autoinstall, Release: "noble", Mirror: "http://archive.ubuntu.com/ubuntu", Kernel: part("vmlinuz"), Initrd: part("initrd"), Medium: part("iso")}
	s := image.Store{Dir: t.TempDir()}
	quiet := func(string, int64, int64) {}

	bad := i
	bad.Medium.SHA256 = strings.Repeat("0", 64)
	if _, err := s.Distro(t.Context(), bad, lab.AMD64, quiet); err == nil || !strings.Contains(err.Error(), "cannot get the medium of installer ubuntu") {
		t.Errorf("a wrong digest: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(s.Dir, ".installer-*")); len(left) > 0 {
		t.Errorf("after an error there is %v", left)
	}
	for range 2 { // the second time from the store
		got, err := s.Distro(t.Context(), i, lab.AMD64, quiet)
		if err != nil {
			t.Fatal(err)
		}
		for want, path := range map[string]string{"vmlinuz": got.Kernel, "initrd": got.Initrd, "iso": got.Medium} {
			if b, err := os.ReadFile(path); err != nil || string(b) != want {
				t.Errorf("%s is %q, %v", want, b, err)
			}
		}
		if !strings.Contains(got.Cmdline, "console=ttyS0") {
			t.Errorf("the kernel is told %q", got.Cmdline)
		}
		if err := os.RemoveAll(from); err != nil {
			t.Fatal(err)
		}
	}
}

package main_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestRelease builds what is released for this platform, twice, from two folders: the bytes are the same; the Debian package
// holds a labctl that runs, finds its plugins, and knows its version. What is built for other systems is built in CI
// (.github/workflows/test.yml). All of it takes minutes: make e2e-release.
func TestRelease(t *testing.T) {
	if os.Getenv("LABCTL_E2E") == "" {
		return
	}
	var sums [2][]byte
	dist := t.TempDir()
	for i := range sums {
		clone := filepath.Join(t.TempDir(), "labctl")
		call(t, "", "git", "clone", "-q", "--no-hardlinks", "../..", clone)
		out := filepath.Join(dist, string(rune('a'+i)))
		call(t, clone, "build/release.sh", out, runtime.GOOS+"/"+runtime.GOARCH)
		b, err := os.ReadFile(filepath.Join(out, "SHA256SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		sums[i] = b
	}
	if !bytes.Equal(sums[0], sums[1]) {
		t.Errorf("two builds of one commit differ:\n%s\n%s", sums[0], sums[1])
	}
	sbom(t, one(t, dist, "*.cdx.json"))
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		return
	}
	root := t.TempDir()
	call(t, "", "dpkg-deb", "-x", one(t, dist, "*.deb"), root)
	version := call(t, "", filepath.Join(root, "usr/bin/labctl"), "version")
	for _, want := range []string{"labctl-provider-qemu", "labctl-provider-libvirt", "commit"} {
		if !strings.Contains(version, want) {
			t.Errorf("labctl version of the package says nothing of %s:\n%s", want, version)
		}
	}
}

// sbom checks that the document names what labctl is made of.
func sbom(t *testing.T, path string) {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		BomFormat  string
		Components []struct {
			Name, Version, PURL string
			Hashes              []struct{ Alg, Content string }
		}
	}
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	for _, c := range d.Components {
		if c.Name == "cuelang.org/go" && d.BomFormat == "CycloneDX" && len(c.Hashes) == 1 && len(c.Hashes[0].Content) == 64 && c.PURL == "pkg:golang/cuelang.org/go@"+c.Version {
			return
		}
	}
	t.Errorf("%s does not name cuelang.org/go", path)
}

// one is the file of the first build that matches.
func one(t *testing.T, dist, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dist, "a", pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %v, %v", pattern, found, err)
	}
	return found[0]
}

// call runs a program that succeeds, and returns what it printed.
func call(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

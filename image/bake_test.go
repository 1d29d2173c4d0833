package image_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/lab"
)

// TestBaked: a baked image is known by its base and what it has besides, and by nothing else.
func TestBaked(t *testing.T) {
	base := lab.Image{Name: "demo", Arch: lab.AMD64, URL: "https://example.org/x", Digest: "sha256:" + strings.Repeat("0a", 32), MinDisk: lab.GiB}
	one := image.Baked(base, image.Bake{Packages: []string{"sl", "tree"}})
	two := image.Baked(base, image.Bake{Packages: []string{"sl"}})
	if image.ID(one) == image.ID(two) || one.Name == two.Name || !strings.HasPrefix(image.ID(one), image.ID(base)+"+") {
		t.Errorf("%s, %s of %s", image.ID(one), image.ID(two), image.ID(base))
	}
	if s := image.Short(image.ID(one)); s != "0a0a0a0a0a0a0a0a+"+one.Baked || len(one.Baked) != 12 {
		t.Errorf("its folder is %s", s)
	}
	sources := image.Bake{Packages: []string{"sl"}, Sources: []lab.Source{{Name: "vendor", Key: lab.Key{Fingerprint: "AA"}}}}
	if image.ID(image.Baked(base, sources)) == image.ID(two) {
		t.Error("packages from elsewhere make the same image")
	}
}

// TestAdopt: a disk that was started from an image becomes one, whole and beside it; it cannot be had otherwise.
func TestAdopt(t *testing.T) {
	body := disk(t)
	base := lab.Image{Name: "demo", Arch: lab.AMD64, URL: serve(t, body, nil), Digest: digest(body), MinDisk: lab.GiB}
	s := image.Store{Dir: filepath.Join(t.TempDir(), "images")}
	b := image.Bake{Packages: []string{"tree"}}
	baked := image.Baked(base, b)
	var e *image.Error
	if _, err := s.Adopt(t.Context(), base, b, "nowhere", func(string, int64, int64) {}); !errors.As(err, &e) || e.Code != image.NotFound {
		t.Errorf("adopted without its base: %v", err)
	}
	from, err := s.Ensure(t.Context(), base, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Ensure(t.Context(), baked, nil); !errors.As(err, &e) || e.Code != image.NotFound || !strings.Contains(err.Error(), "image build --with-roles") {
		t.Errorf("an image that somebody must bake comes by itself: %v", err)
	}
	grown := filepath.Join(t.TempDir(), "grown.qcow2")
	if out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", "-b", from.Disk, "-F", "qcow2", grown, "128M").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	made, err := s.Adopt(t.Context(), base, b, grown, func(string, int64, int64) {})
	if err != nil {
		t.Fatal(err)
	}
	if made.ID != image.ID(baked) || made.Name != baked.Name || made.Size != 128*lab.MiB {
		t.Errorf("got %+v", made)
	}
	if found, err := s.Ensure(t.Context(), baked, nil); err != nil || found != made {
		t.Errorf("then it is %+v, %v", found, err)
	}
	out, err := exec.Command("qemu-img", "info", made.Disk).Output()
	if err != nil || strings.Contains(string(out), "backing file") {
		t.Errorf("it needs its base: %v\n%s", err, out)
	}
	if err := s.Remove(t.Context(), image.Short(image.ID(base))); err != nil { // its ID begins the other's
		t.Fatal(err)
	}
	if err := s.Verify(t.Context(), made); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(from.Disk); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the base is still there: %v", err)
	}
}

package image_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/lab"
)

// disk is a qcow2 image as a server has it.
func disk(t *testing.T, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("qemu-img is not installed")
	}
	name := filepath.Join(t.TempDir(), "disk")
	if out, err := exec.Command("qemu-img", append(append([]string{"create", "-q", "-f", "qcow2"}, args...), name, "64M")...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func digest(b []byte) string {
	h := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(h[:])
}

func serve(t *testing.T, body []byte, asked *atomic.Int64) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked != nil {
			asked.Add(1)
		}
		time.Sleep(20 * time.Millisecond)
		http.ServeContent(w, r, "disk", time.Unix(1e9, 0), bytes.NewReader(body))
	}))
	t.Cleanup(s.Close)
	return s.URL + "/disk.img"
}

func TestEnsureDownload(t *testing.T) {
	body := disk(t)
	raw := make([]byte, 1<<20)
	raw[510], raw[511] = 0x55, 0xaa
	var gz bytes.Buffer
	w := gzip.NewWriter(&gz)
	_, _ = w.Write(raw)
	w.Close()
	for name, test := range map[string]struct {
		body []byte
		size lab.Bytes
	}{
		"qcow2": {body, 64 * lab.MiB}, "raw": {raw, lab.MiB}, "gzip": {gz.Bytes(), lab.MiB},
		"xz": {filter(t, raw, "xz", "-c"), lab.MiB}, "zstd": {filter(t, raw, "zstd", "-c"), lab.MiB},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int64
			i := lab.Image{Name: "demo", Arch: lab.AMD64, URL: serve(t, test.body, &asked), Digest: digest(test.body), MinDisk: lab.GiB}
			s := image.Store{Dir: filepath.Join(t.TempDir(), "images")}
			if _, ok, err := s.Find(i); ok || err != nil {
				t.Fatalf("found in an empty store: %v", err)
			}
			var phases []string
			l, err := s.Ensure(context.Background(), i, func(phase string, _, _ int64) { phases = append(phases, phase) })
			if err != nil {
				t.Fatal(err)
			}
			if l.ID != i.Digest || l.ID != image.ID(i) || l.Name != "demo" || l.Size != test.size || l.Format != "qcow2" || l.Bytes == 0 {
				t.Errorf("got %+v", l)
			}
			if len(phases) == 0 || phases[0] != "downloading" {
				t.Errorf("progress said %q", phases)
			}
			info, err := os.Stat(l.Disk)
			if err != nil || info.Mode().Perm() != 0o444 {
				t.Errorf("the disk: %v, %v; want it read-only", info.Mode(), err)
			}
			again, err := s.Ensure(context.Background(), i, nil)
			if err != nil || again != l || asked.Load() != 1 {
				t.Errorf("second time: %+v, %v, asked %d times", again, err, asked.Load())
			}
			list, err := s.List()
			if err != nil || len(list) != 1 || list[0] != l {
				t.Errorf("list: %+v, %v", list, err)
			}
			only(t, s.Dir, image.Short(l.ID))
		})
	}
}

func filter(t *testing.T, in []byte, name string, args ...string) []byte {
	cmd := exec.Command(name, args...)
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// only fails if the store has anything but that folder, locks, and parts.
func only(t *testing.T, dir, folder string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != folder && !strings.HasPrefix(e.Name(), ".lock-") {
			t.Errorf("left in the store: %s", e.Name())
		}
	}
}

func TestEnsureRefuses(t *testing.T) {
	good := disk(t)
	base := filepath.Join(t.TempDir(), "base")
	if err := os.WriteFile(base, good, 0o644); err != nil {
		t.Fatal(err)
	}
	overlay := disk(t, "-b", base, "-F", "qcow2")
	page := []byte("<html>come back later</html>")
	missing := httptest.NewServer(http.NotFoundHandler())
	defer missing.Close()
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	for _, test := range []struct {
		name  string
		image lab.Image
		code  image.Code
		text  string
	}{
		{"no digest", lab.Image{URL: "http://x/y"}, image.Invalid, "digest"},
		{"no source", lab.Image{}, image.Invalid, "neither a url nor a build"},
		{"two sources", lab.Image{URL: "http://x/y", Build: &lab.Build{}}, image.Invalid, "both"},
		{"kernel of a download", lab.Image{URL: "http://x/y", Digest: digest(good), Kernel: true}, image.Invalid, "kernel"},
		{"wrong digest", lab.Image{URL: serve(t, good, nil), Digest: digest(page)}, image.Digest, digest(good)},
		{"backing file", lab.Image{URL: serve(t, overlay, nil), Digest: digest(overlay)}, image.Invalid, "backing file"},
		{"no disk", lab.Image{URL: serve(t, page, nil), Digest: digest(page)}, image.Invalid, "no disk image"},
		{"min_disk too small", lab.Image{URL: serve(t, good, nil), Digest: digest(good), MinDisk: lab.MiB}, image.Invalid, "needs a disk of 64MiB"},
		{"404", lab.Image{URL: missing.URL, Digest: digest(good)}, image.Refused, "404"},
		{"unreachable", lab.Image{Name: "debian-12", URL: closed.URL, Digest: digest(good)}, image.Unreachable,
			`build one from packages instead: image: "debian-12-minimal" (labctl image build debian-12-minimal)`},
		{"build of nothing known", lab.Image{Build: &lab.Build{Distribution: "plan9", Release: "4"}, Arch: lab.AMD64}, image.Invalid, "plan9"},
		{"build with odd package", lab.Image{Build: &lab.Build{Distribution: "debian", Release: "bookworm", Packages: []string{"a;rm -rf"}}, Arch: lab.AMD64}, image.Invalid, "a;rm -rf"},
	} {
		t.Run(test.name, func(t *testing.T) {
			i := test.image
			if i.Name == "" {
				i.Name = "demo"
			}
			s := image.Store{Dir: filepath.Join(t.TempDir(), "images")}
			_, err := s.Ensure(context.Background(), i, nil)
			if image.CodeOf(err) != test.code || err == nil || !strings.Contains(err.Error(), test.text) || !strings.Contains(err.Error(), i.Name) {
				t.Fatalf("got %v (%s), want %s about %q and the image's name", err, image.CodeOf(err), test.code, test.text)
			}
			if _, ok, _ := s.Find(i); ok {
				t.Error("and yet it is in the store")
			}
			if work, _ := filepath.Glob(filepath.Join(s.Dir, ".work-*")); len(work) > 0 {
				t.Errorf("left: %s", work)
			}
		})
	}
}

// TestDamaged changes a file in the store behind its back.
func TestDamaged(t *testing.T) {
	body := disk(t)
	i := lab.Image{Name: "demo", Arch: lab.AMD64, URL: serve(t, body, nil), Digest: digest(body)}
	s := image.Store{Dir: t.TempDir()}
	l, err := s.Ensure(context.Background(), i, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(context.Background(), l); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(l.Disk, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(l.Disk, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("x"), 1000); err != nil {
		t.Fatal(err)
	}
	f.Close()
	_, err = s.Ensure(context.Background(), i, nil)
	for _, want := range []string{l.Disk, l.Digest, "labctl image rm " + image.Short(l.ID)} {
		if image.CodeOf(err) != image.Corrupt || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v; want it to say %q", err, want)
		}
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(l.Disk), "image.json"), []byte("{"), 0o644); err == nil {
		if _, err := s.List(); image.CodeOf(err) != image.Corrupt {
			t.Errorf("list of a damaged record: %v", err)
		}
	}
	if err := s.Remove(context.Background(), image.Short(l.ID)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Ensure(context.Background(), i, nil); err != nil {
		t.Errorf("after removal: %v", err)
	}
}

func TestRemove(t *testing.T) {
	body, other := disk(t), disk(t, "-o", "compat=0.10")
	s := image.Store{Dir: t.TempDir()}
	var ids []string
	for _, b := range [][]byte{body, other} {
		l, err := s.Ensure(context.Background(), lab.Image{Name: "demo", Arch: lab.AMD64, URL: serve(t, b, nil), Digest: digest(b)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, l.ID)
	}
	for name, want := range map[string]image.Code{"demo": image.Ambiguous, "nothing": image.NotFound, "": image.NotFound, "..": image.NotFound} {
		if err := s.Remove(context.Background(), name); image.CodeOf(err) != want {
			t.Errorf("remove %q: %v, want %s", name, err, want)
		}
	}
	if err := s.Remove(context.Background(), ids[0]); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(context.Background(), "demo"); err != nil {
		t.Errorf("by name when it is unique: %v", err)
	}
	if list, err := s.List(); len(list) != 0 || err != nil {
		t.Errorf("left: %v, %v", list, err)
	}
}

// TestTogether asks for one image from many processes (Stores share nothing but the folder): one download.
func TestTogether(t *testing.T) {
	body := disk(t)
	var asked atomic.Int64
	i := lab.Image{Name: "demo", Arch: lab.AMD64, URL: serve(t, body, &asked), Digest: digest(body)}
	dir := t.TempDir()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := (image.Store{Dir: dir}).Ensure(context.Background(), i, nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if asked.Load() != 1 {
		t.Errorf("%d downloads", asked.Load())
	}
}

// TestWaits has the lock held by another process that does not give it up.
func TestWaits(t *testing.T) {
	body := disk(t)
	i := lab.Image{Name: "demo", Arch: lab.AMD64, URL: serve(t, body, nil), Digest: digest(body)}
	dir := t.TempDir()
	lock := filepath.Join(dir, ".lock-"+image.Short(image.ID(i)))
	holder := exec.Command("flock", lock, "sleep", "30")
	if err := holder.Start(); err != nil {
		t.Skipf("flock: %v", err)
	}
	defer func() { _ = holder.Process.Kill(); _ = holder.Wait() }()
	for exec.Command("flock", "-n", lock, "true").Run() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	var said string
	_, err := image.Store{Dir: dir}.Ensure(ctx, i, func(phase string, _, _ int64) { said = phase })
	if image.CodeOf(err) != image.Canceled || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(said, "waiting") {
		t.Errorf("got %v, progress %q", err, said)
	}
}

func TestNotWritable(t *testing.T) {
	body := disk(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s := image.Store{Dir: filepath.Join(file, "images")}
	_, err := s.Ensure(context.Background(), lab.Image{Name: "demo", URL: serve(t, body, nil), Digest: digest(body)}, nil)
	if code := image.CodeOf(err); code != image.Denied {
		t.Errorf("got %v (%s)", err, code)
	}
}

// TestMissingTools asks for a build where nothing is installed: one error names everything.
func TestMissingTools(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	var e *image.Error
	_, err := image.Store{Dir: t.TempDir()}.Ensure(context.Background(), build(), nil)
	if !errors.As(err, &e) || e.Code != image.MissingTool {
		t.Fatalf("got %v", err)
	}
	have := fmt.Sprint(e.Tools)
	for _, want := range []string{"{mmdebstrap mmdebstrap}", "{mformat mtools}", "{qemu-img qemu-utils}", "{grub-mkimage grub-common}"} {
		if !strings.Contains(have, want) {
			t.Errorf("%s does not have %s", have, want)
		}
	}
}

func build() lab.Image {
	return lab.Image{Name: "debian-12-minimal", Arch: lab.AMD64, Kernel: true, MinDisk: lab.GiB,
		Build: &lab.Build{Distribution: "debian", Release: "bookworm"}}
}

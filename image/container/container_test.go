package container_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/image/container"
)

// packages is an archive as the installation of packages leaves it.
func packages(t *testing.T) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []tar.Header{
		{Name: "./usr/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./usr/bin/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./usr/bin/tool", Typeflag: tar.TypeReg, Mode: 0o4755, Size: 4},
		{Name: "./usr/bin/other", Typeflag: tar.TypeReg, Mode: 0o755, Size: 4},
		{Name: "./usr/share/doc/x", Typeflag: tar.TypeReg, Mode: 0o644, Size: 4},
		{Name: "./etc/passwd", Typeflag: tar.TypeReg, Mode: 0o644, Size: 4},
		{Name: "./dev/null", Typeflag: tar.TypeChar, Mode: 0o666},
		{Name: "./bin", Typeflag: tar.TypeSymlink, Linkname: "usr/bin"},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			w.Write([]byte("text"))
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// entries are those of an archive by name.
func entries(t *testing.T, r io.Reader) map[string]string {
	out := map[string]string{}
	for in := tar.NewReader(r); ; {
		h, err := in.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		out[h.Name] = h.Linkname + string(text)
	}
}

func TestWrite(t *testing.T) {
	write := func() []byte {
		scratch, err := os.Create(filepath.Join(t.TempDir(), "layer"))
		if err != nil {
			t.Fatal(err)
		}
		defer scratch.Close()
		var out bytes.Buffer
		if err := container.Write(&out, bytes.NewReader(packages(t)), scratch, container.Image{
			Tag: "labctl/x:1", Arch: "amd64", Entrypoint: []string{"/usr/bin/tool"}, Drop: []string{"dev", "usr/share", "usr/bin"}, Keep: []string{"usr/bin/t*"},
			Files: []container.File{{Path: "etc/passwd", Mode: 0o644, Content: []byte("ours")}, {Path: "srv/x/", Mode: 0o755}, {Path: "lib", Link: "usr/lib"}},
		}); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	image := write()
	if !bytes.Equal(image, write()) {
		t.Error("the same input is other bytes")
	}
	parts := entries(t, bytes.NewReader(image))
	var manifest []struct {
		Config           string
		RepoTags, Layers []string
	}
	if err := json.Unmarshal([]byte(parts["manifest.json"]), &manifest); err != nil || len(manifest) != 1 || manifest[0].RepoTags[0] != "labctl/x:1" {
		t.Fatalf("%v: %s", err, parts["manifest.json"])
	}
	var config struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal([]byte(parts[manifest[0].Config]), &config); err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader([]byte(parts[manifest[0].Layers[0]])))
	if err != nil {
		t.Fatal(err)
	}
	layer, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(layer); config.RootFS.DiffIDs[0] != "sha256:"+hex.EncodeToString(sum[:]) {
		t.Errorf("the layer is not what the configuration says: %s", config.RootFS.DiffIDs)
	}
	want := map[string]string{"bin": "usr/bin", "etc/": "", "etc/passwd": "ours", "lib": "usr/lib", "srv/": "", "srv/x/": "", "usr/": "", "usr/bin/tool": "text"}
	if diff := cmp.Diff(want, entries(t, bytes.NewReader(layer))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

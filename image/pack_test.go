package image

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/labctl-dev/labctl/install/serve"
	"github.com/labctl-dev/labctl/lab"
)

// TestPack packs a disk, and packs it anew when what is there is damaged.
func TestPack(t *testing.T) {
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("qemu-img is not installed")
	}
	s := Store{Dir: t.TempDir()}
	dir := filepath.Join(s.Dir, "0123456789abcdef")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	raw := make([]byte, 1<<20)
	copy(raw[4096:], "a disk")
	if err := os.WriteFile(filepath.Join(dir, "raw"), raw, 0o644); err != nil {
		t.Fatal(err)
	}
	l := Local{ID: "sha256:0123456789abcdef", Name: "small", Disk: filepath.Join(dir, diskFile), Format: "qcow2"}
	if out, err := exec.Command("qemu-img", "convert", "-f", "raw", "-O", "qcow2", filepath.Join(dir, "raw"), l.Disk).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var said []string
	pack := func() string {
		t.Helper()
		said = nil
		at, err := s.Pack(t.Context(), l, func(phase string, _, _ int64) { said = append(said, phase) })
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	at := pack()
	z, err := os.ReadFile(filepath.Join(at, packDisk))
	if err != nil {
		t.Fatal(err)
	}
	d, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if got, err := d.DecodeAll(z, nil); err != nil || !bytes.Equal(got, raw) {
		t.Errorf("unpacked it is another disk: %v", err)
	}
	var r serve.Image
	if b, err := os.ReadFile(filepath.Join(at, packRecord)); err != nil || json.Unmarshal(b, &r) != nil || r.Size != int64(len(raw)) || r.Length != int64(len(z)) {
		t.Errorf("the record is %+v, %v", r, err)
	}
	if pack(); strings.Contains(strings.Join(said, " "), "compressing") {
		t.Errorf("it is packed again: %v", said)
	}
	broken := filepath.Join(at, packDisk)
	if err := os.Chmod(broken, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(broken, make([]byte, len(z)), 0o644); err != nil {
		t.Fatal(err)
	}
	pack()
	if got, err := os.ReadFile(broken); err != nil || !bytes.Equal(got, z) {
		t.Errorf("a damaged one was left: %v", err)
	}
}

func TestFindInstaller(t *testing.T) {
	t.Setenv("PATH", "")
	program := func(machine uint16, interpreter bool) []byte {
		b := make([]byte, 64+56)
		copy(b, "\x7fELF\x02\x01\x01")
		le := binary.LittleEndian
		le.PutUint16(b[16:], 2) // ET_EXEC
		le.PutUint16(b[18:], machine)
		le.PutUint32(b[20:], 1)
		le.PutUint64(b[32:], 64) // where program headers are
		le.PutUint16(b[52:], 64)
		le.PutUint16(b[54:], 56)
		if le.PutUint16(b[56:], 1); interpreter {
			le.PutUint32(b[64:], 3) // PT_INTERP
		}
		return b
	}
	const amd64, arm64 = 62, 183
	for _, c := range []struct {
		name  string
		files map[string][]byte
		want  string // file, or what the error says
	}{
		{"by architecture", map[string][]byte{"labctl-install-linux-amd64": program(amd64, false), "labctl-install": program(amd64, false)}, "labctl-install-linux-amd64"},
		{"plain", map[string][]byte{"labctl-install": program(amd64, false), "labctl-install-linux-arm64": program(arm64, false)}, "labctl-install"},
		{"none", nil, "there is no labctl-install-linux-amd64 beside"},
		{"another architecture's", map[string][]byte{"labctl-install": program(arm64, false)}, "labctl-install is for another architecture than amd64"},
		{"not static", map[string][]byte{"labctl-install": program(amd64, true)}, "labctl-install is not static"},
		{"no program", map[string][]byte{"labctl-install": []byte("#!/bin/sh\n")}, "labctl-install is no program of Linux"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, b := range c.files {
				if err := os.WriteFile(filepath.Join(dir, name), b, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			path, err := FindInstaller(lab.AMD64, []string{filepath.Join(dir, "nowhere"), dir})
			if got := fmt.Sprint(strings.TrimPrefix(path, dir+"/"), err); !strings.Contains(got, c.want) || err != nil && path != "" {
				t.Errorf("found %q, %v; want %q", path, err, c.want)
			}
		})
	}
}

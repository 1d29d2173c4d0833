package format_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/labctl-dev/labctl/image/format"
	"github.com/labctl-dev/labctl/lab"
)

// header is that of a qcow2 image, with one field changed.
func header(at int, value uint64) []byte {
	b := make([]byte, 512)
	copy(b, "QFI\xfb")
	binary.BigEndian.PutUint32(b[4:], 3)
	binary.BigEndian.PutUint64(b[24:], 1<<30)
	if at > 0 {
		binary.BigEndian.PutUint64(b[at:], value)
	}
	return b
}

func disk() []byte {
	b := make([]byte, 4096)
	b[510], b[511] = 0x55, 0xaa
	return b
}

func TestDetect(t *testing.T) {
	iso := make([]byte, 64<<10)
	copy(iso[0x8001:], "CD001")
	for _, test := range []struct {
		name string
		b    []byte
		kind format.Kind
		size lab.Bytes
		err  string
	}{
		{"qcow2", header(0, 0), format.Qcow2, 1 << 30, ""},
		{"raw", disk(), format.Raw, 4096, ""},
		{"gzip", []byte("\x1f\x8b\x08rest"), format.Gzip, 0, ""},
		{"xz", []byte("\xfd7zXZ\x00rest"), format.Xz, 0, ""},
		{"zstd", []byte("\x28\xb5\x2f\xfdrest"), format.Zstd, 0, ""},
		{"backing file", header(8, 104), "", 0, "backing file"},
		{"external data file", header(72, 4), "", 0, "external data file"},
		{"corrupt bit", header(72, 2), "", 0, "marked as corrupt"},
		{"no size", header(24, 0), "", 0, "0 bytes"},
		{"version 9", header(4, 9<<32), "", 0, "version 9"},
		{"half a header", header(0, 0)[:50], "", 0, "whole header"},
		{"vmdk", []byte("KDMV and more"), "", 0, "VMDK"},
		{"installer", iso, "", 0, "installer"},
		{"web page", []byte("<html>"), "", 0, "no disk image"},
		{"nothing", nil, "", 0, "no disk image"},
	} {
		info, err := format.Detect(bytes.NewReader(test.b), int64(len(test.b)))
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%s: got error %v, want one about %q", test.name, err, test.err)
			}
			continue
		}
		if err != nil || info.Kind != test.kind || info.Size != test.size {
			t.Errorf("%s: got %+v, %v", test.name, info, err)
		}
	}
}

// TestReal looks at what qemu-img makes.
func TestReal(t *testing.T) {
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("qemu-img is not installed")
	}
	dir := t.TempDir()
	make := func(name string, args ...string) (format.Info, error) {
		file := filepath.Join(dir, name)
		out, err := exec.Command("qemu-img", append(append([]string{"create", "-q", "-f", "qcow2"}, args...), file, "3M")...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		return format.Detect(f, 0)
	}
	if i, err := make("base"); err != nil || i.Size != 3*lab.MiB {
		t.Errorf("plain: %+v, %v", i, err)
	}
	if _, err := make("overlay", "-b", filepath.Join(dir, "base"), "-F", "qcow2"); err == nil || !strings.Contains(err.Error(), "backing") {
		t.Errorf("overlay: %v", err)
	}
	if _, err := make("data", "-o", "data_file="+filepath.Join(dir, "raw")); err == nil || !strings.Contains(err.Error(), "external") {
		t.Errorf("data file: %v", err)
	}
}

package initrd_test

import (
	"bytes"
	"compress/gzip"
	"os/exec"
	"strings"
	"testing"

	"github.com/labctl-dev/labctl/image/initrd"
)

// TestWrite lets cpio itself read the archive.
func TestWrite(t *testing.T) {
	files := []initrd.File{
		{Path: "/lib/modules/b.ko", Mode: 0o644, Content: []byte("odd")},
		{Path: "/init", Mode: 0o755, Content: []byte("program!")},
		{Path: "/lib/modules/a.ko", Mode: 0o600},
	}
	var x, y bytes.Buffer
	if err := initrd.Write(&x, files); err != nil {
		t.Fatal(err)
	}
	files[0], files[1] = files[1], files[0]
	if err := initrd.Write(&y, files); err != nil || !bytes.Equal(x.Bytes(), y.Bytes()) {
		t.Errorf("another order makes other bytes (error %v)", err)
	}
	z, err := gzip.NewReader(&x)
	if err != nil {
		t.Fatal(err)
	}
	cpio := exec.Command("cpio", "-itv", "--quiet")
	cpio.Stdin = z
	cpio.Env = []string{"TZ=UTC", "LC_ALL=C", "PATH=/usr/bin:/bin"}
	out, err := cpio.CombinedOutput()
	if err != nil {
		t.Fatalf("cpio: %v\n%s", err, out)
	}
	var got []string
	for line := range strings.Lines(string(out)) {
		w := strings.Fields(line)
		got = append(got, w[0]+" "+w[4]+" "+w[8])
	}
	want := "-rwxr-xr-x 8 init, drwxr-xr-x 0 lib, drwxr-xr-x 0 lib/modules, -rw------- 0 lib/modules/a.ko, -rw-r--r-- 3 lib/modules/b.ko"
	if s := strings.Join(got, ", "); s != want {
		t.Errorf("the archive has\n%s\nwant\n%s", s, want)
	}
}

func TestWriteRefuses(t *testing.T) {
	for _, p := range []string{"init", "/a/../b", "/a/"} {
		if err := initrd.Write(&bytes.Buffer{}, []initrd.File{{Path: p}}); err == nil {
			t.Errorf("%q is taken", p)
		}
	}
}

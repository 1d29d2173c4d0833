package seediso_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kdomanski/iso9660"

	"github.com/labctl-dev/labctl/guest/seediso"
	"github.com/labctl-dev/labctl/lab"
)

func seed() lab.Seed {
	return lab.Seed{
		Machine: "web", UserData: []byte("#cloud-config\n" + strings.Repeat("x", 5000)), MetaData: []byte("{}\n"),
		NetworkConfig: []byte("{\"version\": 2}\n"),
	}
}

func TestSameBytesEachTime(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var a, b bytes.Buffer
	if err := seediso.Write(&a, seed()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond) // the library's clock has hundredths of a second
	if err := seediso.Write(&b, seed()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("two images of one seed differ")
	}
	if bytes.Contains(a.Bytes(), []byte(time.Now().Format("2006010"))) {
		t.Error("today's date is in the image")
	}
	if left, _ := filepath.Glob(os.Getenv("TMPDIR") + "/*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestNamesAndContent(t *testing.T) {
	var image bytes.Buffer
	if err := seediso.Write(&image, seed()); err != nil {
		t.Fatal(err)
	}
	i, err := iso9660.OpenImage(bytes.NewReader(image.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if label, err := i.Label(); err != nil || label != seediso.Label {
		t.Errorf("label %q, %v", label, err)
	}
	root, err := i.RootDir()
	if err != nil {
		t.Fatal(err)
	}
	files, err := root.GetChildren()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"user-data": string(seed().UserData), "meta-data": string(seed().MetaData), "network-config": string(seed().NetworkConfig)}
	for _, f := range files {
		text, _ := io.ReadAll(f.Reader())
		if want[f.Name()] != string(text) {
			t.Errorf("%s holds %d bytes", f.Name(), len(text))
		}
		delete(want, f.Name())
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}

// TestIsoinfo asks a reader that is not the writer's own library.
func TestIsoinfo(t *testing.T) {
	path, err := exec.LookPath("isoinfo")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	file := filepath.Join(t.TempDir(), "seed.iso")
	var image bytes.Buffer
	if err := seediso.Write(&image, seed()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, image.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for flag, wanted := range map[string][]string{"-d": {"Volume id: CIDATA"}, "-l": {"user-data;1", "meta-data;1", "network-config;1"}} {
		out, err := exec.Command(path, "-i", file, flag).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, w := range wanted {
			if !strings.Contains(string(out), w) {
				t.Errorf("%q is not in\n%s", w, out)
			}
		}
	}
}

func TestNoSpace(t *testing.T) {
	err := seediso.Write(broken{}, seed())
	if !errors.Is(err, errFull) || !strings.Contains(err.Error(), "web") {
		t.Error(err)
	}
}

type broken struct{}

var errFull = errors.New("no space left on device")

func (broken) Write([]byte) (int, error) { return 0, errFull }

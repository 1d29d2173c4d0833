package serve_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/labctl-dev/labctl/guest/seediso"
	"github.com/labctl-dev/labctl/install/serve"
	"github.com/labctl-dev/labctl/lab"
)

var (
	debian = &lab.Installer{Name: "debian", Answers: lab.Preseed, Release: "bookworm", Mirror: "http://deb.debian.org/debian", Packages: []string{"htop"},
		Kernel: lab.Part{Package: "d-i", Path: "/linux"}, Initrd: lab.Part{Package: "d-i", Path: "/initrd.gz"}}
	ubuntu = &lab.Installer{Name: "ubuntu", Answers: lab.Autoinstall, Release: "noble", Mirror: "http://archive.ubuntu.com/ubuntu",
		Kernel: lab.Part{URL: "file:///vmlinuz", SHA256: strings.Repeat("a", 64)}, Initrd: lab.Part{URL: "file:///initrd", SHA256: strings.Repeat("b", 64)},
		Medium: lab.Part{URL: "file:///ubuntu.iso", SHA256: strings.Repeat("c", 64)}}
)

// distros serves a machine of each installer and firmware: 0a is debian by BIOS, 0b by UEFI, 0c ubuntu by BIOS, 0d by UEFI.
func distros(t *testing.T) (*serve.Server, *httptest.Server) {
	t.Helper()
	s, h, dir := started(t)
	all := []serve.Target{
		{MAC: "52:54:00:00:00:0a", Machine: "web", Arch: "amd64", Serial: "root", Installer: debian},
		{MAC: "52:54:00:00:00:0b", Machine: "db", Arch: "amd64", UEFI: true, Installer: debian},
		{MAC: "52:54:00:00:00:0c", Machine: "web", Arch: "amd64", Serial: "root", Installer: ubuntu},
		{MAC: "52:54:00:00:00:0d", Machine: "db", Arch: "arm64", UEFI: true, Installer: ubuntu},
		{MAC: mac, Machine: "web", Arch: "amd64", Image: "one"},
	}
	s.Set(all)
	for _, x := range all[:4] {
		boot := filepath.Join(dir, "boot", x.Folder())
		if err := os.MkdirAll(boot, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"cmdline": "console=ttyS0\n", "kernel": x.Folder(), "medium": "ISO"} {
			if err := os.WriteFile(filepath.Join(boot, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	var iso bytes.Buffer
	if err := seediso.Write(&iso, lab.Seed{Machine: "web", UserData: []byte("#cloud-config\n"), MetaData: []byte("{}\n"), NetworkConfig: []byte("version: 2\n")}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "seeds/web"), iso.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return s, h
}

// TestDistros: what distributions' installers are told. The scripts are read by a shell, the answers by debconf where there is
// one.
func TestDistros(t *testing.T) {
	_, h := distros(t)
	for _, c := range []struct {
		golden, path string
		check        []string
	}{
		{"debian.ipxe", "/boot/52:54:00:00:00:0a.ipxe", nil},
		{"debian-bios.cfg", "/target/52:54:00:00:00:0a/preseed.cfg", []string{"debconf-set-selections", "-c"}},
		{"debian-uefi.cfg", "/target/52:54:00:00:00:0b/preseed.cfg", []string{"debconf-set-selections", "-c"}},
		{"debian-bios.sh", "/target/52:54:00:00:00:0a/script", []string{"sh", "-n"}},
		{"ubuntu.ipxe", "/boot/52:54:00:00:00:0c.ipxe", nil},
		{"ubuntu-bios.yaml", "/target/52:54:00:00:00:0c/user-data", nil},
		{"ubuntu-uefi.yaml", "/target/52:54:00:00:00:0d/user-data", nil},
		{"ubuntu-uefi.sh", "/target/52:54:00:00:00:0d/script", []string{"sh", "-n"}},
		{"meta-data", "/target/52:54:00:00:00:0d/meta-data", nil},
	} {
		t.Run(c.golden, func(t *testing.T) {
			code, got := get(t, h.URL+c.path, "Host", "10.0.0.254")
			if code != http.StatusOK {
				t.Fatalf("%d %s", code, got)
			}
			golden(t, c.golden, got)
			if c.check == nil {
				return
			}
			if _, err := exec.LookPath(c.check[0]); err != nil {
				return // no Debian
			}
			cmd := exec.Command(c.check[0], append(c.check[1:], filepath.Join("testdata", c.golden))...)
			if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("%v: %v\n%s", cmd, err, out)
			}
		})
	}
}

func TestDistroFiles(t *testing.T) {
	_, h := distros(t)
	for _, c := range []struct {
		path  string
		code  int
		wants string
	}{
		{"/target/52:54:00:00:00:0a/seed/user-data", 200, "#cloud-config\n"},
		{"/target/52:54:00:00:00:0a/seed/meta-data", 200, "{}\n"},
		{"/target/52:54:00:00:00:0a/seed/network-config", 200, "version: 2\n"},
		{"/target/52:54:00:00:00:0a/seed/other", 404, "seeds/web: the seed image has no file other\n"},
		{"/target/52:54:00:00:00:0b/seed/user-data", 503, "seeds/db is not here yet\n"},
		{"/target/52:54:00:00:00:0a/user-data", 404, "404 page not found\n"}, // of another language
		{"/target/52:54:00:00:00:0c/preseed.cfg", 404, "404 page not found\n"},
		{"/target/" + mac + "/preseed.cfg", 404, "404 page not found\n"}, // of labctl's installer
		{"/target/" + mac + "/script", 404, "404 page not found\n"},
		{"/target/52:54:00:00:00:99/script", 404, "no machine is installed here that has MAC 52:54:00:00:00:99\n"},
		{"/target/52:54:00:00:00:0c/vendor-data", 200, ""},
		{"/kernel/" + debian.Folder("amd64"), 200, debian.Folder("amd64")},
		{"/medium/" + ubuntu.Folder("amd64") + ".iso", 200, "ISO"},
		{"/medium/amd64.iso", 503, "boot/amd64/medium is not here yet\n"},
	} {
		if code, got := get(t, h.URL+c.path); code != c.code || got != c.wants {
			t.Errorf("%s: %d %q, not %d %q", c.path, code, got, c.code, c.wants)
		}
	}
}

// TestNoShell: a distribution's installer would install, shell or not.
func TestNoShell(t *testing.T) {
	s := serve.New(t.TempDir(), filepath.Join(t.TempDir(), "reports.json"))
	s.Set([]serve.Target{{MAC: "52:54:00:00:00:0a", Machine: "web", Arch: "amd64", Serial: "root", Installer: debian}})
	if err := s.Shell("52:54:00:00:00:0a"); err == nil || !strings.Contains(err.Error(), "has no shell") {
		t.Errorf("%v", err)
	}
}

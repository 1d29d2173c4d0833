package converge_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// signer is an OpenPGP key of a vendor.
type signer struct {
	t           *testing.T
	home        string
	fingerprint string
}

func newSigner(t *testing.T, name string) *signer {
	t.Helper()
	s := &signer{t: t, home: t.TempDir()}
	os.Chmod(s.home, 0o700)
	t.Cleanup(func() { exec.Command("gpgconf", "--homedir", s.home, "--kill", "all").Run() })
	s.gpg(nil, "--quick-gen-key", name+" <"+name+"@example.org>", "ed25519", "sign", "never")
	for _, line := range strings.Split(string(s.gpg(nil, "--with-colons", "--list-keys")), "\n") {
		if f := strings.Split(line, ":"); f[0] == "fpr" && s.fingerprint == "" {
			s.fingerprint = f[9]
		}
	}
	return s
}

func (s *signer) gpg(in []byte, args ...string) []byte {
	s.t.Helper()
	cmd := exec.Command("gpg", append([]string{"--homedir", s.home, "--batch", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback"}, args...)...)
	var errs bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), &errs
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("gpg %v: %v: %s", args, err, errs.String())
	}
	return out
}

// vendor is a repository of one package, signed, on loopback.
type vendor struct {
	url   string
	mu    sync.Mutex
	files map[string][]byte
	asked []string
}

func (v *vendor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked = append(v.asked, r.URL.Path)
	text, ok := v.files[path.Clean(r.URL.Path)]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Write(text)
}

func (v *vendor) put(at string, text []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.files[at] = text
}

// requests are those since the last time.
func (v *vendor) requests() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := strings.Join(v.asked, " ")
	v.asked = nil
	return all
}

// publish writes a repository with a package of a version, below /debian with suites and below /flat without.
func publish(t *testing.T, s *signer, name string) *vendor {
	t.Helper()
	v := &vendor{files: map[string][]byte{}}
	server := httptest.NewServer(v)
	t.Cleanup(server.Close)
	v.url = server.URL
	dir := filepath.Join(t.TempDir(), "pkg")
	control := "Package: " + name + "\nVersion: 1.0\nArchitecture: all\nMaintainer: V <v@example.org>\nDescription: a test\n"
	for file, text := range map[string]string{"DEBIAN/control": control, "usr/share/" + name + "/hello": "hello\n"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("dpkg-deb", "--build", "--root-owner-group", dir, dir+".deb").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	deb, err := os.ReadFile(dir + ".deb")
	if err != nil {
		t.Fatal(err)
	}
	v.put("/debian/pool/p.deb", deb)
	v.put("/flat/pool/p.deb", deb)
	packages := fmt.Appendf(nil, "%sFilename: pool/p.deb\nSize: %d\nSHA256: %x\n", control, len(deb), sha256.Sum256(deb))
	v.put("/debian/dists/stable/main/binary-amd64/Packages", packages)
	v.put("/flat/Packages", packages)
	release := func(at, index, more string) {
		text := fmt.Sprintf("Origin: test\nDate: Sun, 01 Jan 2023 00:00:00 UTC\n%sSHA256:\n %x %d %s\n", more, sha256.Sum256(packages), len(packages), index)
		v.put(at+"/InRelease", s.gpg([]byte(text), "--clearsign"))
	}
	release("/debian/dists/stable", "main/binary-amd64/Packages", "Suite: stable\nCodename: stable\nArchitectures: amd64\nComponents: main\n")
	release("/flat", "Packages", "")
	v.put("/key.asc", s.gpg(nil, "--armor", "--export"))
	v.put("/key.gpg", s.gpg(nil, "--export"))
	return v
}

func suites(v *vendor, key object) object {
	return object{"name": "vendor", "url": v.url + "/debian", "suites": []string{"stable"}, "components": []string{"main"}, "arches": []string{"amd64"}, "key": key}
}

func TestSources(t *testing.T) {
	t.Parallel()
	r := newReal(t).settled()
	trusted, other := newSigner(t, "trusted"), newSigner(t, "other")
	v := publish(t, trusted, "labctl-hello")
	document := func(key object, packages ...string) {
		r.m.document(object{"sources": []object{suites(v, key)}, "packages": append([]string{}, packages...)})
	}

	// A key that is not the one: refused before apt hears of it, and nothing is installed.
	document(object{"url": v.url + "/key.gpg", "fingerprint": other.fingerprint}, "labctl-hello")
	r.want(nil, 1, "FAILED source vendor: its key is not the one that is trusted: "+trusted.fingerprint+", not "+other.fingerprint,
		"FAILED package labctl-hello: apt knows no such package")
	if r.m.exists("etc/apt/sources.list.d/vendor.sources") || r.m.exists("etc/apt/keyrings/vendor.gpg") {
		t.Error("a source whose key is refused is there")
	}
	v.put("/page.html", []byte("<html>not found</html>"))
	document(object{"url": v.url + "/page.html", "fingerprint": trusted.fingerprint})
	r.want(nil, 1, "FAILED source vendor: what came is neither an armored OpenPGP key nor a binary one")

	// The right one, binary: read once, and nothing more is asked for.
	document(object{"url": v.url + "/key.gpg", "fingerprint": trusted.fingerprint}, "labctl-hello")
	r.want([]string{"--check"}, 2, "source vendor: is missing", "packages: labctl-hello is not installed")
	r.want(nil, 0, "source vendor: is missing", "packages: labctl-hello installed")
	if got := r.sh("cat /usr/share/labctl-hello/hello; dpkg-query -W labctl-hello"); got != "hello\nlabctl-hello\t1.0\n" {
		t.Errorf("installed: %q", got)
	}
	v.requests()
	r.want(nil, 0)
	r.want([]string{"--check"}, 0)
	if got := v.requests(); got != "" {
		t.Errorf("asked for %s although nothing has changed", got)
	}
	const source = "etc/apt/sources.list.d/vendor.sources"
	if got := r.m.read(source); !strings.Contains(got, "Signed-By: /etc/apt/keyrings/vendor.gpg\n") || !strings.Contains(got, "Suites: stable\n") {
		t.Error(got)
	}

	// What hands did is seen, and mended.
	r.m.write("etc/apt/keyrings/vendor.gpg", string(other.gpg(nil, "--export")))
	r.want([]string{"--check"}, 2, "source vendor: key")
	r.want(nil, 0, "source vendor: key")
	r.m.write(source, "# off\n")
	r.want(nil, 0, "source vendor: content")
	r.want([]string{"--check"}, 0)

	// Of several keys, only the one that is named is trusted; armored, and in the document itself.
	both := string(other.gpg(trusted.gpg(nil, "--export"), "--import")) + string(other.gpg(nil, "--armor", "--export"))
	document(object{"text": both, "fingerprint": trusted.fingerprint})
	r.want(nil, 0, "source vendor: key")
	if got := r.sh("gpg --homedir /tmp --with-colons --show-keys /etc/apt/keyrings/vendor.gpg 2>/dev/null | grep -c ^pub"); got != "1\n" {
		t.Errorf("%s keys are trusted", got)
	}

	// A repository that somebody else has signed.
	v.put("/debian/dists/stable/InRelease", other.gpg(releaseOf(trusted, v), "--local-user", other.fingerprint, "--clearsign"))
	r.m.write(source, "# off\n")
	got := r.want(nil, 1, "FAILED source vendor: apt cannot read it: exit status 100")
	if !strings.Contains(got.Errors[0].Output, "NO_PUBKEY") {
		t.Errorf("apt's words: %s", got.Errors[0].Output)
	}
	r.want([]string{"--check"}, 2, "source vendor: its packages are not known yet")

	// It goes as it came.
	r.m.document(object{})
	r.want([]string{"--check"}, 2, "source vendor: no longer in the lab")
	r.want(nil, 0, "source vendor: removed")
	if r.m.exists(source) || r.m.exists("etc/apt/keyrings/vendor.gpg") {
		t.Error("a source that was removed is there")
	}
	r.want(nil, 0)
}

// releaseOf is the text of the repository's release, without its signature.
func releaseOf(s *signer, v *vendor) []byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	return s.gpg(v.files["/debian/dists/stable/InRelease"], "--decrypt")
}

// A repository without suites; and one of the name of a file that the image has, which comes back.
func TestFlatSourceInPlaceOfTheImages(t *testing.T) {
	t.Parallel()
	r := newReal(t).settled()
	s := newSigner(t, "flat")
	v := publish(t, s, "labctl-flat")
	r.m.write("etc/apt/sources.list.d/debian.sources", "Types: deb\nURIs: http://127.0.0.1:1/debian\nSuites: bookworm\nComponents: main\n")
	r.m.document(object{"packages": []string{"labctl-flat"}, "sources": []object{{"name": "debian", "url": v.url + "/flat", "suites": []string{"./"},
		"arches": []string{"amd64"}, "key": object{"url": v.url + "/key.asc", "fingerprint": s.fingerprint}}}})
	r.want(nil, 0, "source debian: content", "packages: labctl-flat installed")
	r.want(nil, 0)
	r.m.document(object{})
	r.want(nil, 0, "source debian: removed")
	if got := r.m.read("etc/apt/sources.list.d/debian.sources"); !strings.Contains(got, "bookworm") {
		t.Errorf("the image's own did not come back: %s", got)
	}
	r.want([]string{"--check"}, 0)
}

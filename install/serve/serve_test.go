package serve_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/labctl-dev/labctl/install"
	"github.com/labctl-dev/labctl/install/serve"
	"github.com/labctl-dev/labctl/internal/goldentest"
)

const (
	mac     = "52:54:00:00:00:01"
	other   = "52:54:00:00:00:02"
	content = "not really a disk"
)

// folder has all that a machine may ask for.
func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	sum := sha256.Sum256([]byte(content))
	record, err := json.Marshal(serve.Image{SHA256: hex.EncodeToString(sum[:]), Length: int64(len(content)), Size: 1 << 30, Format: install.Zstd})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"boot/amd64/kernel": "KERNEL", "boot/amd64/initrd": "INITRD", "boot/arm64/ipxe.efi": "IPXE", "boot/amd64/cmdline": "console=ttyS0 quiet\n",
		"images/one/disk.zst": content, "images/one/image.json": string(record), "seeds/web": "SEED", "secret": "SECRET",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func started(t *testing.T) (*serve.Server, *httptest.Server, string) {
	t.Helper()
	dir := folder(t)
	s := serve.New(dir, filepath.Join(dir, "reports.json"))
	s.Set([]serve.Target{
		{MAC: mac, Machine: "web", Arch: "amd64", Image: "one", Serial: "root"},
		{MAC: other, Machine: "db", Arch: "arm64", Image: "two"},
	})
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	return s, h, dir
}

func get(t *testing.T, url string, head ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(head); i += 2 {
		req.Header.Set(head[i], head[i+1])
		if head[i] == "Host" {
			req.Host = head[i+1]
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestScripts(t *testing.T) {
	s, h, _ := started(t)
	if err := s.Shell(mac); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, path, host string }{
		{"anyone", "/boot.ipxe", "10.0.0.254"},
		{"unknown", "/boot/52:54:00:00:00:99.ipxe", "10.0.0.254"},
		{"shell", "/boot/" + mac + ".ipxe", "10.0.0.254"},                        // once
		{"target", "/boot/" + strings.ToUpper(mac) + ".ipxe", "10.0.0.254:8080"}, // from then on
		{"ipv6", "/boot/" + mac + ".ipxe", "[fd00::1]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, got := get(t, h.URL+c.path, "Host", c.host)
			if code != http.StatusOK {
				t.Fatalf("%d %s", code, got)
			}
			golden(t, c.name+".ipxe", got)
		})
	}
	// An installer knows no names: whoever came by one is told the address.
	if _, got := get(t, h.URL+"/boot/"+mac+".ipxe", "Host", "provisioner.lab"); !strings.Contains(got, "kernel "+h.URL+"/kernel/amd64 ") {
		t.Errorf("by name:\n%s", got)
	}
}

func TestFiles(t *testing.T) {
	_, h, _ := started(t)
	for _, c := range []struct {
		path  string
		head  []string
		code  int
		wants string
	}{
		{"/kernel/amd64", nil, 200, "KERNEL"},
		{"/initrd/amd64", nil, 200, "INITRD"},
		{"/target/" + mac + "/seed", nil, 200, "SEED"},
		{"/image/one", nil, 200, content},
		{"/image/one", []string{"Range", "bytes=4-"}, 206, content[4:]},
		{"/image/one", []string{"Range", "bytes=99-"}, 416, "invalid range: failed to overlap\n"},
		{"/image/two", nil, 503, "images/two/disk.zst is not here yet\n"},
		{"/kernel/arm64", nil, 503, "boot/arm64/kernel is not here yet\n"},
		{"/image/..%2f..%2fsecret", nil, 503, "images/../../secret/disk.zst is not here yet\n"},
		{"/kernel/%2e%2e", nil, 503, ""},
		{"/boot/" + other + ".ipxe", nil, 503, "boot/arm64/cmdline is not here yet\n"},
		{"/target/" + other + "/order", nil, 503, "images/two/image.json is not here yet\n"},
		{"/target/52:54:00:00:00:99/order", nil, 404, "no machine is installed here that has MAC 52:54:00:00:00:99\n"},
		{"/target/52:54:00:00:00:99/seed", nil, 404, "no machine is installed here that has MAC 52:54:00:00:00:99\n"},
		{"/ipxe/arm64.efi", nil, 200, "IPXE"},
		{"/boot/nothing", nil, 404, "404 page not found\n"},
		{"/secret", nil, 404, "404 page not found\n"},
	} {
		code, got := get(t, h.URL+c.path, c.head...)
		if code != c.code || c.wants != "" && got != c.wants || strings.Contains(got, "SECRET") {
			t.Errorf("%s %v: %d %q, not %d %q", c.path, c.head, code, got, c.code, c.wants)
		}
	}
}

// TestInstall has a real installer take its order from here, and asks how far it is.
func TestInstall(t *testing.T) {
	s, h, dir := started(t)
	var console bytes.Buffer
	// Without a disk of that serial it ends in the phase that looks for it: order and reports have passed by then.
	in := install.Installer{Connect: func(context.Context) error { return nil }, Server: h.URL + "/target/" + mac, Console: &console, Sys: t.TempDir(), Dev: t.TempDir(), Settle: time.Millisecond}
	if err := os.Mkdir(filepath.Join(in.Sys, "block"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Run(t.Context()); err == nil {
		t.Fatal("a machine without a disk was installed")
	}
	want := []serve.Status{{MAC: mac, Report: install.Report{Machine: "web", Phase: install.Choose, Number: 3, Of: 7, Error: "the machine has no disk", Log: nil}}}
	ignore := cmpopts.IgnoreFields(serve.Status{}, "When")
	if diff := cmp.Diff(want, s.Status(), ignore); diff != "" {
		t.Errorf("%s\n%s", diff, &console)
	}
	// Over HTTP, and from a server that comes after this one, it is the same.
	code, text := get(t, h.URL+"/status")
	var got []serve.Status
	if err := json.Unmarshal([]byte(text), &got); err != nil || code != 200 {
		t.Fatalf("%d %q %v", code, text, err)
	}
	if diff := cmp.Diff(want, got, ignore); diff != "" {
		t.Error(diff)
	}
	next := serve.New(dir, filepath.Join(dir, "reports.json"))
	if diff := cmp.Diff(want, next.Status(), ignore); diff != "" {
		t.Error(diff)
	}
	next.Set([]serve.Target{{MAC: mac, Machine: "web", Arch: "amd64", Image: "one"}})
	if len(next.Status()) != 1 {
		t.Error("who is told its targets forgets what they reported")
	}
	next.Set(nil)
	if got := next.Status(); len(got) != 0 {
		t.Errorf("it tells of machines that it does not install: %v", got)
	}
}

// TestStarts is what is known of a machine that asks what to boot: before its installer says anything, after one that ended
// without a word, and with a shell, which is nothing that installs and is not forgotten by a server that comes after this one.
func TestStarts(t *testing.T) {
	s, h, dir := started(t)
	boot := func() string {
		t.Helper()
		_, text := get(t, h.URL+"/boot/"+mac+".ipxe", "Host", "10.0.0.254")
		return text
	}
	is := func(want install.Report) {
		t.Helper()
		all := s.Status()
		if len(all) != 1 || !cmp.Equal(all[0].Report, want) {
			t.Errorf("it knows %+v, not %+v", all, want)
		}
	}
	report := func(text string) {
		t.Helper()
		resp, err := http.Post(h.URL+"/target/"+mac+"/report", "application/json", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	waits := install.Report{Machine: "web", Phase: install.Boot, Of: 7}
	boot()
	is(waits)
	report(`{"phase":"write","number":4,"of":7,"percent":61}`)
	before := s.Status()[0].When
	boot()
	crashed := install.Report{Machine: "web", Phase: install.Write, Number: 4, Of: 7, Percent: 61, Error: "its installer has ended without a word, and the machine starts from the network again: the console may show why"}
	is(crashed)
	if now := s.Status()[0].When; !now.Equal(before) {
		t.Errorf("it heard that at %s, not %s", now, before)
	}
	boot() // who failed begins anew
	is(waits)
	boot()
	waits.Error = crashed.Error
	is(waits)
	report(`{"phase":"finish","number":7,"of":7,"percent":100,"done":true}`)
	done := install.Report{Machine: "web", Phase: install.Finish, Number: 7, Of: 7, Percent: 100, Done: true}

	if err := s.Shell(mac); err != nil {
		t.Fatal(err)
	}
	next := serve.New(dir, filepath.Join(dir, "reports.json"))
	next.Set([]serve.Target{{MAC: mac, Machine: "web", Arch: "amd64", Image: "one", Serial: "root"}})
	s, h = next, httptest.NewServer(next)
	defer h.Close()
	if got := boot(); !strings.Contains(got, " labctl.shell=http://10.0.0.254/target/"+mac+" labctl.mac=") || strings.Contains(got, "labctl.install=") {
		t.Errorf("instead of a shell it gets %s", got)
	}
	is(done)
	next = serve.New(dir, filepath.Join(dir, "reports.json"))
	next.Set([]serve.Target{{MAC: mac, Machine: "web", Arch: "amd64", Image: "one", Serial: "root"}})
	s, h = next, httptest.NewServer(next)
	defer h.Close()
	if got := boot(); !strings.Contains(got, "labctl.install=") {
		t.Errorf("it gets a second shell: %s", got)
	}
}

func TestOrder(t *testing.T) {
	_, h, dir := started(t)
	ask := func() install.Order {
		t.Helper()
		_, text := get(t, h.URL+"/target/"+mac+"/order")
		o, err := install.ReadOrder(strings.NewReader(text))
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		return o
	}
	o := ask()
	digest := func(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }
	want := install.Order{Version: 1, Machine: "web", Disk: install.Disk{Serial: "root"}, After: install.Restart,
		Image: install.Image{Source: install.Source{URL: h.URL + "/image/one", SHA256: digest(content), Length: int64(len(content))}, Format: install.Zstd, Size: 1 << 30},
		Seed:  install.Source{URL: h.URL + "/target/" + mac + "/seed", SHA256: digest("SEED"), Length: 4}}
	if diff := cmp.Diff(want, o); diff != "" {
		t.Error(diff)
	}
	// Another seed is another order.
	if err := os.WriteFile(filepath.Join(dir, "seeds/web"), []byte("ANOTHER"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := ask().Seed.SHA256; got != digest("ANOTHER") {
		t.Errorf("the seed has digest %s", got)
	}
}

func TestBadReports(t *testing.T) {
	s, h, _ := started(t)
	post := func(mac, text string) int {
		resp, err := http.Post(h.URL+"/target/"+mac+"/report", "application/json", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if got := []int{post(mac, "{"), post("52:54:00:00:00:99", "{}"), post(mac, `{"phase":"write","number":4,"of":7,"machine":"db"}`)}; !cmp.Equal(got, []int{400, 404, 204}) {
		t.Errorf("answers are %v", got)
	}
	if got := s.Status(); len(got) != 1 || got[0].Machine != "web" {
		t.Errorf("a machine speaks for another: %v", got)
	}
}

// golden compares what was given with a file of testdata, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	goldentest.File(t, filepath.Join("testdata", name), got)
}

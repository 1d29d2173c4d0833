package secret_test

import (
	"crypto/tls"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/secret"
	"github.com/labctl-dev/labctl/lab"
)

func TestValues(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := secret.Sources{
		Env:    func(n string) (string, bool) { return "from the environment", n == "TOKEN" },
		Folder: dir, Store: filepath.Join(dir, "store"),
	}
	list := []lab.Secret{{Name: "a", Env: "TOKEN"}, {Name: "b", File: "token"}, {Name: "mysql/root", Generate: 24}}
	first, err := s.Values(list)
	if err != nil {
		t.Fatal(err)
	}
	if len(first["mysql/root"]) != 24 || first["a"] != "from the environment" || first["b"] != "from a file\n" {
		t.Errorf("got %d characters, %q, %q", len(first["mysql/root"]), first["a"], first["b"])
	}
	again, err := s.Values(list)
	if diff := cmp.Diff(first, again); err != nil || diff != "" {
		t.Errorf("made once, not kept: %v %s", err, diff)
	}
	info, err := os.Stat(filepath.Join(dir, "store", "generated-mysql%2Froot"))
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
}

func TestMissing(t *testing.T) {
	s := secret.Sources{Env: func(string) (string, bool) { return "", false }, Folder: t.TempDir()}
	for want, x := range map[string]lab.Secret{
		`secrets."a": the environment variable NOT_SET is not set`: {Name: "a", Env: "NOT_SET"},
		`secrets."b": cannot read its file: `:                      {Name: "b", File: "none"},
	} {
		if _, err := s.Values([]lab.Secret{x}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func certificates() (lab.Lab, []lab.Secret) {
	l := lab.Lab{Name: "demo", Domain: "demo.lab", Machines: []lab.Machine{{Name: "web", NICs: []lab.NIC{{Network: "a", Addr: netip.MustParseAddr("10.0.0.5")}}}}}
	l.Secrets = []lab.Secret{
		{Name: "ca/root", Authority: &lab.Authority{Name: "demo root", Days: 3650}},
		{Name: "tls/db", Certificate: &lab.Certificate{For: []string{"db.example.org", "10.0.0.9"}, Days: 30, Authority: "ca/root"}},
		{Name: "tls/web", Certificate: &lab.Certificate{For: []string{"web"}, Days: 90, Authority: "ca/root"}},
	}
	return l, l.Secrets
}

// A certificate is made once, and again when its time comes or the lab says something else; what it costs is known before.
func TestCertificates(t *testing.T) {
	s := secret.Sources{Store: filepath.Join(t.TempDir(), "store"), Now: time.Date(2026, 9, 2, 12, 0, 0, 0, time.UTC)}
	var list []lab.Secret
	s.Lab, list = certificates()
	readOnly := s
	readOnly.ReadOnly = true
	if _, err := readOnly.Values(list); err == nil || err.Error() != `secrets."ca/root": no value has been generated yet: apply does that` {
		t.Error(err)
	}
	var last map[string]string
	step := func(what string, changed []string, want map[string]secret.Edition) {
		t.Helper()
		told, err := s.Editions(list)
		if diff := cmp.Diff(want, told); err != nil || diff != "" {
			t.Errorf("%s: %v %s", what, err, diff)
		}
		values, err := s.Values(list)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		var now []string
		for _, name := range slices.Sorted(maps.Keys(values)) {
			if values[name] != last[name] {
				now = append(now, name)
			}
		}
		if diff := cmp.Diff(changed, now); diff != "" {
			t.Errorf("%s: what changed (-want +got)\n%s", what, diff)
		}
		last = values
		readOnly.Lab, readOnly.Now = s.Lab, s.Now
		kept, err := readOnly.Values(list)
		if diff := cmp.Diff(values, kept); err != nil || diff != "" {
			t.Errorf("%s: not kept: %v %s", what, err, diff)
		}
	}
	all := []string{"ca/root#cert", "ca/root#key", "tls/db#cert", "tls/db#chain", "tls/db#key", "tls/web#cert", "tls/web#chain", "tls/web#key"}
	step("first", all, map[string]secret.Edition{"ca/root": {Edition: 1}, "tls/db": {Edition: 1}, "tls/web": {Edition: 1}})
	step("again", nil, map[string]secret.Edition{"ca/root": {Edition: 1}, "tls/db": {Edition: 1}, "tls/web": {Edition: 1}})
	s.Now = s.Now.AddDate(0, 0, 25)
	step("db's time", all[2:5], map[string]secret.Edition{"ca/root": {Edition: 1}, "tls/db": {Edition: 2, Why: "certificate tls/db ends 2026-10-02"}, "tls/web": {Edition: 1}})
	s.Lab.Machines[0].NICs[0].Addr = netip.MustParseAddr("10.0.0.6")
	step("web has moved", all[5:], map[string]secret.Edition{"ca/root": {Edition: 1}, "tls/db": {Edition: 2},
		"tls/web": {Edition: 2, Why: "certificate tls/web is for other names than in the lab"}})
	s.Now = s.Now.AddDate(0, 0, 2500) // the authority's key, by which others know it, stays
	want := append([]string{"ca/root#cert"}, all[2:]...)
	step("the authority's time", want, map[string]secret.Edition{"ca/root": {Edition: 2, Why: "authority ca/root ends 2036-08-30"},
		"tls/db": {Edition: 3, Why: "certificate tls/db ended 2026-10-27"}, "tls/web": {Edition: 3, Why: "certificate tls/web ended 2026-12-26"}})
	s.Lab.Secrets[0].Authority = &lab.Authority{Name: "another root", Days: 3650}
	list = s.Lab.Secrets
	step("another authority", want, map[string]secret.Edition{"ca/root": {Edition: 3, Why: "authority ca/root has another name in the lab"},
		"tls/db":  {Edition: 4, Why: "certificate tls/db is not of the lab's authority as it is now"},
		"tls/web": {Edition: 4, Why: "certificate tls/web is not of the lab's authority as it is now"}})
	if _, err := tls.X509KeyPair([]byte(last["tls/web#chain"]), []byte(last["tls/web#key"])); err != nil {
		t.Error(err)
	}
	files, _ := filepath.Glob(filepath.Join(s.Store, "*"))
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v %v", f, info.Mode(), err)
		}
	}
	if err := os.WriteFile(filepath.Join(s.Store, "certificate-tls%2Fweb"), []byte("edition 4\ngarbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Editions(list); err == nil || !strings.HasSuffix(err.Error(), "certificate-tls%2Fweb: it has no private key") {
		t.Error(err)
	}
}

// Processes that make the same things at once get the same ones.
func TestAtOnce(t *testing.T) {
	s := secret.Sources{Store: filepath.Join(t.TempDir(), "store"), Now: time.Now()}
	var list []lab.Secret
	s.Lab, list = certificates()
	list = append(slices.Clone(list), lab.Secret{Name: "word", Generate: 24})
	all := make([]map[string]string, 8)
	var g sync.WaitGroup
	for i := range all {
		g.Go(func() {
			var err error
			if all[i], err = s.Values(list); err != nil {
				t.Error(err)
			}
		})
	}
	g.Wait()
	for _, v := range all {
		if diff := cmp.Diff(all[0], v); diff != "" {
			t.Error(diff)
		}
	}
}

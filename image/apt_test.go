package image

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/image/recipe"
	"github.com/labctl-dev/labctl/lab"
)

func TestAptOptions(t *testing.T) {
	dump := `APT "";
Acquire "";
Acquire::http "";
Acquire::http::Proxy "http://proxy:3128";
Acquire::https::CaInfo "/etc/ssl/own.pem";
Acquire::Languages:: "en";
DPkg::Post-Invoke:: "rm -rf /var/cache";
`
	want := []string{`Acquire::http::Proxy "http://proxy:3128";`, `Acquire::https::CaInfo "/etc/ssl/own.pem";`}
	if diff := cmp.Diff(want, aptOptions([]byte(dump))); diff != "" {
		t.Error(diff)
	}
}

func TestHostSources(t *testing.T) {
	r := recipe.New(lab.AMD64, lab.Build{Distribution: "debian", Release: "bookworm"})
	near := []string{"http://near/debian", "http://near/debian", "http://near/debian-security"}
	for name, test := range map[string]struct {
		list, sources string
		want          []string
	}{
		"one-line": {list: "deb [arch=amd64] http://near/debian bookworm main contrib\ndeb-src http://x bookworm main\n# deb http://y bookworm main\n" +
			"deb http://near/debian/ bookworm-updates main\ndeb http://near/debian-security bookworm-security main\n", want: near},
		"deb822": {sources: "Types: deb\nURIs: http://near/debian\nSuites: bookworm bookworm-updates\nComponents: main\n\n" +
			"Types: deb\nURIs: http://near/debian-security\nSuites: bookworm-security\nComponents: main\nSigned-By: /x.gpg\n", want: near},
		"the distribution's own": {sources: "Types: deb\nURIs: http://deb.debian.org/debian\nSuites: bookworm bookworm-updates\nComponents: main\n\n" +
			"Types: deb\nURIs: http://deb.debian.org/debian-security\nSuites: bookworm-security\nComponents: main\n"},
		"another release": {list: "deb http://near/debian trixie main\n"},
		"without updates": {list: "deb http://near/debian bookworm main\n"},
		"switched off":    {sources: "Enabled: no\nTypes: deb\nURIs: http://near/debian\nSuites: bookworm bookworm-updates bookworm-security\nComponents: main\n"},
		"nothing":         {},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "sources.list.d"), 0o755); err != nil {
				t.Fatal(err)
			}
			for file, text := range map[string]string{"sources.list": test.list, "sources.list.d/a.sources": test.sources} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			var got []string
			for _, s := range hostSources(dir, r, recipe.Archives()) {
				got = append(got, s.URI)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	mirrored := recipe.New(lab.AMD64, lab.Build{Distribution: "debian", Release: "bookworm", Mirror: "http://given/debian"})
	if s := hostSources("/etc/apt", mirrored, recipe.Archives()); s != nil {
		t.Errorf("a mirror given in the lab is overridden by %v", s)
	}
}

package secret_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

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

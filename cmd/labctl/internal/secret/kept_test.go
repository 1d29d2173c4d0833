package secret_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/secret"
	"github.com/labctl-dev/labctl/lab"
)

// What machines told is kept, all of it, for its owner's eyes only.
func TestKeep(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "secrets")
	s := secret.Store(dir)
	for _, v := range []string{"one", "one", "two", "three"} {
		if err := s.Keep("vault/init", []byte(v)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := (secret.Sources{Store: dir}).Values([]lab.Secret{{Name: "app", Generate: 20}}); err != nil {
		t.Fatal(err)
	}
	names, err := s.Names()
	if diff := cmp.Diff([]string{"app", "vault/init", "vault/init.1", "vault/init.2"}, names); diff != "" || err != nil {
		t.Errorf("%v, -want +got:\n%s", err, diff)
	}
	for name, want := range map[string]string{"vault/init": "three", "vault/init.1": "one", "vault/init.2": "two"} {
		if got, err := s.Value(name); string(got) != want || err != nil {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}
	}
	if _, err := s.Value("nobody"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if info, err := os.Stat(filepath.Join(dir, "kept-vault%2Finit")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
}

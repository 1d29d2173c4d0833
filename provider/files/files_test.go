package files_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/files"
)

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	for _, text := range []string{"a longer one", "new"} {
		if err := files.Write(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if diff := cmp.Diff(text, string(b)); err != nil || diff != "" {
			t.Errorf("%v %s", err, diff)
		}
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o640 {
		t.Errorf("%v %v", st, err)
	}
	if err := files.Write(filepath.Join(dir, "nowhere", "x"), nil, 0o600); provider.CodeOf(err) != provider.NotFound {
		t.Errorf("in no folder: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("there is more than the file: %v", left)
	}
}

// TestLog follows a log that grows, begins anew, and is deleted.
func TestLog(t *testing.T) {
	web := provider.Addr{Provider: "host", Kind: "machine", Name: "web"}
	path := filepath.Join(t.TempDir(), "console")
	if _, err := files.Log(t.Context(), web, path, true); provider.CodeOf(err) != provider.NotFound {
		t.Errorf("of a machine that was never started: %v", err)
	}
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("one ")
	plain, err := files.Log(t.Context(), web, path, false)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(plain); err != nil || string(b) != "one " {
		t.Errorf("what there is: %q %v", b, err)
	}
	plain.Close()
	log, err := files.Log(t.Context(), web, path, true)
	if err != nil {
		t.Fatal(err)
	}
	says := func(want string) {
		t.Helper()
		b := make([]byte, len(want))
		if _, err := io.ReadFull(log, b); err != nil || string(b) != want {
			t.Errorf("it says %q, not %q: %v", b, want, err)
		}
	}
	says("one ")
	put("one two ")
	says("two ")
	put("new ")
	says("new ")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(log); err != nil || len(b) > 0 {
		t.Errorf("after it was deleted: %q %v", b, err)
	}
	log.Close()

	put("again")
	ctx, cancel := context.WithCancel(t.Context())
	if log, err = files.Log(ctx, web, path, true); err != nil {
		t.Fatal(err)
	}
	says("again")
	cancel()
	if b, err := io.ReadAll(log); err != nil || len(b) > 0 {
		t.Errorf("after its reader was told to end: %q %v", b, err)
	}
	log.Close()
}

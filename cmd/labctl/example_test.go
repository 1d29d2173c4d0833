package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestExampleProvider builds examples/provider-shell as what it is, a stranger's module outside of this tree, lets it be
// judged there, and then labctl work with it.
func TestExampleProvider(t *testing.T) {
	if testing.Short() {
		t.Skip("builds another module")
	}
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "../../examples/provider-shell/check", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p := params([]string{"../../testdata/scripts/example_provider.txtar"})
	plain := p.Setup
	p.Setup = func(e *testscript.Env) error {
		if err := plain(e); err != nil {
			return err
		}
		plugins := filepath.Join(e.Getenv("LABCTL_HOME"), "plugins")
		if err := os.MkdirAll(plugins, 0o700); err != nil {
			return err
		}
		return os.Symlink(filepath.Join(dir, "labctl-provider-shell"), filepath.Join(plugins, "labctl-provider-shell"))
	}
	testscript.Run(t, p)
}

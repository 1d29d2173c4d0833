package guest_test

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/lab"
)

// here is a shell on this host, with another folder in place of the one in machines.
type here struct{ folder string }

func (h here) Run(ctx context.Context, cmd string, stdin io.Reader) (guest.Output, error) {
	cmd = strings.ReplaceAll(cmd, "/var/lib/labctl/kept", h.folder)
	cmd = strings.ReplaceAll(cmd, `[ "$(id -u)" = 0 ]`, "true") // whoever runs the test
	var out, errs strings.Builder
	c := exec.CommandContext(ctx, "sh", "-c", cmd)
	c.Stdin, c.Stdout, c.Stderr = stdin, &out, &errs
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return guest.Output{}, err
	}
	return guest.Output{Stdout: []byte(out.String()), Stderr: []byte(errs.String()), Exit: c.ProcessState.ExitCode()}, nil
}

// What is kept leaves the machine once it is stored, and not before.
func TestCollect(t *testing.T) {
	sh := here{t.TempDir()}
	m := lab.Machine{Name: "vault", Guest: lab.Guest{Commands: []lab.Command{{Name: "init", Keep: "vault/init"}, {Name: "more"}, {Name: "none", Keep: "none"}}}}
	for name, text := range map[string]string{"vault%2Finit": "new", "vault%2Finit.interrupted": "old", "other": "stays"} {
		if err := os.WriteFile(filepath.Join(sh.folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	full := errors.New("the disk is full")
	err := guest.Collect(t.Context(), sh, m, func(string, []byte) error { return full })
	if !errors.Is(err, full) || strings.Contains(err.Error(), "new") {
		t.Errorf("error %v", err)
	}
	got := map[string]string{}
	take := func(name string, value []byte) error { got[name] = string(value); return nil }
	for range 2 {
		if err := guest.Collect(t.Context(), sh, m, take); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(map[string]string{"vault/init": "new", "vault/init.interrupted": "old"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	left, _ := os.ReadDir(sh.folder)
	if len(left) != 1 || left[0].Name() != "other" {
		t.Errorf("left: %v", left)
	}
}

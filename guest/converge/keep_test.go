package converge_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func kept(run string) object {
	return object{"commands": []object{{"name": "init", "keep": "app/init", "run": run}}}
}

// What a command with keep prints goes into its file and nowhere else; what it says of its failure is told.
func TestKeeps(t *testing.T) {
	m := newMachine(t)
	m.document(kept("echo the key is 4711; echo and all is well >&2"))
	m.run()
	if got := m.read("var/lib/labctl/kept/app%2Finit"); got != "the key is 4711\n" {
		t.Errorf("kept: %q", got)
	}
	for path, mode := range map[string]os.FileMode{"var/lib/labctl/kept": 0o700, "var/lib/labctl/kept/app%2Finit": 0o600} {
		if s, err := os.Stat(filepath.Join(m.root, path)); err != nil || s.Mode().Perm() != mode {
			t.Errorf("%s: %v %v, want %v", path, s, err, mode)
		}
	}
	m.document(kept("echo the key is 0815; echo the disk is full >&2; exit 3"))
	_, r := m.run()
	if len(r.Errors) != 1 || r.Errors[0].Error != "command failed: exit status 3" || r.Errors[0].Output != "the disk is full" {
		t.Errorf("errors: %+v", r.Errors)
	}
	for _, path := range []string{"run/labctl/report.json", "var/lib/labctl/last.json", "var/lib/labctl/memory.json"} {
		if text := m.read(path); strings.Contains(text, "4711") || strings.Contains(text, "0815") {
			t.Errorf("%s has it:\n%s", path, text)
		}
	}
}

// A run that is killed after the command has spoken does not lose what it said.
func TestKeepsWhatAKilledRunHeard(t *testing.T) {
	m := newMachine(t)
	m.document(kept("echo told once; sleep 60"))
	cmd := m.command("--run", "one")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	partial := filepath.Join(m.root, "var/lib/labctl/kept/.app%2Finit")
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if b, _ := os.ReadFile(partial); len(b) > 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the command has not spoken after a minute")
		}
	}
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	m.document(kept("echo told again"))
	m.run()
	if got := m.read("var/lib/labctl/kept/app%2Finit.interrupted") + m.read("var/lib/labctl/kept/app%2Finit"); got != "told once\ntold again\n" {
		t.Errorf("kept: %q", got)
	}
}

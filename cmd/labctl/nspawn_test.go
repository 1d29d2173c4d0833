package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/labctl-dev/labctl/provider/providertest/tiny"
)

// TestNspawn runs the scripts whose machines are containers: what is inside of machines is real in them, down to systemd
// and nftables, and they start within seconds.
func TestNspawn(t *testing.T) {
	if testing.Short() {
		t.Skip("starts machines")
	}
	images := os.Getenv("LABCTL_TEST_IMAGES")
	if why := missing(images); why != "" {
		tiny.Skip(t, "%s", why)
	}
	if os.Geteuid() != 0 {
		tiny.Skip(t, "containers need root")
	}
	if _, err := exec.LookPath("systemd-nspawn"); err != nil {
		tiny.Skip(t, "systemd-nspawn is not installed: make test does that")
	}
	moreWatches(t)
	var files []string
	for _, pattern := range []string{"nspawn_*.txtar", "roles_*.txtar"} {
		some, err := filepath.Glob("../../testdata/scripts/" + pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, some...)
	}
	slices.Sort(files)
	if len(files) == 0 {
		t.Fatal("no scripts")
	}
	p := params(files)
	plain := p.Setup
	p.Setup = func(e *testscript.Env) error {
		if err := plain(e); err != nil {
			return err
		}
		run, err := os.MkdirTemp("/tmp", "ln") // short: it holds sockets
		if err != nil {
			return err
		}
		e.Defer(func() { os.RemoveAll(run) })
		e.Defer(func() { slayAll(e.WorkDir) })
		e.Setenv("XDG_RUNTIME_DIR", run)
		home := filepath.Join(e.WorkDir, "home")
		if err := os.Mkdir(home, 0o700); err != nil {
			return err
		}
		return os.Symlink(images, filepath.Join(home, "images"))
	}
	p.Cmds["slay"] = cmdSlay
	p.Cmds["eventually"] = cmdEventually
	p.Cmds["tutorial"] = cmdTutorial
	p.Cmds["session"] = cmdSession
	p.Cmds["gobuild"] = cmdGobuild
	testscript.Run(t, p)
}

// moreWatches lets this host have the inotify instances that a dozen containers take: a kernel allows root 128 unless
// told otherwise, and a systemd takes about ten. docs/nspawn.md tells users the same.
func moreWatches(t *testing.T) {
	t.Helper()
	const file, enough = "/proc/sys/fs/inotify/max_user_instances", 1024
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	if n >= enough {
		return
	}
	if err := os.WriteFile(file, []byte(strconv.Itoa(enough)), 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(file, b, 0); err != nil {
			t.Error(err)
		}
	})
}

// cmdGobuild is "gobuild NAME...": the programs of cmd, static and for Linux, where labctl looks for those that run
// elsewhere.
func cmdGobuild(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: gobuild NAME...")
	}
	for _, name := range args {
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(ts.Getenv("LABCTL_HOME"), "plugins")+"/", "./cmd/"+name)
		cmd.Dir = ts.Getenv("ROOT")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
		if out, err := cmd.CombinedOutput(); err != nil {
			ts.Fatalf("go build %s: %v\n%s", name, err, out)
		}
	}
}

package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestQEMU runs the scripts that start real machines, under emulation.
func TestQEMU(t *testing.T) {
	if testing.Short() {
		t.Skip("starts machines")
	}
	images := os.Getenv("LABCTL_TEST_IMAGES")
	if why := missing(images); why != "" {
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	emulated(t, images, "qemu_*.txtar")
}

// TestE2E runs the scripts that take too long for every day: with LABCTL_E2E alone (make e2e).
func TestE2E(t *testing.T) {
	if os.Getenv("LABCTL_E2E") == "" {
		return // not skipped: that would fail in CI
	}
	images := os.Getenv("LABCTL_TEST_IMAGES")
	if why := missing(images); why != "" {
		t.Fatal(why)
	}
	emulated(t, images, "e2e_*.txtar")
}

// emulated runs scripts that start machines.
func emulated(t *testing.T, images, scripts string) {
	files, err := filepath.Glob("../../testdata/scripts/" + scripts)
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	plugins := t.TempDir()
	installers := map[string]func() error{}
	for _, arch := range []string{"amd64", "arm64"} {
		installers[arch] = sync.OnceValue(func() error { return buildInstaller(plugins, arch) })
	}
	p := params(files)
	plain := p.Setup
	p.Setup = func(e *testscript.Env) error {
		if err := plain(e); err != nil {
			return err
		}
		run, err := os.MkdirTemp("/tmp", "lt") // short: it holds sockets
		if err != nil {
			return err
		}
		e.Defer(func() { os.RemoveAll(run) })
		e.Defer(func() { slayAll(e.WorkDir) })
		e.Setenv("XDG_RUNTIME_DIR", run)
		e.Setenv("LABCTL_ACCEL", "tcg")
		home := filepath.Join(e.WorkDir, "home")
		if err := os.Mkdir(home, 0o700); err != nil {
			return err
		}
		if script := filepath.Base(e.WorkDir); strings.Contains(script, "netboot") {
			arch := "amd64"
			if strings.Contains(script, "arm64") {
				arch = "arm64"
			}
			if err := installers[arch](); err != nil {
				return err
			}
			if err := os.Symlink(plugins, filepath.Join(home, "plugins")); err != nil {
				return err
			}
		}
		return os.Symlink(images, filepath.Join(home, "images"))
	}
	p.Cmds["slay"] = cmdSlay
	p.Cmds["eventually"] = cmdEventually
	p.Cmds["gobuild"] = cmdGobuild
	testscript.Run(t, p)
}

// buildInstaller makes in dir what machines install themselves with.
func buildInstaller(dir string, arch string) error {
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, "labctl-install-linux-"+arch), "../labctl-install")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %v\n%s", err, out)
	}
	return nil
}

// missing says why machines cannot be started here.
func missing(images string) string {
	if images == "" {
		return "LABCTL_TEST_IMAGES is not set: make test sets it and builds the image"
	}
	for _, program := range []string{"qemu-system-x86_64", "qemu-img", "ssh", "scp"} {
		if _, err := exec.LookPath(program); err != nil {
			return program + " is not installed: make test does that"
		}
	}
	return ""
}

// cmdSlay is "slay REGEXP": kill -9 of the one process of this script whose command line matches.
func cmdSlay(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: slay REGEXP")
	}
	re := regexp.MustCompile(args[0])
	var hits []string
	for _, p := range processes(ts.Getenv("WORK")) {
		if re.MatchString(p) {
			hits = append(hits, p)
		}
	}
	if len(hits) != 1 {
		ts.Fatalf("%d processes match %s:\n%s", len(hits), args[0], strings.Join(processes(ts.Getenv("WORK")), "\n"))
	}
	kill(hits[0])
}

// slayAll ends what a script that failed has left.
func slayAll(work string) {
	for _, p := range processes(work) {
		kill(p)
	}
}

// kill kills a process and waits until it is gone.
func kill(process string) {
	pid, _, _ := strings.Cut(process, " ")
	n, err := strconv.Atoi(pid)
	if err != nil || n < 2 {
		return
	}
	_ = syscall.Kill(n, syscall.SIGKILL)
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", n)); err != nil || len(b) == 0 {
			return
		}
	}
}

// cmdEventually is "eventually CODE command args...": within ten minutes, which an emulated machine may take to start, the
// command returns that.
func cmdEventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: eventually CODE command args...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := -1
	for end := time.Now().Add(10 * time.Minute); time.Now().Before(end); time.Sleep(time.Second) {
		if got = run(ts, args[1:]...); got == want {
			return
		}
	}
	ts.Fatalf("%s: exit status %d, want %d, after ten minutes", strings.Join(args[1:], " "), got, want)
}

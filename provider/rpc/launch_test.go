package rpc_test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/memory"
	"github.com/labctl-dev/labctl/provider/rpc"

	"github.com/google/go-cmp/cmp"
)

func TestLaunchDescribes(t *testing.T) {
	c := launch(t, "memory")
	want := memory.Plugin().Description
	want.Built = provider.ThisProgram() // the plugin is this program
	want.Version = want.Built.Version   // it says none of its own
	if d := cmp.Diff(want, c.Description); d != "" {
		t.Errorf("the description changed on the wire (-plugin +client):\n%s", d)
	}
}

// Every way in which a plugin can fail to start is one error that names the thing.
func TestLaunchFailures(t *testing.T) {
	tests := []struct {
		name, plugin string
		code         provider.Code
		says         []string
	}{
		{"version", "newer", provider.Unsupported, []string{"labctl-provider-newer speaks version 99", "this labctl speaks version 1"}},
		{"garbage", "garbage", provider.Invalid, []string{"labctl-provider-garbage is no plugin", `"hello world"`}},
		{"endless garbage", "endless", provider.Invalid, []string{"is no plugin", `"xxx`}},
		{"exits", "exits", provider.Crashed, []string{"ended at once (exit status 3)", "cannot load libvirt.so.0"}},
		{"closes its output", "closes", provider.Invalid, []string{"closed its output without a word"}},
		{"hangs", "hangs", provider.Timeout, []string{"labctl-provider-hangs did not say hello within 1.5s", "thinking"}},
		{"another name", "impostor", provider.Invalid, []string{"describes itself as another provider"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			timeout := 20 * time.Second
			if tt.code == provider.Timeout {
				timeout = 1500 * time.Millisecond
			}
			begin := time.Now()
			c, err := rpc.Launch(t.Context(), rpc.Launcher{Name: tt.plugin, Dirs: []string{program(t, tt.plugin)}, Timeout: timeout})
			if err == nil {
				c.Close()
				t.Fatal("launched")
			}
			wantError(t, err, tt.code, append(tt.says, "cannot start plugin "+tt.plugin+": ")...)
			if took := time.Since(begin); took > 10*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestLaunchFinds(t *testing.T) {
	empty, other := t.TempDir(), t.TempDir()
	t.Setenv("PATH", other)
	_, err := rpc.Launch(t.Context(), rpc.Launcher{Name: "memory", Dirs: []string{empty, "/nonexistent"}})
	wantError(t, err, provider.Missing, "there is no labctl-provider-memory in", empty, "/nonexistent", "PATH")

	file := filepath.Join(empty, "labctl-provider-memory")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = rpc.Launch(t.Context(), rpc.Launcher{Name: "memory", Dirs: []string{empty}})
	wantError(t, err, provider.Denied, file+" is not executable")

	self, _ := os.Executable()
	if err := os.Symlink(self, filepath.Join(other, "labctl-provider-memory")); err != nil {
		t.Fatal(err)
	}
	c, err := rpc.Launch(t.Context(), rpc.Launcher{Name: "memory", Dirs: []string{empty}})
	if err != nil {
		t.Fatalf("a good one on PATH: %v", err)
	}
	c.Close()

	if err := errors.Join(os.WriteFile(file, []byte("\x7fELF no"), 0o700), os.Chmod(file, 0o700)); err != nil {
		t.Fatal(err)
	}
	_, err = rpc.Launch(t.Context(), rpc.Launcher{Name: "memory", Dirs: []string{empty}})
	wantError(t, err, provider.Invalid, "cannot execute "+file)

	_, err = rpc.Launch(t.Context(), rpc.Launcher{Name: "../memory", Dirs: []string{other}})
	wantError(t, err, provider.Invalid, `"../memory"`)
}

func TestLaunchCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(300*time.Millisecond, cancel)
	_, err := rpc.Launch(ctx, rpc.Launcher{Name: "hangs", Dirs: []string{program(t, "hangs")}})
	wantError(t, err, provider.Canceled, "labctl-provider-hangs")
}

func TestRunByHand(t *testing.T) {
	cmd := exec.Command(filepath.Join(program(t, "memory"), "labctl-provider-memory"))
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "labctl plan") || !strings.Contains(string(out), `provider "memory"`) {
		t.Errorf("run by hand: %v, %s", err, out)
	}
}

// A labctl that is killed leaves neither its plugin nor its plugin's socket behind.
func TestKilledWithLabctl(t *testing.T) {
	self, _ := os.Executable()
	tmp := t.TempDir()
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "RPC_TEST_HOST="+program(t, "puppet"), "TMPDIR="+tmp)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("the host said %q", line)
	}
	if group, _ := syscall.Getpgid(pid); group != pid {
		t.Errorf("the plugin is in process group %d, not in one of its own: Ctrl-C would reach it", group)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	waitGone(t, pid)
	if left, _ := os.ReadDir(tmp); len(left) > 0 {
		t.Errorf("left behind in TMPDIR: %v", left)
	}
}

// What a provider has put into a session of its own lives on; closing does not wait for it.
func TestDetachedLivesOn(t *testing.T) {
	c := launch(t, "puppet")
	file := filepath.Join(t.TempDir(), "pid")
	r := provider.Resource{Addr: deed("daemon"), Attrs: provider.Attrs{"file": file}}
	if err := puppetOf(t, c).Create(t.Context(), r, provider.Silent); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, _ := strconv.Atoi(string(b))
	begin := time.Now()
	c.Close()
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("Close took %v", took)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Errorf("the detached process is gone: %v", err)
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
}

// waitGone waits until a process is gone; a zombie counts, for it may be nobody's duty here to reap it.
func waitGone(t *testing.T, pid int) {
	t.Helper()
	for range 200 {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if syscall.Kill(pid, 0) != nil || err == nil && strings.Contains(string(stat), ") Z ") {
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Errorf("process %d still runs after 5s", pid)
}

func wantError(t *testing.T, err error, code provider.Code, says ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want %s", code)
	}
	if got := provider.CodeOf(err); got != code {
		t.Errorf("code %q, want %q: %v", got, code, err)
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("the error does not say %q: %v", s, err)
		}
	}
}

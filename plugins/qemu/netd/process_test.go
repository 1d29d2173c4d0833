package netd

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestMain makes the test program the network process too, as the plugin is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "netd" {
		os.Exit(Main(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// startProcess starts a process and has it gone after the test.
func startProcess(t *testing.T, p Paths) (StartOptions, Client) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o := StartOptions{Paths: p, Exe: exe, Argv0: "labctl-provider-qemu"}
	t.Cleanup(func() {
		if err := Stop(context.Background(), p); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			b, _ := os.ReadFile(p.Log())
			t.Logf("its log:\n%s", b)
		}
	})
	if err := Start(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	return o, Client{p.Socket()}
}

func pid(t *testing.T, c Client) int {
	t.Helper()
	s, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s.PID
}

// files lists all that is in both folders.
func files(t *testing.T, p Paths) []string {
	t.Helper()
	var all []string
	for _, d := range []string{p.Dir, p.Run} {
		err := filepath.WalkDir(d, func(path string, e os.DirEntry, err error) error {
			if err == nil && path != d {
				all = append(all, strings.TrimPrefix(path, filepath.Dir(p.Dir)+"/"))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	sort.Strings(all)
	return all
}

func running(pid int) bool { return syscall.Kill(pid, 0) == nil }

func TestProcess(t *testing.T) {
	t.Parallel()
	p := testPaths(t)
	o, c := startProcess(t, p)
	first := pid(t, c)
	if sid, err := unix.Getsid(first); err == nil && sid != first {
		t.Errorf("session %d, not its own", sid)
	}
	if _, err := os.Stat("/proc/self/cwd"); err == nil {
		if got, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(first), "cwd")); err != nil || got != "/" {
			t.Errorf("working folder %s, %v", got, err)
		}
		if b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(first), "cmdline")); err != nil || !strings.HasPrefix(string(b), "labctl-provider-qemu\x00netd\x00") {
			t.Errorf("command line %q, %v", b, err)
		}
	}
	if info, err := os.Stat(p.Socket()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("control socket: %v, %v", info, err)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if err := Start(t.Context(), o); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := pid(t, c); got != first {
		t.Errorf("starting again made process %d beside %d", got, first)
	}
	for _, name := range []string{"lan", "office"} {
		if err := c.Set(t.Context(), Network{Name: name, Key: name, MTU: 1500, CIDR: office}); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"d/lock", "d/log", "r/net", "r/net/lan", "r/net/office", "r/netd.sock"}, files(t, p)); diff != "" {
		t.Error(diff)
	}
	if err := c.Remove(t.Context(), "lan"); err != nil {
		t.Fatal(err)
	}
	if err := c.Remove(t.Context(), "no such network"); err != nil {
		t.Fatal(err)
	}
	if got := pid(t, c); got != first {
		t.Errorf("process %d, not %d", got, first)
	}
	if err := c.Remove(t.Context(), "office"); err != nil { // the last
		t.Fatal(err)
	}
	until(t, "the process is gone", func() bool { return !running(first) })
	if diff := cmp.Diff([]string{"d/log"}, files(t, p)); diff != "" {
		t.Error(diff)
	}
}

func TestProcessKilled(t *testing.T) {
	t.Parallel()
	p := testPaths(t)
	o, c := startProcess(t, p)
	if err := c.Set(t.Context(), Network{Name: "lan", Key: "lan", MTU: 1500}); err != nil {
		t.Fatal(err)
	}
	first := pid(t, c)
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, "the process is gone", func() bool { return !running(first) })
	if _, err := c.Status(t.Context()); CodeOf(err) != NotRunning {
		t.Errorf("after kill -9: %v", err)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if err := Start(t.Context(), o); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	s, err := c.Status(t.Context())
	if err != nil || s.PID == first || len(s.Networks) != 0 {
		t.Fatalf("after a new start: %+v, %v", s, err)
	}
	if err := syscall.Kill(s.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := Stop(t.Context(), p); err != nil { // sweeps up after it
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"d/log"}, files(t, p)); diff != "" {
		t.Error(diff)
	}
}

func TestProcessTerminated(t *testing.T) {
	t.Parallel()
	p := testPaths(t)
	_, c := startProcess(t, p)
	if err := c.Set(t.Context(), Network{Name: "lan", Key: "lan", MTU: 1500, CIDR: office, Uplink: true}); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(p.Folder("lan"), "m")) // a machine that stays
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	n := pid(t, c)
	if err := syscall.Kill(n, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	until(t, "the process is gone", func() bool { return !running(n) })
	if diff := cmp.Diff([]string{"d/log", "r/net", "r/net/lan", "r/net/lan/m"}, files(t, p)); diff != "" {
		t.Error(diff)
	}
}

// TestProcessHangs stops a process that does not answer any more.
func TestProcessHangs(t *testing.T) {
	t.Parallel()
	p := testPaths(t)
	_, c := startProcess(t, p)
	n := pid(t, c)
	if err := syscall.Kill(n, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	until(t, "status runs into its deadline", func() bool { // the signal takes a moment to reach every thread
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		_, err := c.Status(ctx)
		return CodeOf(err) == Timeout
	})
	if err := Stop(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	until(t, "the process is gone", func() bool { return !running(n) })
	if diff := cmp.Diff([]string{"d/log"}, files(t, p)); diff != "" {
		t.Error(diff)
	}
}

// TestLogDiskFull has the log on a full disk.
func TestLogDiskFull(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full")
	}
	t.Parallel()
	p := testPaths(t)
	if err := os.MkdirAll(p.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/full", p.Log()); err != nil {
		t.Fatal(err)
	}
	_, c := startProcess(t, p)
	if err := c.Set(t.Context(), Network{Name: "lan", Key: "lan", MTU: 1500, CIDR: office}); err != nil {
		t.Fatal(err)
	}
	if err := c.Remove(t.Context(), "lan"); err != nil {
		t.Fatal(err)
	}
}

func TestCannotStart(t *testing.T) {
	t.Parallel()
	long := testPaths(t)
	long.Run = filepath.Join(long.Run, strings.Repeat("x", 100))
	open := testPaths(t)
	if err := os.MkdirAll(open.Run, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open.Run, 0o777); err != nil {
		t.Fatal(err)
	}
	held := testPaths(t)
	_, _ = startProcess(t, held)
	other := held
	other.Run += "2"
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		o    StartOptions
		code Code
		want string
	}{
		{"relative", StartOptions{Paths: Paths{"d", "r"}, Exe: exe}, Invalid, "not absolute"},
		{"long path", StartOptions{Paths: long, Exe: exe}, Invalid, "longer than the 103 bytes"},
		{"open folder", StartOptions{Paths: open, Exe: exe}, Failed, "only we can write"},
		{"lock held elsewhere", StartOptions{Paths: other, Exe: exe}, InUse, held.Socket()},
		{"no program", StartOptions{Paths: testPaths(t), Exe: "/no/such"}, Failed, "/no/such"},
		{"another program", StartOptions{Paths: testPaths(t), Exe: "/bin/ls"}, Failed, "exit code 2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := Start(t.Context(), tt.o)
			if CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v (%s), want %s: %q", err, CodeOf(err), tt.code, tt.want)
			}
		})
	}
}

// TestRestartKeepsMachines kills the process under two machines: they see each other again when a new one is told
// the same.
func TestRestartKeepsMachines(t *testing.T) {
	t.Parallel()
	p := testPaths(t)
	o, c := startProcess(t, p)
	lan := Network{Name: "lan", Key: "lan", MTU: 1500, CIDR: office}
	if err := c.Set(t.Context(), lan); err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, Paths: p, Client: c}
	a, b := w.guest("lan", "a", "10.20.0.10"), w.guest("lan", "b", "10.20.0.11")
	b.listenTCP(netip.IPv4Unspecified(), 80, "b")
	conn, err := a.dialTCP(netip.MustParseAddrPort("10.20.0.11:80"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid(t, c), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, "it is gone", func() bool { _, err := c.Status(t.Context()); return CodeOf(err) == NotRunning })
	if err := Start(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if err := c.Set(t.Context(), lan); err != nil {
		t.Fatal(err)
	}
	if got := converse(t, conn, "x"); got != "b\nbye after 1ns" { // on the connection from before
		t.Errorf("got %q", got)
	}
}

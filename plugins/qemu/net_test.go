package qemu

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/providertest/tiny"
	"github.com/labctl-dev/labctl/provider/site"
)

// connected waits until a network has n machines' ports at work.
func (w world) connected(network string, n int) {
	w.Helper()
	got := -1
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		st, err := w.q.dirs("test").lans().Status(w.Context())
		if err != nil {
			w.Fatal(err)
		}
		got = 0
		for _, net := range st.Networks {
			for _, p := range net.Ports {
				if net.Network.Name == network && p.Connected {
					got++
				}
			}
		}
		if got == n {
			return
		}
	}
	w.Fatalf("network %s has %d ports connected, not %d", network, got, n)
}

// halted waits until every thread of a process has stopped: until then it may answer.
func halted(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		running := 0
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		for _, f := range threads {
			if b, err := os.ReadFile(f); err == nil && !strings.Contains(string(b), ") T ") {
				running++
			}
		}
		if running == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d threads of process %d do not stop", running, pid)
		}
	}
}

func TestNetworkProcessDies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	l := w.idle(2)
	w.apply(l)
	w.connected("office", 2)
	machine := w.pid(l, "m0")
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
		if sig == syscall.SIGSTOP && testing.Short() {
			break
		}
		pid, err := strconv.Atoi(w.observe(l)["qemu.network/lan"].Outputs["pid"])
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, sig); err != nil {
			t.Fatal(err)
		}
		if sig == syscall.SIGKILL {
			gone(t.Context(), pid, 5*time.Second)
		} else {
			halted(t, pid)
		}
		now := w.observe(l)
		if _, ok := now["qemu.network/lan"]; ok {
			t.Errorf("after %s the network is still observed", sig)
		}
		if now["qemu.machine/m0"].Attrs["power"] != "on" {
			t.Errorf("after %s the machine is observed %v", sig, now["qemu.machine/m0"].Attrs["power"])
		}
		w.apply(l)
		w.settled(l)
		w.connected("lan", 2)
		w.connected("office", 2)
	}
	if w.pid(l, "m0") != machine {
		t.Error("the machine was started anew")
	}
	_, err := w.q.Dial(t.Context(), provider.Endpoint{Lab: l, Machine: "nobody", Port: 22})
	if provider.CodeOf(err) != provider.NotFound {
		t.Errorf("dial nobody: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := w.q.Dial(ctx, provider.Endpoint{Lab: l, Machine: "m0", Port: 22}); err == nil {
		t.Error("a machine without an operating system answers")
	}
}

func TestConsole(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	l := w.linux()
	w.apply(l)
	log, err := w.q.Log(t.Context(), l, "m0", true)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	var said strings.Builder
	buf := make([]byte, 1000)
	for deadline := time.Now().Add(time.Minute); !strings.Contains(said.String(), "BOOT "); {
		n, err := log.Read(buf)
		said.Write(buf[:n])
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("%v after %q", err, said.String())
		}
	}
	one, err := w.q.Console(t.Context(), l, "m0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.q.Console(t.Context(), l, "m0"); provider.CodeOf(err) != provider.InUse {
		t.Errorf("a second client: %v", err)
	}
	one.Close()
	done := make(chan error, 1)
	go func() { _, err := io.Copy(io.Discard, log); done <- err }()
	log.Close()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Error("a closed log keeps its reader")
	}
}

// TestUEFI starts both architectures' firmware; what it would boot is not there.
func TestUEFI(t *testing.T) {
	t.Parallel()
	tiny.Need(t, "qemu-system-aarch64")
	w := newWorld(t, nil)
	l := w.idle(2)
	for i := range l.Machines {
		m := &l.Machines[i]
		m.Firmware, m.Memory = lab.UEFI, 256*lab.MiB
		if i == 1 {
			m.Arch = lab.ARM64
		}
	}
	l.Images[0].Arch = ""
	for _, arch := range []lab.Arch{lab.AMD64, lab.ARM64} {
		if code, _ := w.q.efi(arch); code == "" {
			tiny.Skip(t, "no UEFI firmware for %s is installed", arch)
		}
	}
	w.apply(l)
	w.settled(l)
	w.sees("m0", 0, "BdsDxe")
	w.sees("m1", 0, "UEFI firmware")
}

func TestProbeHasADeadline(t *testing.T) {
	tiny.Need(t, "qemu-system-x86_64")
	if native() != lab.AMD64 {
		t.Skip("the test guest is for amd64")
	}
	start := time.Now()
	bin := "qemu-system-x86_64"
	if a := probe(t.Context(), bin, lab.AMD64, accelKVM); time.Since(start) > probeDeadline+3*time.Second || a.Why == "" {
		t.Errorf("after %s: %+v", time.Since(start), a)
	} else {
		t.Logf("%+v", a)
	}
	// The test guest itself is sound: emulation runs it.
	args, ok, err := probeGuest(t.TempDir(), lab.AMD64, accelTCG)
	if err != nil {
		t.Fatal(err)
	}
	for i := range args {
		if args[i] == "host" {
			args[i] = "max"
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if code := exitOf(ctx, bin, args); !ok(code) {
		t.Errorf("the test guest under emulation ended with exit code %d", code)
	}
}

func TestDoctor(t *testing.T) {
	w := newWorld(t, map[string]any{"accel": "auto"})
	ds, err := w.q.Doctor(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]provider.Health{}
	for _, d := range ds {
		t.Logf("%-22s %-8s %s  [%s]", d.Name, d.Status, d.Detail, d.Fix)
		seen[d.Name] = d.Status
	}
	for _, name := range []string{"qemu-system-x86_64", "disk space", "socket folder", "qemu-img"} {
		if seen[name] == "" || seen[name] == provider.Broken {
			t.Errorf("%s is %q", name, seen[name])
		}
	}
	bad := newWorld(t, map[string]any{"qemu": "/nowhere"})
	ds, err = bad.q.Doctor(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if ds[0].Status != provider.Broken || ds[0].Fix == "" {
		t.Errorf("without QEMU: %+v", ds[0])
	}
}

func exitOf(ctx context.Context, bin string, args []string) int {
	cmd := exec.CommandContext(ctx, bin, args...)
	_ = cmd.Run()
	return cmd.ProcessState.ExitCode()
}

// TestForwardedPort is opened, seen when it is lost, refused when somebody has it, and closed in the end; the machine
// does not notice.
func TestForwardedPort(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	l := w.idle(1)
	w.apply(l)
	pid := w.pid(l, "m0")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := taken.Addr().(*net.TCPAddr).AddrPort().Port()
	forward := func(values map[string]string) {
		t.Helper()
		if w.q.opts.forwards, err = site.ParseForwards(values); err != nil {
			t.Fatal(err)
		}
	}
	forward(map[string]string{strconv.Itoa(int(port)): "m0:80"})
	rs, err := w.q.Expand(l, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rs {
		if r.Addr.Name == "lan" {
			err := w.q.Update(t.Context(), w.observe(l)["qemu.network/lan"], r, provider.Silent)
			if provider.CodeOf(err) != provider.InUse || !strings.Contains(err.Error(), fmt.Sprintf("cannot forward 127.0.0.1:%d to m0:80: another program on this host has the port", port)) {
				t.Errorf("a port that is taken: %v", err)
			}
		}
	}
	taken.Close()
	if diff := cmp.Diff([]string{"update network/lan"}, w.apply(l)); diff != "" {
		t.Error(diff)
	}
	w.settled(l)
	open := func() bool {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			c.Close()
		}
		return err == nil
	}
	if !open() {
		t.Error("the port is closed")
	}
	forward(nil)
	if diff := cmp.Diff([]string{"update network/lan"}, w.apply(l)); diff != "" {
		t.Errorf("a port that is not wanted any more: %s", diff)
	}
	if open() {
		t.Error("the port is still open")
	}
	forward(map[string]string{strconv.Itoa(int(port)): "m0:80"})
	w.apply(l)
	if w.pid(l, "m0") != pid {
		t.Error("the machine was started anew")
	}
	w.apply(lab.Lab{Name: "test", Target: "local"})
	if open() {
		t.Error("the port has outlived the lab")
	}
}

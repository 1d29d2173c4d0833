package qemu

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/qemu/netd"
	"github.com/labctl-dev/labctl/provider"
)

func cleanupContext() context.Context { return context.Background() }

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "netd" {
		os.Exit(netd.Main(os.Args[2:]))
	}
	if home := os.Getenv("QEMU_TEST_DIES_IN_SNAPSHOT"); home != "" {
		diesInSnapshot(home)
	}
	os.Exit(tests(m))
}

// tests runs them with a folder for sockets that is theirs: a short one, since a socket's path is limited.
func tests(m *testing.M) int {
	run, err := os.MkdirTemp("/tmp", "lq")
	if err == nil {
		err = os.Setenv("XDG_RUNTIME_DIR", run)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(run)
	return m.Run()
}

// pid is the process of a machine.
func (w world) pid(l lab.Lab, machine string) int {
	w.Helper()
	n, err := strconv.Atoi(w.observe(l)["qemu.machine/"+machine].Outputs["pid"])
	if err != nil {
		w.Fatalf("machine %s has no process: %v", machine, err)
	}
	return n
}

func TestLife(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	l := w.idle(3)
	l.Machines[1].NICs[1].Link = lab.Down
	l.Machines[2].Power = lab.Off
	l.Machines[0].Protect = true
	w.apply(l)
	w.settled(l)

	pid := w.pid(l, "m0")
	l.Machines[0].Memory = 96 * lab.MiB
	l.Machines[0].CPUs = 2
	if diff := cmp.Diff([]string{"update machine/m0"}, w.apply(l)); diff != "" {
		t.Error(diff)
	}
	if again := w.pid(l, "m0"); again == pid {
		t.Error("memory changed, but not the process")
	}
	w.settled(l)

	l.Machines[2].Power, l.Machines[0].Power = lab.On, lab.Off
	w.apply(l)
	w.settled(l)

	pid = w.pid(l, "m1")
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	gone(t.Context(), pid, 5*time.Second)
	if got := w.observe(l)["qemu.machine/m1"].Attrs["power"]; got != "off" {
		t.Errorf("killed machine is observed %v", got)
	}
	w.apply(l)
	w.settled(l)

	l.Machines = l.Machines[1:]
	w.apply(l)
	w.settled(l)
	w.apply(lab.Lab{Name: "test", Target: "local"})
	ds := w.q.dirs("test")
	if exists(ds.data) || exists(ds.run) {
		t.Errorf("after destroy there is still %s or %s", ds.data, ds.run)
	}
}

func TestDiskGrowsAndNeverShrinks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	l := w.idle(1)
	l.Machines[0].Disks = append(l.Machines[0].Disks, lab.Disk{Name: "data", Size: lab.MiB})
	w.apply(l)
	w.settled(l)
	pid := w.pid(l, "m0")
	for i := range l.Machines[0].Disks {
		l.Machines[0].Disks[i].Size *= 2
	}
	w.apply(l)
	w.settled(l)
	if w.pid(l, "m0") != pid {
		t.Error("growing virtio disks cost the machine its process")
	}
	small := l
	small.Machines = append([]lab.Machine(nil), l.Machines...)
	small.Machines[0].Disks = []lab.Disk{{Name: "root", Size: 8 * lab.MiB}}
	rs, err := w.q.Expand(small, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rs {
		if r.Addr.Kind == kindDisk {
			if err := w.q.Update(t.Context(), provider.Observed{}, r, provider.Silent); provider.CodeOf(err) != provider.Invalid {
				t.Errorf("shrinking: %v", err)
			}
		}
	}
	l.Machines[0].Power = lab.Off
	l.Machines[0].Disks[1].Size *= 2
	w.apply(l)
	w.settled(l)
}

// TestHangingMachine is seen as such, started anew by an apply, and ended by a destroy. One that was only slow is left
// alone.
func TestHangingMachine(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	l := w.idle(2)
	w.apply(l)
	pid, other := w.pid(l, "m1"), w.pid(l, "m0")
	hang := func() provider.Observed {
		t.Helper()
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		o := w.observe(l)["qemu.machine/m1"]
		if o.Attrs["power"] != hung || o.Outputs["pid"] != strconv.Itoa(pid) || time.Since(start) > 2*answerDeadline {
			t.Errorf("after %s it is observed %v with %v", time.Since(start), o.Attrs["power"], o.Outputs)
		}
		return o
	}
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	for range 3 { // who asks first must not spoil it for who asks next
		_, _ = w.q.monitor(short, w.q.dirs("test"), "m1", w.q.dirs("test").look("m1"))
	}
	o := hang()
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	r := provider.Resource{Addr: o.Addr, Lab: "test", Attrs: w.observe(l)["qemu.machine/m1"].Attrs, Machine: "m1"}
	if err := w.q.Update(t.Context(), o, r, provider.Silent); err != nil {
		t.Fatal(err)
	}
	if got := w.pid(l, "m1"); got != pid {
		t.Error("a machine that answers again was started anew")
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	w.apply(l)
	w.settled(l)
	if alive(pid) {
		t.Error("the hanging machine still runs")
	}
	if w.pid(l, "m0") != other {
		t.Error("the other machine was started anew")
	}
	pid = w.pid(l, "m1")
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	w.apply(lab.Lab{Name: "test", Target: "local"})
	if alive(pid) {
		t.Error("after destroy the hanging machine still runs")
	}
	if ds := w.q.dirs("test"); exists(ds.data) || exists(ds.run) {
		t.Errorf("after destroy there is still %s or %s", ds.data, ds.run)
	}
}

// TestPIDReused takes no process for a machine's because it has its number, or even its mark.
func TestPIDReused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	l := w.idle(1)
	w.apply(l)
	ds := w.q.dirs("test")
	pid := w.pid(l, "m0")
	if got := w.q.process("m0", ds); got != pid {
		t.Fatalf("the machine's process is %d, not %d", got, pid)
	}
	b, err := os.ReadFile(ds.pid("m0"))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{strconv.Itoa(os.Getpid()) + " " + began(os.Getpid()), strconv.Itoa(pid) + " 1", "1 1", "", "x"} {
		if err := os.WriteFile(ds.pid("m0"), []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := w.q.process("m0", ds); got != 0 {
			t.Errorf("by %q the machine's process is %d", text, got)
		}
	}
	if err := os.WriteFile(ds.pid("m0"), b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestLostSockets(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	l := w.idle(1)
	w.apply(l)
	pid := w.pid(l, "m0")
	if err := os.RemoveAll(w.q.dirs("test").run); err != nil {
		t.Fatal(err)
	}
	if got := w.observe(l)["qemu.machine/m0"].Attrs["power"]; got != unreachable {
		t.Errorf("observed %v", got)
	}
	w.apply(l)
	w.settled(l)
	if alive(pid) {
		t.Error("the machine that could not be reached still runs")
	}
}

func TestLostDisk(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	l := w.idle(1)
	w.apply(l)
	if err := os.Remove(w.q.dirs("test").disk("m0", "root")); err != nil {
		t.Fatal(err)
	}
	w.apply(l) // here nobody remakes the machine with its disk, as the engine would
	w.apply(l)
	w.settled(l)
}

func TestProgramMissing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, map[string]any{"qemu": "/nowhere"})
	l := w.idle(1)
	rs, err := w.q.Expand(l, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = w.q.Create(t.Context(), rs[len(rs)-3], provider.Silent) // any disk or machine needs QEMU's programs
	for _, r := range rs {
		if r.Addr.Kind == kindMachine {
			err = w.q.Create(t.Context(), r, provider.Silent)
		}
	}
	if provider.CodeOf(err) != provider.Missing || !strings.HasSuffix(err.Error(), "qemu-system-x86_64") {
		t.Fatal(err)
	}
	os.RemoveAll(w.q.dirs("test").data)
}

package guest_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/labctl-dev/labctl/access"
	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/guest/seediso"
	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/lab"
)

// bootImage is the trimmed image that offers its kernel, from the store that all rooms' tests share (LABCTL_TEST_IMAGES),
// built if it is not there. That and booting take minutes: they run in CI and when asked for.
func bootImage(t *testing.T) image.Local {
	t.Helper()
	if testing.Short() {
		t.Skip("boots a machine, which takes minutes")
	}
	dir := os.Getenv("LABCTL_TEST_IMAGES")
	if dir == "" {
		dir = fmt.Sprintf("/tmp/labctl-test-images-%d", os.Getuid())
	}
	i := lab.Image{
		Name: "debian-12-minimal", Arch: lab.AMD64, Kernel: true, MinDisk: lab.GiB,
		Build: &lab.Build{Distribution: "debian", Release: "bookworm"},
	}
	l, err := image.Store{Dir: dir}.Ensure(t.Context(), i, func(string, int64, int64) {})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// vm is a machine under QEMU without acceleration: root and seed as NVMe, the first NIC forwarded from a host port.
type vm struct {
	t       *testing.T
	port    string
	machine lab.Machine
	id      access.Identity
	console string
}

func boot(t *testing.T, l lab.Lab, id access.Identity, seed lab.Seed) *vm {
	t.Helper()
	base := bootImage(t)
	dir := t.TempDir()
	m, _ := l.Machine(seed.Machine)
	v := &vm{t: t, machine: m, id: id, console: filepath.Join(dir, "console")}
	var iso bytes.Buffer
	if err := seediso.Write(&iso, seed); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "seed.iso"), iso.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(dir, "root.qcow2")
	if out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base.Disk, root, "4G").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	v.port = free.Addr().String()
	free.Close()
	argv := []string{"-accel", "tcg,thread=multi,tb-size=256", "-machine", "q35", "-cpu", "max", "-smp", "2", "-m", "512M", "-nodefaults", "-display", "none",
		"-serial", "file:" + v.console, "-kernel", base.Kernel, "-append", base.Cmdline + " no_timer_check " + os.Getenv("LABCTL_TEST_CMDLINE"),
		"-drive", "if=none,id=root,format=qcow2,file=" + root, "-device", "nvme,serial=root,drive=root",
		"-drive", "if=none,id=seed,format=raw,readonly=on,file=" + dir + "/seed.iso", "-device", "nvme,serial=seed,drive=seed"}
	for n, nic := range m.NICs {
		dev := fmt.Sprintf("hubport,id=n%d,hubid=%d", n, n)
		if n == 0 {
			dev = "user,id=n0,hostfwd=tcp:" + v.port + "-:22"
		}
		argv = append(argv, "-netdev", dev, "-device", fmt.Sprintf("virtio-net-pci,netdev=n%d,mac=%s", n, nic.MAC))
	}
	cmd := exec.Command("qemu-system-x86_64", argv...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			b, _ := os.ReadFile(v.console)
			t.Logf("console:\n%s", b[max(0, len(b)-4000):])
		}
	})
	return v
}

func (v *vm) open(ctx context.Context) *access.Session {
	v.t.Helper()
	s, err := access.Open(ctx, access.Options{
		Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", v.port)
		},
		Machine: v.machine.Name, User: v.machine.Guest.User, Identity: v.id, HostKey: v.id.HostPublic(v.machine.Name),
		Progress: func(s string) { v.t.Logf("ssh: %s", s) },
	})
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() { s.Close() })
	return s
}

// shell is what the engine does: a Shell on an access.Session that is opened anew when it is lost with the network.
type shell struct{ b *bench }

func (x shell) Run(ctx context.Context, cmd string, stdin io.Reader) (guest.Output, error) {
	out, errs, exit, err := x.b.s.Output(ctx, cmd, stdin)
	if err != nil && ctx.Err() == nil {
		x.b.t.Logf("connecting anew: %v", err)
		x.b.s.Close()
		x.b.s = x.b.open(ctx)
	}
	return guest.Output{Stdout: out, Stderr: errs, Exit: exit}, err
}

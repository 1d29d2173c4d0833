package netd

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestQEMU has the boot ROM of a real QEMU get its address: framing, "server=on" and DHCP with the real thing. Then the
// process is stopped and started again beneath it, the machine is reset, and the ROM gets its address once more.
func TestQEMU(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a machine")
	}
	exe, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Skipf("no QEMU: %v", err)
	}
	t.Parallel()
	p := testPaths(t)
	o, c := startProcess(t, p)
	lan := Network{
		Name: "lan", Key: "lan", MTU: 1500, CIDR: office, Uplink: true,
		Leases: []Lease{{MAC: "02:00:00:00:00:01", Addr: netip.MustParseAddr("10.20.0.10"), Name: "web"}},
	}
	if err := c.Set(t.Context(), lan); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd := exec.Command(exe, "-accel", "tcg", "-m", "64", "-nodefaults", "-display", "none", "-no-user-config", "-boot", "n",
		"-netdev", "stream,id=n0,server=on,addr.type=unix,addr.path="+filepath.Join(p.Folder("lan"), "web"),
		"-device", "virtio-net-pci,netdev=n0,mac=02:00:00:00:00:01",
		"-qmp", "unix:"+filepath.Join(p.Run, "qmp")+",server=on,wait=off")
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() {
		_ = cmd.Process.Kill()
		<-ended
	}()
	leased := func() {
		t.Helper()
		for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(50 * time.Millisecond) {
			s, err := c.Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if n := s.Networks[0]; len(n.Leases) == 1 && n.Leases[0].Addr == lan.Leases[0].Addr && n.Leases[0].Expires.After(time.Now().Add(30*time.Minute)) {
				t.Logf("after %v: %+v", time.Since(began).Round(time.Millisecond), n.Ports)
				return
			}
			select {
			case err := <-ended:
				ended <- err
				t.Fatalf("QEMU does not run (%v): %s", err, said.String())
			default:
			}
		}
		s, _ := c.Status(t.Context())
		t.Fatalf("waited a minute for a lease: %+v", s)
	}
	leased()
	if err := c.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := Start(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if err := c.Set(t.Context(), lan); err != nil {
		t.Fatal(err)
	}
	until(t, "QEMU is connected again", func() bool {
		s, err := c.Status(t.Context())
		return err == nil && len(s.Networks[0].Ports) == 1 && s.Networks[0].Ports[0].Connected
	})
	reset(t, filepath.Join(p.Run, "qmp"))
	leased()
}

// reset presses a machine's button, by QMP.
func reset(t *testing.T, path string) {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, `{"execute":"qmp_capabilities"}{"execute":"system_reset"}`); err != nil {
		t.Fatal(err)
	}
	var got []byte
	for b := make([]byte, 4096); bytes.Count(got, []byte(`"return"`)) < 2; {
		n, err := c.Read(b)
		if err != nil {
			t.Fatalf("%v after %s", err, got)
		}
		got = append(got, b[:n]...)
	}
}

package libvirttest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/labctl-dev/labctl/plugins/libvirt/libvirttest"
)

const network = `<network><name>lan</name><forward mode='nat'/><bridge name='labtest0'/>
<ip address='10.77.0.1' netmask='255.255.255.0'><dhcp><range start='10.77.0.10' end='10.77.0.20'/></dhcp></ip></network>`

// halted is a machine whose disk has no system: it costs nothing once started.
const halted = `<domain type='qemu'><name>d</name><memory unit='MiB'>32</memory><vcpu>1</vcpu><os><type arch='x86_64' machine='q35'>hvm</type></os>
<devices>NIC<serial type='pty'><log file='LOG'/></serial></devices></domain>`

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for dir := filepath.Dir(path); dir != "/tmp" && dir != "/"; dir = filepath.Dir(dir) {
		os.Chmod(dir, 0o755)
	}
	return path
}

func TestSystem(t *testing.T) {
	var dir string
	t.Run("host", func(t *testing.T) {
		d := libvirttest.Start(t, libvirttest.Config{})
		dir = d.Dir
		d.Virsh("net-create", file(t, "net.xml", network))
		d.Virsh("create", file(t, "d.xml", strings.NewReplacer("NIC", "<interface type='network'><source network='lan'/></interface>", "LOG", "/var/log/libvirt/d.log").Replace(halted)))
		if out, err := exec.Command("ip", "link", "show", "labtest0").CombinedOutput(); err == nil {
			t.Errorf("the bridge is on the real host:\n%s", out)
		}
		out, err := d.Command(t.Context(), "ip", "-br", "addr", "show", "labtest0").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "10.77.0.1/24") {
			t.Errorf("%v: %s", err, out)
		}
		if out, err := d.Command(t.Context(), "ls", "/dev/kvm").CombinedOutput(); err == nil {
			t.Errorf("there is %s", out)
		}
		if out, err := d.Command(t.Context(), "virsh", "-q", "-c", "qemu:///system", "list", "--name").CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "d" {
			t.Errorf("%v: %s", err, out)
		}
		d.Kill()
		d.Resume()
		if got := d.Virsh("list", "--name"); got != "d" {
			t.Errorf("after a crash there is %q, not d", got)
		}
		d.Virsh("destroy", "d")
	})
	if _, err := os.Stat(dir); dir != "" && err == nil {
		t.Errorf("%s is still there", dir)
	}
	if left := processes(dir); dir != "" && left != "" {
		t.Errorf("still running: %s", left)
	}
}

func TestWrap(t *testing.T) {
	d := libvirttest.Start(t, libvirttest.Config{})
	dir := t.TempDir()
	if err := d.Wrap(dir, "virsh"); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "virsh"), "-c", "qemu:///system", "net-define", "net.xml")
	cmd.Dir = filepath.Dir(file(t, "net.xml", network))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if got := d.Virsh("net-list", "--all", "--name"); got != "lan" {
		t.Errorf("networks: %q", got)
	}
}

func TestInside(t *testing.T) {
	libvirttest.Inside(t, libvirttest.Config{}, func(t *testing.T, d *libvirttest.Daemon) {
		t.Run("sub", func(t *testing.T) {
			d.Virsh("net-create", file(t, "net.xml", network))
			if out, err := exec.Command("ip", "link", "show", "labtest0").CombinedOutput(); err != nil {
				t.Errorf("not on the host: %s", out)
			}
			d.Kill()
			d.Resume()
		})
	})
}

func TestSession(t *testing.T) {
	d := libvirttest.Start(t, libvirttest.Config{Session: true})
	d.Virsh("create", file(t, "d.xml", strings.NewReplacer("NIC", "<interface type='user'/>", "LOG", d.Dir+"/home/d.log").Replace(halted)))
	out, err := d.Command(t.Context(), "virsh", "-q", "-c", "qemu:///session", "list", "--name").CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "d" {
		t.Errorf("%v: %s", err, out)
	}
	d.Kill()
	d.Resume()
	if got := d.Virsh("list", "--name"); got != "d" {
		t.Errorf("after a crash there is %q, not d", got)
	}
}

func TestInsideSession(t *testing.T) {
	libvirttest.Inside(t, libvirttest.Config{Session: true}, func(t *testing.T, d *libvirttest.Daemon) {
		if os.Getuid() == 0 {
			t.Error("a session is an ordinary user's")
		}
		d.Virsh("create", file(t, "d.xml", strings.NewReplacer("NIC", "", "LOG", d.Dir+"/home/d.log").Replace(halted)))
		d.Kill()
		d.Resume()
	})
}

func TestSmall(t *testing.T) {
	d := libvirttest.Start(t, libvirttest.Config{})
	dir := d.Small(t, "64k")
	d.Virsh("pool-create-as", "small", "dir", "--target", dir)
	out, err := d.Command(t.Context(), "virsh", "-c", "qemu:///system", "vol-create-as", "small", "v", "1M").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "No space left") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestDial(t *testing.T) {
	d := libvirttest.Start(t, libvirttest.Config{})
	d.SSHD(t)
	c, err := d.Dial(t.Context(), "tcp", "127.0.0.1:22")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := make([]byte, 8)
	if _, err := c.Read(b); err != nil || string(b) != "SSH-2.0-" {
		t.Errorf("%q, %v", b, err)
	}
}

// processes are the command lines that hold text.
func processes(text string) string {
	found := ""
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, l := range lines {
		if b, err := os.ReadFile(l); err == nil && strings.Contains(string(b), text) {
			found += strings.ReplaceAll(string(b), "\x00", " ") + "\n"
		}
	}
	return found
}

package guest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/access"
	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/guest/seediso"
	"github.com/labctl-dev/labctl/lab"
)

// bootImage finds an image built by labctl that offers its kernel: LABCTL_TEST_IMAGES names a folder of an image.Store,
// by default that of the tests of image.
func bootImage(t *testing.T) (dir, cmdline string) {
	t.Helper()
	store := os.Getenv("LABCTL_TEST_IMAGES")
	if store == "" {
		store = fmt.Sprintf("/tmp/labctl-test-images-%d", os.Getuid())
	}
	found, _ := filepath.Glob(store + "/*/image.json")
	for _, f := range found {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var i struct{ Kernel, Cmdline string }
		if json.Unmarshal(b, &i) == nil && i.Kernel != "" {
			return filepath.Dir(f), i.Cmdline
		}
	}
	t.Skipf("no image with a kernel in %s: run the tests of image first", store)
	return "", ""
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
	image, cmdline := bootImage(t)
	for _, p := range []string{"qemu-system-x86_64", "qemu-img"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skip(err)
		}
	}
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
	if out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", filepath.Join(image, "disk.qcow2"), root, "4G").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	v.port = free.Addr().String()
	free.Close()
	argv := []string{"-accel", "tcg,thread=multi,tb-size=256", "-machine", "q35", "-cpu", "max", "-smp", "2", "-m", "512M", "-nodefaults", "-display", "none",
		"-serial", "file:" + v.console, "-kernel", image + "/vmlinuz", "-append", cmdline + " tsc=reliable clocksource=tsc no_timer_check " + os.Getenv("LABCTL_TEST_CMDLINE"),
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

// shell is what the engine will do: a Shell on an access.Session.
type shell struct{ s *access.Session }

func (x shell) Run(ctx context.Context, cmd string, stdin io.Reader) (guest.Output, error) {
	out, errs, exit, err := x.s.Output(ctx, cmd, stdin)
	return guest.Output{Stdout: out, Stderr: errs, Exit: exit}, err
}

func bootLab() lab.Lab {
	return lab.Complete(lab.Lab{
		Name: "demo", Domain: "demo.lab",
		Networks: []lab.Network{{Name: "lan", Uplink: true, MTU: 1500}, {Name: "office", CIDR: netip.MustParsePrefix("10.20.0.0/24"), MTU: 1500}},
		Machines: []lab.Machine{
			{Name: "web", Ready: lab.Duration(10 * time.Minute), NICs: []lab.NIC{{Network: "lan", Link: lab.Up}, {Network: "office", Addr: netip.MustParseAddr("10.20.0.10"), Link: lab.Up}},
				Guest: lab.Guest{
					User:     "lab",
					Files:    []lab.File{{Path: "/etc/motd", Text: "hello\n", Mode: "0644", Owner: "root", Group: "root"}, {Path: "/etc/token", Secret: "token", Mode: "0600", Owner: "root", Group: "root"}},
					Commands: []lab.Command{{Name: "mark", Run: "date > /var/tmp/mark"}},
				}},
			{Name: "db", NICs: []lab.NIC{{Network: "office"}}, Guest: lab.Guest{User: "lab"}},
		},
	})
}

func seeds(t *testing.T, l lab.Lab, id access.Identity) map[string]lab.Seed {
	t.Helper()
	k := guest.Keys{Authorized: []string{id.Authorized("labctl")}, Host: map[string]guest.HostKey{}}
	for _, m := range l.Machines {
		private, public := id.HostKey(m.Name)
		k.Host[m.Name] = guest.HostKey{Private: private, Public: public}
	}
	s, err := guest.Seeds(l, k, map[string]string{"token": "s3cret"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestBoot is the whole of this room in a real machine.
func TestBoot(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a machine")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	id, err := access.LoadIdentity(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l := bootLab()
	seed := seeds(t, l, id)["web"]
	began := time.Now()
	since := func(what string) { t.Logf("%6.1fs %s", time.Since(began).Seconds(), what) }
	phase := ""
	progress := func(p string, done, total int64) {
		if p != phase {
			phase = p
			since(fmt.Sprintf("%s %d/%d", p, done, total))
		}
	}
	v := boot(t, l, id, seed)
	s := v.open(ctx)
	sh := shell{s}
	since("ssh, verified on the first connection")
	if err := guest.Converge(ctx, sh, seed, v.machine, progress); err != nil {
		t.Fatal(err)
	}
	since("first boot converged")
	ask := func(line string) string {
		t.Helper()
		out, errs, exit, err := s.Output(ctx, line, nil)
		if err != nil || exit != 0 {
			t.Errorf("%s: exit %d, %v: %s%s", line, exit, err, out, errs)
		}
		return strings.TrimSpace(string(out))
	}
	if os.Getenv("LABCTL_TEST_EXPLAIN") != "" {
		t.Log(ask("sudo cat /run/labctl/report.json /run/cloud-init/result.json; sudo tail -n 30 /var/log/cloud-init-output.log; networkctl --no-pager status -a; ls -la /etc/systemd/network /etc/netplan /etc/ssh /etc/resolv.conf; cat /etc/hosts; systemd-analyze --no-pager; systemd-analyze --no-pager blame | head -20; systemctl --no-pager --failed; ls -la /etc/labctl /usr/local/lib/labctl; sudo -l; id"))
	}
	for line, want := range map[string]string{
		"hostname -f":                        "web.demo.lab",
		"cat /etc/motd; sudo cat /etc/token": "hello\ns3cret",
		"sudo stat -c '%a %U' /etc/labctl/guest.json /etc/token":   "600 root\n600 root",
		"getent hosts db.demo.lab | tr -s ' '":                     netipOf(t, l, "db").String() + " db.demo.lab db",
		"ls /etc/ssh | grep host":                                  "ssh_host_ed25519_key\nssh_host_ed25519_key.pub",
		"sudo ls /etc/systemd/network | grep -c 05-labctl || true": "0", // cloud-init's own configuration was good enough
		"ip -o -4 addr show scope global | wc -l":                  "2",
		"ip -o -6 addr show scope link | wc -l":                    "2",
		"sudo passwd -S lab | cut -d' ' -f2":                       "L",
	} {
		if got := ask(line); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
	bootID, mark := ask("cat /proc/sys/kernel/random/boot_id"), ask("cat /var/tmp/mark")
	since("looked around")

	if d, err := guest.Check(ctx, sh, seed, v.machine); err != nil || len(d) != 0 {
		t.Errorf("check of a machine as it should be: %v %v", d, err)
	}
	since("checked")
	ask("echo by hand | sudo tee -a /etc/motd; sudo sed -i '/labctl begin/,/labctl end/d' /etc/hosts; sudo ip addr del 10.20.0.10/24 dev $(ip -o addr | awk '/10.20.0.10/ {print $2}')")
	d, err := guest.Check(ctx, sh, seed, v.machine)
	want := []guest.Difference{{Item: "hosts", What: "the lab's block of /etc/hosts"}, {Item: "network office", What: "address 10.20.0.10/24 is missing"}, {Item: "file /etc/motd", What: "content"}}
	if err != nil || !slices.Equal(d, want) {
		t.Errorf("check after changes by hand: %v %v", d, err)
	}
	since("found what was changed by hand")

	// A new document: another file, another address, the same boot.
	l.Machines[slices.IndexFunc(l.Machines, func(m lab.Machine) bool { return m.Name == "web" })] = func() lab.Machine {
		m, _ := l.Machine("web")
		m.NICs = slices.Clone(m.NICs)
		m.NICs[1].Addr = netip.MustParseAddr("10.20.0.77")
		m.Guest.Files = []lab.File{{Path: "/etc/issue.net", Text: "new\n", Mode: "0644", Owner: "root", Group: "root"}, m.Guest.Files[1]}
		m.Guest.Units = []lab.Unit{{Name: "cron-that-is-not", Enabled: false, Running: false}, {Name: "ssh", Enabled: true, Running: true}}
		v.machine = m
		return m
	}()
	second := seeds(t, l, id)["web"]
	if second.Digest == seed.Digest {
		t.Error("the digest did not change")
	}
	if err := guest.Converge(ctx, sh, second, v.machine, progress); err != nil {
		t.Fatal(err)
	}
	since("converged to a new document")
	for line, want := range map[string]string{
		"cat /proc/sys/kernel/random/boot_id":           bootID,
		"cat /var/tmp/mark":                             mark,
		"ls /etc/motd 2>/dev/null || true":              "",
		"cat /etc/issue.net":                            "new",
		"ip -o -4 addr show | awk '/10.20/ {print $4}'": "10.20.0.77/24",
	} {
		if got := ask(line); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
	if d, err := guest.Check(ctx, sh, second, v.machine); err != nil || len(d) != 0 {
		t.Errorf("check after the new document: %v %v", d, err)
	}
	since("checked again")
	if err := guest.Converge(ctx, sh, second, v.machine, progress); err != nil {
		t.Error(err)
	}
	since("converged again, nothing to do")

	// A document that cannot be made true says why.
	m := v.machine
	m.Guest.Commands = append(m.Guest.Commands, lab.Command{Name: "bad", Run: "echo the reason; exit 7"})
	l.Machines[slices.IndexFunc(l.Machines, func(m lab.Machine) bool { return m.Name == "web" })] = m
	err = guest.Converge(ctx, sh, seeds(t, l, id)["web"], m, progress)
	if err == nil || !strings.Contains(err.Error(), "web: command bad: command failed: exit status 7") || !strings.Contains(err.Error(), "the reason") {
		t.Errorf("%v", err)
	}
	since("failed as it should")
}

func netipOf(t *testing.T, l lab.Lab, name string) netip.Addr {
	t.Helper()
	m, _ := l.Machine(name)
	return m.NICs[0].Addr
}

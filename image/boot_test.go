package image_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/image"
)

// shared is the store that all rooms' tests use, so that an image is built once. Building and booting take minutes:
// they run in CI and when asked for.
func shared(t *testing.T) image.Store {
	if testing.Short() {
		t.Skip("builds and boots an image, which takes minutes")
	}
	dir := os.Getenv("LABCTL_TEST_IMAGES")
	if dir == "" {
		dir = fmt.Sprintf("/tmp/labctl-test-images-%d", os.Getuid())
	}
	return image.Store{Dir: dir}
}

// TestBuildInterrupted gives up in the middle of installing packages: nothing runs on, nothing is left.
func TestBuildInterrupted(t *testing.T) {
	shared(t)
	s := image.Store{Dir: t.TempDir()}
	ctx, cancel := context.WithCancel(context.Background())
	_, err := s.Ensure(ctx, build(), func(phase string, _, _ int64) {
		if strings.Contains(phase, "extracting") {
			cancel()
		}
	})
	if image.CodeOf(err) != image.Canceled {
		t.Fatalf("got %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(s.Dir, ".work-*")); len(left) > 0 {
		t.Errorf("left: %s", left)
	}
	if out, err := exec.Command("pgrep", "-f", s.Dir).Output(); err == nil {
		t.Errorf("still running: %s", out)
	}
}

// TestBoot starts the built image in each way that a machine can start, with its root on the disks that its drivers
// are in different places for, and waits for cloud-init.
func TestBoot(t *testing.T) {
	s := shared(t)
	l, err := s.Ensure(context.Background(), build(), func(phase string, _, _ int64) {
		if phase != "verifying" {
			t.Log(phase)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if l.Kernel == "" || l.Initrd != "" || l.Cmdline == "" {
		t.Errorf("Debian 12's kernel needs no initrd: %+v", l)
	}
	const code, vars = "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"
	for _, test := range []struct {
		name string
		args func(dir string) []string
	}{
		{"kernel", func(string) []string {
			return append([]string{"-kernel", l.Kernel, "-append", l.Cmdline}, disks("nvme")...)
		}},
		{"bios", func(string) []string { return disks("virtio-blk-pci") }},
		{"uefi", func(dir string) []string {
			b, err := os.ReadFile(vars)
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, "vars.fd"), b, 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
			return append([]string{"-drive", "if=pflash,format=raw,readonly=on,file=" + code, "-drive", "if=pflash,format=raw,file=vars.fd"}, disks("virtio-blk-pci")...)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			boot(t, l, test.args)
		})
	}
}

func disks(driver string) []string {
	return []string{
		"-drive", "if=none,id=root,file=root.qcow2,format=qcow2,cache=unsafe", "-device", driver + ",drive=root,serial=root,bootindex=1",
		"-drive", "if=none,id=seed,file=seed.img,format=raw,readonly=on", "-device", driver + ",drive=seed,serial=seed",
	}
}

const userData = `#cloud-config
users: [{name: lab, lock_passwd: true, sudo: "ALL=(ALL) NOPASSWD:ALL"}]
write_files: [{path: /etc/labctl/probe, content: written}]
runcmd:
- - sh
  - -c
  - >-
    echo "UP $(cat /etc/labctl/probe) $(id -un lab) $(hostname) $(df -BM --output=size / | tail -1 | tr -d ' ')
    $(systemctl is-active ssh) $(ip -4 -br addr show scope global | awk '{print $3}') $(systemctl --failed --no-legend | wc -l)
    $(test -d /sys/firmware/efi && echo efi)." > /dev/ttyS0
`

// boot waits until the machine says on its console what it has become.
func boot(t *testing.T, l image.Local, args func(string) []string) {
	dir := t.TempDir()
	run := func(name string, args ...string) {
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
	}
	for name, text := range map[string]string{
		"user-data": userData, "meta-data": "instance-id: one\nlocal-hostname: web\n",
		"network-config": "version: 2\nethernets: {lan: {match: {macaddress: \"52:54:00:00:00:01\"}, dhcp4: true}}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run("mformat", "-i", "seed.img", "-C", "-T", "2880", "-h", "2", "-s", "18", "-v", "CIDATA", "::")
	run("mcopy", "-i", "seed.img", "user-data", "meta-data", "network-config", "::")
	run("qemu-img", "create", "-q", "-f", "qcow2", "-b", l.Disk, "-F", l.Format, "root.qcow2", "3G")
	cmd := exec.Command("qemu-system-x86_64", append([]string{
		"-nodefaults", "-display", "none", "-no-reboot", "-machine", "q35", "-cpu", "max", "-accel", "tcg,thread=multi,tb-size=256",
		"-smp", "2", "-m", "512", "-serial", "file:console.log",
		"-netdev", "user,id=lan", "-device", "virtio-net-pci,netdev=lan,mac=52:54:00:00:00:01,romfile=",
	}, args(dir)...)...)
	cmd.Dir = dir
	start := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	var console string
	for time.Since(start) < 15*time.Minute { // a busy machine is ten times slower than a quiet one
		time.Sleep(250 * time.Millisecond)
		b, _ := os.ReadFile(filepath.Join(dir, "console.log"))
		console = string(b)
		_, rest, _ := strings.Cut(console, "UP written ")
		if said, _, whole := strings.Cut(rest, "\n"); whole {
			t.Logf("after %s: %s", time.Since(start).Round(time.Second/10), said)
			judge(t, strings.Fields(said))
			return
		}
	}
	t.Fatalf("not up after %s; its console ends with:\n%s", time.Since(start).Round(time.Second), console[max(0, len(console)-3000):])
}

// judge reads "lab web 2900M active 10.0.2.15/24 0 efi.".
func judge(t *testing.T, f []string) {
	if len(f) < 6 || f[0] != "lab" || f[1] != "web" || f[3] != "active" || !strings.HasPrefix(f[4], "10.0.2.") || f[5] != "0" {
		t.Errorf("the machine says %q; want user, hostname, size, ssh active, address, no failed units", f)
		return
	}
	var size int
	if _, err := fmt.Sscanf(f[2], "%dM", &size); err != nil || size < 2800 {
		t.Errorf("the root file system has %s; want it grown to its disk of 3 GiB", f[2])
	}
	if efi := strings.HasPrefix(f[len(f)-1], "efi"); efi != strings.HasSuffix(t.Name(), "uefi") {
		t.Errorf("started by EFI: %v", efi)
	}
}

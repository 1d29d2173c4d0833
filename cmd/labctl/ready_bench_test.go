package main_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/access"
)

const readyLab = `
name: "ready"
networks: lan: uplink: true
servers: web: {nics: lan: {}, memory: "512MiB", image: "debian-12-minimal"}
targets: local: provider: "qemu"
`

// BenchmarkReady is what labctl adds to a boot: the time of `labctl apply` for one machine, which ends when its guest
// is converged, beside that of bare QEMU with the same kernel, image and seed until cloud-init says it is done. They
// take turns, each at least twice. Goal: a ratio of at most 1.1.
func BenchmarkReady(b *testing.B) {
	home, spec := readyHome(b)
	run := func(args ...string) {
		cmd := exec.Command("labctl", args...)
		cmd.Env = append(os.Environ(), "LABCTL_HOME="+home, "LABCTL_ACCEL=tcg")
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("labctl %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	b.Cleanup(func() { run("destroy", spec) })
	var ours, bare time.Duration
	for i := 0; i < max(2, b.N); i++ {
		start := time.Now()
		run("apply", spec)
		ours += time.Since(start)
		boot := readBare(b, home)
		if i+1 == max(2, b.N) {
			run("stop", spec)
		} else {
			run("destroy", spec)
		}
		bare += boot.run(b)
	}
	b.ReportMetric(0, "ns/op")
	n := float64(max(2, b.N))
	b.ReportMetric(ours.Seconds()/n, "s/apply")
	b.ReportMetric(bare.Seconds()/n, "s/bare-boot")
	b.ReportMetric(ours.Seconds()/bare.Seconds(), "x-bare")
}

// readyHome is a LABCTL_HOME with the shared images, and a lab of one machine.
func readyHome(b *testing.B) (home, spec string) {
	images := os.Getenv("LABCTL_TEST_IMAGES")
	if images == "" {
		b.Skip("LABCTL_TEST_IMAGES is not set: make bench sets it")
	}
	home = b.TempDir()
	if err := os.Symlink(images, filepath.Join(home, "images")); err != nil {
		b.Fatal(err)
	}
	spec = filepath.Join(home, "ready.cue")
	if err := os.WriteFile(spec, []byte(readyLab), 0o644); err != nil {
		b.Fatal(err)
	}
	return home, spec
}

// bareBoot is what a bare QEMU needs to boot as the machine web of readyLab did.
type bareBoot struct {
	dir, kernel, words, base string
	mac                      string
	id                       access.Identity
}

// readBare takes over what labctl's own QEMU runs with.
func readBare(b *testing.B, home string) bareBoot {
	target := filepath.Join(home, "labs/ready/targets/local")
	id, err := access.LoadIdentity(filepath.Join(home, "labs/ready/secrets"))
	if err != nil {
		b.Fatal(err)
	}
	boot := bareBoot{dir: b.TempDir(), id: id}
	pid, err := exec.Command("pgrep", "-f", "guest=ready/web.*"+home).Output()
	if err != nil {
		b.Fatalf("no QEMU of machine web: %v", err)
	}
	line, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/cmdline")
	if err != nil {
		b.Fatal(err)
	}
	args := strings.Split(string(line), "\x00")
	for i, a := range args {
		switch {
		case a == "-kernel":
			boot.kernel = args[i+1]
		case a == "-append":
			boot.words = args[i+1]
		case strings.Contains(a, `"mac":"`):
			_, rest, _ := strings.Cut(a, `"mac":"`)
			boot.mac = rest[:17]
		}
	}
	boot.base = filepath.Join(filepath.Dir(boot.kernel), "disk.qcow2")
	seed, err := os.ReadFile(filepath.Join(target, "machines/web/seed.iso"))
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(boot.dir, "seed.iso"), seed, 0o600); err != nil {
		b.Fatal(err)
	}
	return boot
}

// run boots and returns how long it took until cloud-init was done.
func (boot bareBoot) run(b *testing.B) time.Duration {
	ctx, cancel := context.WithTimeout(b.Context(), 15*time.Minute)
	defer cancel()
	disk := filepath.Join(boot.dir, "root.qcow2")
	if out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", boot.base, disk, "8G").CombinedOutput(); err != nil {
		b.Fatalf("qemu-img: %v\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	start := time.Now()
	vm := exec.CommandContext(ctx, "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none",
		"-machine", "q35", "-accel", "tcg,thread=multi,tb-size=256", "-cpu", "max,la57=off", "-smp", "1,maxcpus=2", "-m", "512M", // as plugins/qemu does: or a disk may hang
		"-kernel", boot.kernel, "-append", boot.words, "-device", "virtio-rng-pci",
		"-device", "nvme,id=nvme,serial=bare",
		"-drive", "if=none,id=root,format=qcow2,file="+disk, "-device", "nvme-ns,bus=nvme,drive=root,nsid=1",
		"-drive", "if=none,id=seed,format=raw,readonly=on,file="+filepath.Join(boot.dir, "seed.iso"), "-device", "nvme-ns,bus=nvme,drive=seed,nsid=2",
		"-netdev", fmt.Sprintf("user,id=net,hostfwd=tcp:127.0.0.1:%d-:22", port), "-device", "virtio-net-pci,netdev=net,mac="+boot.mac)
	if err := vm.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() { vm.Process.Kill(); vm.Wait() }()
	s, err := access.Open(ctx, access.Options{
		Machine: "bare", User: "lab", Identity: boot.id, HostKey: boot.id.HostPublic("web"),
		Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Run(ctx, access.Command{Line: "until test -e /run/cloud-init/result.json; do sleep 0.3; done"}); err != nil {
		b.Fatal(err)
	}
	return time.Since(start)
}

package install_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/guest/seediso"
	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/install"
	"github.com/labctl-dev/labctl/lab"
)

// TestBoot installs a real image with a real kernel by the program itself, and lets the disk boot: by BIOS and by UEFI,
// with the disk empty and on two kinds of controllers. Only with LABCTL_E2E: testdata/scripts/qemu_netboot.txtar shows
// the same by BIOS, with labctl's own server.
func TestBoot(t *testing.T) {
	if testing.Short() {
		t.Skip("installs and boots machines, which takes minutes")
	}
	if os.Getenv("LABCTL_E2E") == "" {
		return // not skipped: that would fail in CI
	}
	p := newProvisioner(t)
	for _, c := range []struct{ firmware, disk string }{{"bios", "virtio-blk-pci"}, {"uefi", "nvme"}} {
		t.Run(c.firmware, func(t *testing.T) {
			t.Parallel()
			m := p.machine(t, c.firmware, c.disk)
			m.install()
			m.boots()
		})
	}
}

// provisioner serves an image, and orders and seeds of machines, and keeps what they report.
type provisioner struct {
	addr  string
	files map[string][]byte // small ones
	image string
	boot  image.Netboot
	order install.Image

	mu      sync.Mutex
	reports map[string][]install.Report
}

func newProvisioner(t *testing.T) *provisioner {
	dir := t.TempDir()
	p := &provisioner{files: map[string][]byte{}, reports: map[string][]install.Report{}, image: filepath.Join(dir, "disk.zst")}
	store := image.Store{Dir: os.Getenv("LABCTL_TEST_IMAGES")}
	if store.Dir == "" {
		store.Dir = fmt.Sprintf("/tmp/labctl-test-images-%d", os.Getuid())
	}
	local, err := store.Ensure(t.Context(), lab.Image{Name: "debian-12-minimal", Arch: lab.AMD64, Kernel: true, MinDisk: lab.GiB,
		Build: &lab.Build{Distribution: "debian", Release: "bookworm"}}, func(string, int64, int64) {})
	if err != nil {
		t.Fatal(err)
	}
	raw := filepath.Join(dir, "disk.raw")
	run(t, dir, "qemu-img", "convert", "-O", "raw", local.Disk, raw)
	run(t, dir, "zstd", "-q", "-3", raw, "-o", p.image)
	if err := os.Remove(raw); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(p.image)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.addr = fmt.Sprintf("10.0.2.2:%d", l.Addr().(*net.TCPAddr).Port) // this host, as QEMU's user network has it
	sum := sha256.Sum256(b)
	p.order = install.Image{Source: install.Source{URL: "http://" + p.addr + "/image", SHA256: hex.EncodeToString(sum[:]), Length: int64(len(b))}, Format: install.Zstd, Size: int64(local.Size)}
	srv := &http.Server{Handler: p}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })

	program := filepath.Join(dir, "labctl-install")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, "../cmd/labctl-install")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	installer, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	made := filepath.Join(dir, "netboot")
	if err := os.Mkdir(made, 0o755); err != nil {
		t.Fatal(err)
	}
	if p.boot, err = image.MakeNetboot(t.Context(), made, lab.AMD64, "bookworm", installer, func(string, int64, int64) {}); err != nil {
		t.Fatal(err)
	}
	return p
}

// ServeHTTP implements http.Handler.
func (p *provisioner) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if name, ok := strings.CutSuffix(r.URL.Path, "/report"); ok {
		var x install.Report
		if err := json.NewDecoder(r.Body).Decode(&x); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.reports[name] = append(p.reports[name], x)
		return
	}
	if r.URL.Path == "/image" {
		http.ServeFile(w, r, p.image)
		return
	}
	p.mu.Lock()
	b, ok := p.files[r.URL.Path]
	p.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

// machine is a target with an empty disk.
type machine struct {
	t              *testing.T
	p              *provisioner
	dir, name      string
	firmware, disk string
}

const mac = "52:54:00:00:00:01"

func (p *provisioner) machine(t *testing.T, firmware, disk string) *machine {
	m := &machine{t: t, p: p, dir: t.TempDir(), name: "target-" + firmware, firmware: firmware, disk: disk}
	run(t, m.dir, "qemu-img", "create", "-q", "-f", "qcow2", "root.qcow2", "5G")
	seed := lab.Seed{Machine: m.name, MetaData: []byte("instance-id: one\nlocal-hostname: " + m.name + "\n"),
		UserData:      []byte("#cloud-config\nruncmd:\n- echo \"UP $(hostname) $(cat /sys/class/block/vda1/size /sys/class/block/nvme0n1p1/size 2>/dev/null | head -1) $(test -d /sys/firmware/efi && echo uefi || echo bios).\" > /dev/ttyS0\n"),
		NetworkConfig: []byte("version: 2\nethernets: {lan: {match: {macaddress: \"" + mac + "\"}, dhcp4: true}}\n")}
	var iso bytes.Buffer
	if err := seediso.Write(&iso, seed); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(iso.Bytes())
	o := install.Order{Version: install.OrderVersion, Machine: m.name, Disk: install.Disk{Serial: "root"}, Image: p.order,
		Seed: install.Source{URL: "http://" + p.addr + "/" + m.name + "/seed", SHA256: hex.EncodeToString(sum[:]), Length: int64(iso.Len())}}
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.files["/"+m.name+"/seed"], p.files["/"+m.name+"/order"] = iso.Bytes(), b
	return m
}

// install boots the installer, which ends by restarting the machine.
func (m *machine) install() {
	m.t.Helper()
	line := fmt.Sprintf("%s labctl.install=http://%s/%s labctl.mac=%s", m.p.boot.Cmdline, m.p.addr, m.name, mac)
	console := m.qemu("install.log", func(string) bool { return false }, "-kernel", m.p.boot.Kernel, "-initrd", m.p.boot.Initrd, "-append", line)
	m.p.mu.Lock()
	defer m.p.mu.Unlock()
	all := m.p.reports["/"+m.name]
	if len(all) == 0 || !all[len(all)-1].Done {
		m.t.Fatalf("%s was not installed: %+v\n%s", m.name, all, console)
	}
	seen := map[install.Phase]bool{}
	for _, r := range all {
		seen[r.Phase] = true
	}
	if len(seen) != len(install.Phases())-1 { // nobody can be told before there is a network
		m.t.Errorf("%s reports %v", m.name, seen)
	}
}

// boots starts the machine from its disk and waits until it has taken its seed.
func (m *machine) boots() {
	m.t.Helper()
	console := m.qemu("boot.log", func(console string) bool { return strings.Contains(console, "UP "+m.name) })
	_, rest, _ := strings.Cut(console, "UP ")
	up, _, _ := strings.Cut(rest, ".")
	var size int
	if _, err := fmt.Sscanf(up, m.name+" %d "+m.firmware, &size); err != nil || size < 4800<<11 { // the file system in it is the image's to grow
		m.t.Errorf("%s is up as %q; its root partition should have grown to about 4.9 GiB", m.name, up)
	}
}

// qemu runs the machine until it restarts or the console says what is waited for.
func (m *machine) qemu(log string, enough func(console string) bool, args ...string) string {
	m.t.Helper()
	args = append(args, "-nodefaults", "-display", "none", "-no-reboot", "-machine", "q35", "-cpu", "max", "-accel", "tcg,thread=multi,tb-size=256",
		"-smp", "2", "-m", "512", "-serial", "file:"+log, "-netdev", "user,id=lan", "-device", "virtio-net-pci,netdev=lan,mac="+mac+",romfile=",
		"-drive", "if=none,id=root,file=root.qcow2,format=qcow2,cache=unsafe,discard=unmap", "-device", m.disk+",drive=root,serial=root,bootindex=1")
	if m.firmware == "uefi" {
		vars := filepath.Join(m.dir, "vars.fd")
		if _, err := os.Stat(vars); err != nil {
			run(m.t, m.dir, "cp", "/usr/share/OVMF/OVMF_VARS_4M.fd", vars)
		}
		args = append(args, "-drive", "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd", "-drive", "if=pflash,format=raw,file=vars.fd")
	}
	const deadline = 20 * time.Minute
	ctx, cancel := context.WithTimeout(m.t.Context(), deadline)
	defer cancel()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", args...)
	cmd.Dir = m.dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	file := filepath.Join(m.dir, log)
	console := func() string { b, _ := os.ReadFile(file); return string(b) }
	for {
		select {
		case err := <-ended:
			if err != nil {
				m.t.Fatalf("QEMU: %v, after at most %s\n%s\n%s", err, deadline, &stderr, console())
			}
			return console()
		case <-time.After(500 * time.Millisecond):
			if enough(console()) {
				cancel()
				<-ended
				return console()
			}
		}
	}
}

func run(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

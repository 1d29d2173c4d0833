package qemu

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider/files"
)

// probeDeadline is how long the tiny guest may take; where the hardware works it takes a tenth of a second.
const probeDeadline = 5 * time.Second

// exitCode is QEMU's own when the tiny guest writes probeValue to isa-debug-exit: value*2+1.
const (
	probeValue = 0x21
	exitCode   = probeValue<<1 | 1
)

// accelerator chooses how machines of an architecture run, and says why. That /dev/kvm is there proves nothing: on
// some hosts every guest hangs with it. So a tiny guest must run to its end first.
func (q *qemu) accelerator(ctx context.Context, bin string, arch lab.Arch) (accel, why string) {
	want := map[string]string{"linux": accelKVM, "darwin": accelHVF}[runtime.GOOS]
	switch {
	case q.opts.Accel != "auto":
		return q.opts.Accel, "asked for"
	case arch != native():
		return accelTCG, fmt.Sprintf("the host is %s, the machine %s", native(), arch)
	case want == "":
		return accelTCG, "no hardware acceleration is known for " + runtime.GOOS
	case want == accelKVM && !writable("/dev/kvm"):
		return accelTCG, "/dev/kvm is missing or not writable for this user"
	}
	cached := q.probeFile(bin, want)
	var answer probeAnswer
	if b, err := os.ReadFile(cached); err == nil && json.Unmarshal(b, &answer) == nil && answer.Accel != "" {
		return answer.Accel, answer.Why
	}
	answer = probe(ctx, bin, arch, want)
	if b, err := json.Marshal(answer); err == nil && ctx.Err() == nil && os.MkdirAll(filepath.Dir(cached), 0o755) == nil {
		_ = files.Write(cached, b, 0o644) // only saves time
	}
	return answer.Accel, answer.Why
}

type probeAnswer struct {
	Accel string `json:"accel"`
	Why   string `json:"why"`
}

// probe starts a guest that does nothing but say that it runs.
func probe(ctx context.Context, bin string, arch lab.Arch, accel string) probeAnswer {
	dir, err := os.MkdirTemp("", "labctl-probe-")
	if err != nil {
		return probeAnswer{accelTCG, err.Error()}
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(ctx, probeDeadline)
	defer cancel()
	args, ok, err := probeGuest(dir, arch, accel)
	if err != nil {
		return probeAnswer{accelTCG, err.Error()}
	}
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.WaitDelay = 2 * time.Second // a process stuck in the kernel is left to it
	out, err := cmd.CombinedOutput()
	switch {
	case ctx.Err() != nil:
		return probeAnswer{accelTCG, fmt.Sprintf("%s is there, but a test guest did not run within %s", accel, probeDeadline)}
	case ok(cmd.ProcessState.ExitCode()):
		return probeAnswer{accel, "a test guest ran"}
	}
	return probeAnswer{accelTCG, fmt.Sprintf("%s is there, but a test guest failed: %v %s", accel, err, lastLines(string(out), 1))}
}

// probeGuest writes the guest and returns the command line that runs it, and which exit codes mean success.
func probeGuest(dir string, arch lab.Arch, accel string) ([]string, func(int) bool, error) {
	common := []string{"-nodefaults", "-no-user-config", "-display", "none", "-accel", accel, "-cpu", "host", "-m", "16M", "-no-reboot"}
	if arch == lab.ARM64 {
		// hvc with PSCI SYSTEM_OFF (0x84000008): movz w0,#8; movk w0,#0x8400,lsl #16; hvc #0; b .
		code := []byte{0x00, 0x01, 0x80, 0x52, 0x00, 0x80, 0xb0, 0x72, 0x02, 0x00, 0x00, 0xd4, 0x00, 0x00, 0x00, 0x14}
		path := filepath.Join(dir, "off.bin")
		args := append(common, "-machine", "virt", "-device", "loader,file="+comma(path)+",addr=0x40000000,force-raw=on", "-device", "loader,addr=0x40000000,cpu-num=0")
		return args, func(c int) bool { return c == 0 }, os.WriteFile(path, code, 0o600)
	}
	// Instead of firmware, code at the processor's first instruction, 16 bytes below the end:
	// mov al, probeValue; out 0xf4, al; cli; hlt; jmp hlt
	bios := make([]byte, 64<<10)
	copy(bios[len(bios)-16:], []byte{0xb0, probeValue, 0xe6, 0xf4, 0xfa, 0xf4, 0xeb, 0xfd})
	path := filepath.Join(dir, "bios.bin")
	args := append(common, "-machine", "q35", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x01", "-bios", path)
	return args, func(c int) bool { return c == exitCode }, os.WriteFile(path, bios, 0o600)
}

// probeFile is where an answer is remembered: until the next boot of this host, or another QEMU.
func (q *qemu) probeFile(bin, accel string) string {
	id := bootID()
	if st, err := os.Stat(bin); err == nil {
		id += fmt.Sprint(st.Size(), st.ModTime().UnixNano())
	}
	return filepath.Join(q.home, "cache", "qemu-accel-"+key(bin+"\x00"+accel+"\x00"+id)+".json")
}

func bootID() string {
	if b, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		return strings.TrimSpace(string(b))
	}
	if out, err := exec.Command("sysctl", "-n", "kern.boottime").Output(); err == nil {
		return strings.TrimSpace(string(out))
	}
	return ""
}

func writable(path string) bool {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err == nil {
		f.Close()
	}
	return err == nil
}

package qemu

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// host finds out what a machine of an architecture is started with here; once for each provider.
func (q *qemu) host(ctx context.Context, arch lab.Arch) (host, error) {
	q.mu.Lock()
	h, ok := q.hosts[string(arch)]
	q.mu.Unlock()
	if ok {
		return h, nil
	}
	bin, err := q.binary(emulator(arch))
	if err != nil {
		return host{}, err
	}
	v, err := versionOf(ctx, bin)
	if err != nil {
		return host{}, err
	}
	if !v.least(7, 2) {
		return host{}, &provider.Error{Code: provider.Unsupported, Text: fmt.Sprintf("%s is version %s; networks need at least 7.2", bin, v)}
	}
	h = host{Binary: bin, Version: v, CPU: q.opts.CPU}
	h.Accel, h.Why = q.accelerator(ctx, bin, arch)
	h.Code, h.Vars = q.efi(arch)
	if err := ctx.Err(); err != nil {
		return host{}, err // the accelerator may look broken only because nobody waited for it
	}
	q.mu.Lock()
	q.hosts[string(arch)] = h
	q.mu.Unlock()
	return h, nil
}

func emulator(arch lab.Arch) string {
	if arch == lab.ARM64 {
		return "qemu-system-aarch64"
	}
	return "qemu-system-x86_64"
}

// binary finds a program of QEMU: in the target's prefix, else on PATH.
func (q *qemu) binary(name string) (string, error) {
	look := name
	if q.opts.QEMU != "" {
		look = filepath.Join(q.opts.QEMU, "bin", name)
	}
	path, err := exec.LookPath(look)
	if err != nil {
		return "", &provider.Error{Code: provider.Missing, Text: name}
	}
	return path, nil
}

func versionOf(ctx context.Context, bin string) (version, error) {
	out, err := run(ctx, bin, "-version")
	if err != nil {
		return version{}, err
	}
	m := regexp.MustCompile(`version (\d+)\.(\d+)`).FindStringSubmatch(out)
	if m == nil {
		return version{}, &provider.Error{Code: provider.Unsupported, Text: fmt.Sprintf("%s tells no version: %.60q", bin, out)}
	}
	major, _ := strconv.Atoi(m[1])
	minor, _ := strconv.Atoi(m[2])
	return version{major, minor}, nil
}

// firmwarePaths are where distributions put UEFI and the template of its variables, best first.
func firmwarePaths(arch lab.Arch, prefix string) [][2]string {
	share := []string{"/opt/homebrew/share/qemu", "/usr/local/share/qemu", "/usr/share/qemu"}
	if prefix != "" {
		share = append([]string{filepath.Join(prefix, "share/qemu")}, share...)
	}
	var own [][2]string
	for _, s := range share { // what QEMU itself brings, the way brew installs it
		if arch == lab.ARM64 {
			own = append(own, [2]string{s + "/edk2-aarch64-code.fd", s + "/edk2-arm-vars.fd"})
		} else {
			own = append(own, [2]string{s + "/edk2-x86_64-code.fd", s + "/edk2-i386-vars.fd"})
		}
	}
	if arch == lab.ARM64 {
		return append([][2]string{
			{"/usr/share/AAVMF/AAVMF_CODE.no-secboot.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"},
			{"/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"},
			{"/usr/share/edk2/aarch64/QEMU_EFI-pflash.raw", "/usr/share/edk2/aarch64/vars-template-pflash.raw"}, // Fedora
			{"/usr/share/edk2/aarch64/QEMU_CODE.fd", "/usr/share/edk2/aarch64/QEMU_VARS.fd"},                    // Arch
		}, own...)
	}
	return append([][2]string{
		{"/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"},
		{"/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"},
		{"/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"},
		{"/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"},
	}, own...)
}

// efi is the first UEFI firmware that is installed; empty if there is none.
func (q *qemu) efi(arch lab.Arch) (code, vars string) {
	for _, p := range firmwarePaths(arch, q.opts.QEMU) {
		if exists(p[0]) && exists(p[1]) {
			return p[0], p[1]
		}
	}
	return "", ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// native is this host's architecture in Debian's terms.
func native() lab.Arch { return lab.Arch(runtime.GOARCH) }

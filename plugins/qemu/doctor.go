package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// Doctor implements provider.Doctor.
func (q *qemu) Doctor(ctx context.Context) ([]provider.Diagnosis, error) {
	ds := []provider.Diagnosis{}
	for _, arch := range []lab.Arch{lab.AMD64, lab.ARM64} {
		ds = append(ds, q.diagnoseArch(ctx, arch)...)
	}
	ds = append(ds, q.diagnoseProgram("qemu-img", "disks", "qemu-utils", provider.Broken))
	ds = append(ds, q.diagnoseFolders()...)
	ds = append(ds, q.diagnoseNetwork()...)
	if runtime.GOOS == "linux" {
		for _, tool := range []struct{ program, pkg string }{{"mmdebstrap", "mmdebstrap"}, {"mke2fs", "e2fsprogs"}, {"mcopy", "mtools"}, {"grub-mkimage", "grub-common"}} {
			ds = append(ds, q.diagnoseProgram(tool.program, "building images", tool.pkg, provider.Warning))
		}
	}
	return ds, ctx.Err()
}

// install is the command that installs a package, by its name in Debian and in Homebrew.
func install(debian, brew string) string {
	switch {
	case runtime.GOOS == "darwin" && brew != "":
		return "brew install " + brew
	case runtime.GOOS == "darwin":
		return ""
	case os.Getuid() == 0:
		return "apt-get install -y " + debian
	}
	return "sudo apt-get install -y " + debian
}

// diagnoseArch is about QEMU, its accelerator and its firmware for one architecture. The host's own is needed.
func (q *qemu) diagnoseArch(ctx context.Context, arch lab.Arch) []provider.Diagnosis {
	bad := provider.Broken
	if arch != native() {
		bad = provider.Warning
	}
	name := emulator(arch)
	pkg := map[lab.Arch]string{lab.AMD64: "qemu-system-x86", lab.ARM64: "qemu-system-arm"}[arch]
	h, err := q.host(ctx, arch)
	if err != nil {
		d := provider.Diagnosis{Name: name, Status: bad, Detail: err.Error(), Fix: install(pkg, "qemu")}
		var e *provider.Error
		if errors.As(err, &e) && e.Code == provider.Missing {
			d.Detail = fmt.Sprintf("not installed: no %s machines", arch)
		}
		return []provider.Diagnosis{d}
	}
	ds := []provider.Diagnosis{{Name: name, Status: provider.Good, Detail: fmt.Sprintf("version %s, %s", h.Version, h.Binary)}}
	accel := provider.Diagnosis{Name: "accelerator " + string(arch), Status: provider.Good, Detail: h.Accel + ": " + h.Why}
	if h.Accel == accelTCG {
		accel.Detail += " (machines are emulated: correct, but slower)"
		if arch == native() && q.opts.Accel == "auto" {
			accel.Status = provider.Warning
			if runtime.GOOS == "linux" && exists("/dev/kvm") && !writable("/dev/kvm") {
				accel.Fix = "sudo usermod -aG kvm $USER   # then log in again"
			}
		}
	}
	ds = append(ds, accel)
	efi := provider.Diagnosis{Name: "firmware " + string(arch), Status: provider.Good, Detail: h.Code}
	if h.Code == "" {
		efi = provider.Diagnosis{Name: efi.Name, Status: provider.Warning, Detail: "UEFI is not installed: no " + string(arch) + " machines with firmware \"uefi\"", Fix: install(firmwareName(arch), "qemu")}
	}
	return append(ds, efi)
}

func (q *qemu) diagnoseProgram(program, what, pkg string, bad provider.Health) provider.Diagnosis {
	path, err := q.binary(program)
	if err != nil {
		path, err = exec.LookPath(program)
	}
	if err != nil {
		return provider.Diagnosis{Name: program, Status: bad, Detail: "not installed: needed for " + what, Fix: install(pkg, map[string]string{"qemu-utils": "qemu"}[pkg])}
	}
	return provider.Diagnosis{Name: program, Status: provider.Good, Detail: path}
}

// Free space on the disk that labs are on, in bytes: below the first nothing works for long, below the second not much.
const (
	noSpace     = 1 * lab.GiB
	littleSpace = 10 * lab.GiB
)

// diagnoseFolders is about LABCTL_HOME and the folder of sockets.
func (q *qemu) diagnoseFolders() []provider.Diagnosis {
	home := provider.Diagnosis{Name: "disk space", Status: provider.Good}
	var st syscall.Statfs_t
	if err := syscall.Statfs(ancestor(q.home), &st); err != nil {
		home.Status, home.Detail = provider.Warning, fmt.Sprintf("%s: %v", q.home, err)
	} else {
		free := lab.Bytes(st.Bavail) * lab.Bytes(st.Bsize)
		home.Detail = fmt.Sprintf("%s: %d GiB free", q.home, free/lab.GiB)
		switch {
		case free < noSpace:
			home.Status, home.Fix = provider.Broken, "labctl image ls   # then labctl image rm what is not needed"
		case free < littleSpace:
			home.Status, home.Fix = provider.Warning, "labctl image ls   # then labctl image rm what is not needed"
		}
	}
	run := provider.Diagnosis{Name: "socket folder", Status: provider.Good}
	ds := q.dirs("doctor")
	run.Detail = filepath.Dir(ds.run)
	if n := len(ds.socket("net", "x", "y")); n > maxSocket {
		run.Status, run.Detail, run.Fix = provider.Broken, fmt.Sprintf("%s: too long by %d bytes", run.Detail, n-maxSocket), "export XDG_RUNTIME_DIR=/tmp/run-$UID && mkdir -m 700 -p $XDG_RUNTIME_DIR"
	}
	return []provider.Diagnosis{home, run}
}

// ancestor is the nearest folder above path that exists.
func ancestor(path string) string {
	for !exists(path) && path != filepath.Dir(path) {
		path = filepath.Dir(path)
	}
	return path
}

// diagnoseNetwork is about faster ways out than the built-in one.
func (q *qemu) diagnoseNetwork() []provider.Diagnosis {
	if runtime.GOOS == "darwin" {
		return q.diagnoseVMNet()
	}
	d := provider.Diagnosis{Name: "passt", Status: provider.Good}
	path, err := exec.LookPath("passt")
	d.Detail = path
	if err != nil {
		d.Status, d.Detail, d.Fix = provider.Warning, "not installed: uplinks use the built-in NAT", install("passt", "")
	}
	return []provider.Diagnosis{d}
}

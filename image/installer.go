package image

import (
	"context"
	"crypto/sha256"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/labctl-dev/labctl/lab"
)

// netbootRelease is the Debian whose kernel the installer runs on, whatever it installs. The modules of later ones are
// compressed, which takes a program more to load them.
const netbootRelease = "bookworm"

// FindInstaller is the program labctl-install for machines of an architecture: labctl-install-linux-ARCH, or
// labctl-install where that is one for ARCH, in the first of the folders that has it, else on PATH. It is a file of its own,
// beside labctl as its plugins are, because it is made for the machines' architecture and not for the host's.
func FindInstaller(arch lab.Arch, folders []string) (string, error) {
	special, plain := "labctl-install-linux-"+string(arch), "labctl-install"
	var unfit error
	var paths []string
	for _, dir := range folders {
		paths = append(paths, filepath.Join(dir, special), filepath.Join(dir, plain))
	}
	for _, name := range []string{special, plain} {
		if path, err := exec.LookPath(name); err == nil {
			paths = append(paths, path)
		}
	}
	for _, path := range paths {
		err := fit(path, arch)
		if err == nil {
			return path, nil
		}
		if !errors.Is(err, os.ErrNotExist) && unfit == nil {
			unfit = fmt.Errorf("%s %w", path, err)
		}
	}
	name := "netboot-" + string(arch)
	if unfit != nil {
		return "", fail(Invalid, name, nil, "cannot install %s machines: %v; CGO_ENABLED=0 GOOS=linux GOARCH=%s go build -o %s ./cmd/labctl-install makes one", arch, unfit, arch, special)
	}
	e := fail(MissingTool, name, nil, "cannot install %s machines: there is no %s beside labctl's plugins or on PATH", arch, special)
	e.Tools = []Tool{{special, "labctl"}}
	return "", e
}

// fit is an error where a program cannot be the first process of a machine of arch.
func fit(path string, arch lab.Arch) error {
	f, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("is no program of Linux: %w", err)
	}
	defer f.Close()
	if want := map[lab.Arch]elf.Machine{lab.AMD64: elf.EM_X86_64, lab.ARM64: elf.EM_AARCH64}[arch]; f.Machine != want {
		return fmt.Errorf("is for another architecture than %s", arch)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return errors.New("is not static")
		}
	}
	return nil
}

// Netboot is what machines of an architecture boot from the network to be installed by the program at path (see
// FindInstaller): made once for each program, and kept.
func (s Store) Netboot(ctx context.Context, arch lab.Arch, path string, progress Progress) (Netboot, error) {
	name := "netboot-" + string(arch)
	program, err := os.ReadFile(path)
	if err != nil {
		return Netboot{}, fail(Denied, name, err, "cannot read the installer")
	}
	with := " busybox\x00"
	if arch == lab.ARM64 {
		with = " busybox ipxe\x00"
	}
	h := sha256.Sum256(append([]byte(netbootRelease+with), program...))
	folder := fmt.Sprintf("%s-%x", name, h[:6])
	dir := filepath.Join(s.Dir, "."+folder)
	made := Netboot{Kernel: filepath.Join(dir, kernelFile), Initrd: filepath.Join(dir, initrdFile), Cmdline: cmdlines[arch]}
	if arch == lab.ARM64 {
		made.IPXE = filepath.Join(dir, ipxeFile)
	}
	once := folderOnce{name: name, lock: folder, path: dir, verb: "make", what: fmt.Sprintf("a kernel and initrd to install %s machines with", arch), exists: func() bool {
		_, err1 := os.Stat(made.Kernel)
		_, err2 := os.Stat(made.Initrd)
		return err1 == nil && err2 == nil
	}}
	err = s.once(ctx, once, progress, func(work string) error {
		_, err := MakeNetboot(ctx, work, arch, netbootRelease, program, progress)
		return err
	})
	if err != nil {
		return Netboot{}, err
	}
	return made, nil
}

package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/image/initrd"
	"github.com/labctl-dev/labctl/image/recipe"
	"github.com/labctl-dev/labctl/lab"
)

// Netboot is what a machine boots from the network to be installed.
type Netboot struct {
	Kernel, Initrd string // files
	Medium         string // of a distribution's installer, where it has one: a file
	Cmdline        string // beside what says whom to ask
	IPXE           string // file: iPXE for firmware that has none; "" on amd64, where QEMU's network cards bring it
}

// drivers are the modules that a machine may need to reach a server and to write its disk, without what they need
// themselves. Those that a kernel has built in, or has not, are left out.
var drivers = []string{
	"virtio_pci", "virtio_mmio", "virtio_net", "virtio_blk", "virtio_scsi", "virtio_rng", "nvme", "ahci", "ata_piix", "sd_mod",
	"xen-netfront", "xen-blkfront", "hv_netvsc", "hv_storvsc", "vmxnet3", "vmw_pvscsi", "e1000", "e1000e", "igb", "ixgbe", "r8169", "tg3", "af_packet",
}

// modulesFile lists the modules in the order in which they are loaded; the installer reads it (install/first).
const modulesFile = "/lib/labctl/modules"

// shellFile is what a machine gets that is to start a shell instead of an installation (install/first).
const shellFile = "/bin/busybox"

// MakeNetboot makes a kernel and an initrd in dir, of Debian's kernel and the installer, a static program for Linux on
// arch. dir exists and is empty.
func MakeNetboot(ctx context.Context, dir string, arch lab.Arch, release string, installer []byte, progress Progress) (Netboot, error) {
	b := &builder{
		image: lab.Image{Name: "netboot-" + string(arch), Arch: arch}, dir: dir, progress: progress,
		recipe: recipe.New(arch, lab.Build{Distribution: "debian", Release: release}),
		tools:  tools{image: "netboot-" + string(arch)},
	}
	if err := need(b.image.Name, []Tool{{"mmdebstrap", "mmdebstrap"}, {debianKeys, "debian-archive-keyring"}}); err != nil {
		return Netboot{}, err
	}
	n, err := b.netboot(ctx, installer)
	if err != nil {
		return Netboot{}, fail(Failed, b.image.Name, err, "cannot make a kernel and initrd to install %s machines with", arch)
	}
	return n, nil
}

func (b *builder) netboot(ctx context.Context, installer []byte) (Netboot, error) {
	b.progress("packages", 0, 0)
	if err := b.extract(ctx, nil, "linux-image-cloud-"+string(b.recipe.Arch), "busybox-static"); err != nil {
		return Netboot{}, err
	}
	b.progress("initrd", 0, 0)
	modules, err := b.modules(ctx)
	if err != nil {
		return Netboot{}, err
	}
	busybox, err := os.ReadFile(b.path("busybox"))
	if err != nil {
		return Netboot{}, fmt.Errorf("the packages brought no busybox: %w", err)
	}
	files := []initrd.File{{Path: "/init", Mode: 0o755, Content: installer}, {Path: shellFile, Mode: 0o755, Content: busybox}, {Path: "/etc/labctl", Mode: 0o644}}
	var list strings.Builder
	for _, m := range modules {
		file := path.Join(path.Dir(modulesFile), m.name+".ko")
		fmt.Fprintln(&list, file)
		files = append(files, initrd.File{Path: file, Mode: 0o644, Content: m.content})
	}
	files = append(files, initrd.File{Path: modulesFile, Mode: 0o644, Content: []byte(list.String())})
	out, err := os.Create(b.path(initrdFile))
	if err != nil {
		return Netboot{}, err
	}
	if err := errors.Join(initrd.Write(out, files), out.Close()); err != nil {
		return Netboot{}, err
	}
	n := Netboot{Kernel: b.path(kernelFile), Initrd: b.path(initrdFile), Cmdline: cmdlines[b.image.Arch]}
	if err := errors.Join(os.Remove(b.path("root.tar")), os.Remove(b.path("busybox"))); err != nil || b.image.Arch != lab.ARM64 {
		return n, err
	}
	n.IPXE = b.path(ipxeFile)
	return n, b.ipxe(ctx)
}

// ipxeFile is iPXE in a netboot folder, ipxePath in its package. Debian 13 is the first that has it for arm64.
const (
	ipxeFile    = "ipxe.efi"
	ipxeRelease = "trixie"
	ipxePath    = "/usr/lib/ipxe/ipxe-arm64.efi"
)

// ipxe takes iPXE for arm64 out of its package.
func (b *builder) ipxe(ctx context.Context) error {
	b.progress("iPXE", 0, 0)
	other := *b
	other.recipe = recipe.New(b.image.Arch, lab.Build{Distribution: "debian", Release: ipxeRelease})
	if err := other.extract(ctx, nil, "ipxe"); err != nil {
		return err
	}
	if err := pick(ctx, b.path("root.tar"), map[string]string{ipxePath: b.path(ipxeFile)}); err != nil {
		return fmt.Errorf("package ipxe of %s: %w", ipxeRelease, err)
	}
	return nil
}

// cmdlines keep the installer visible on the console that labctl reads, and restart a machine whose installer ended.
var cmdlines = map[lab.Arch]string{
	lab.AMD64: "console=tty0 console=ttyS0,115200 no_timer_check panic=30 quiet",
	lab.ARM64: "console=tty0 console=ttyAMA0,115200 panic=30 quiet",
}

// extract unpacks packages into root.tar without configuring anything, for which no program of arch has to run. more are
// further options of mmdebstrap.
func (b *builder) extract(ctx context.Context, more []string, packages ...string) error {
	args := []string{
		"--variant=extract", "--format=tar", "--architectures=" + string(b.recipe.Arch), "--keyring=" + debianKeys,
		"--include=" + strings.Join(packages, ","),
	}
	args = append(args, more...)
	host, err := hostApt(ctx, b.recipe)
	if err != nil {
		return err
	}
	for _, o := range host.options {
		args = append(args, "--aptopt="+o)
	}
	args = append(args, b.recipe.Release, b.path("root.tar"))
	for _, s := range host.sources {
		args = append(args, s.String())
	}
	t := b.tools
	t.env = append(t.env, "LC_ALL=C")
	return t.run(ctx, nil, "mmdebstrap", args...)
}

// module is a kernel module that is not built in.
type module struct {
	name    string // with "_" for "-"
	content []byte
	needs   []string
}

// modules reads root.tar: it takes the kernel out, and returns the drivers after what they need.
func (b *builder) modules(ctx context.Context) ([]module, error) {
	f, err := os.Open(b.path("root.tar"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all, kernel := map[string]module{}, false
	for r := tar.NewReader(bufio.NewReaderSize(f, 1<<20)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		name := path.Clean("/" + h.Name)
		switch {
		case h.Typeflag != tar.TypeReg:
		case strings.HasPrefix(name, "/boot/vmlinuz-"):
			kernel = true
			err = take(r, b.path(kernelFile))
		case strings.HasSuffix(name, shellFile):
			err = take(r, b.path("busybox"))
		case strings.Contains(name, "/lib/modules/") && strings.HasSuffix(name, ".ko"):
			m, e := readModule(strings.TrimSuffix(filepath.Base(name), ".ko"), r)
			all[m.name], err = m, e
		case strings.Contains(name, "/lib/modules/") && strings.Contains(path.Base(name), ".ko."):
			return nil, fmt.Errorf("%s is compressed: use the kernel of another release", name)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if !kernel || len(all) == 0 {
		return nil, fmt.Errorf("the packages brought no kernel or no modules")
	}
	return ordered(all, drivers), nil
}

func readModule(name string, r io.Reader) (module, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return module{}, err
	}
	m := module{name: under(name), content: b}
	e, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		return module{}, err
	}
	defer e.Close()
	s := e.Section(".modinfo")
	if s == nil {
		return module{}, errors.New("has no .modinfo")
	}
	info, err := s.Data()
	if err != nil {
		return module{}, err
	}
	for field := range bytes.SplitSeq(info, []byte{0}) {
		key, value, _ := strings.Cut(string(field), "=")
		switch {
		case key == "depends" && value != "":
			for d := range strings.SplitSeq(value, ",") {
				m.needs = append(m.needs, under(d))
			}
		case key == "softdep": // "pre: a b post: c"
			pre := false
			for w := range strings.FieldsSeq(value) {
				if strings.HasSuffix(w, ":") {
					pre = w == "pre:"
				} else if pre {
					m.needs = append(m.needs, under(w))
				}
			}
		}
	}
	return m, nil
}

func under(name string) string { return strings.ReplaceAll(name, "-", "_") }

// ordered are the modules of the names and all that they need, what is needed first.
func ordered(all map[string]module, names []string) []module {
	var out []module
	seen := map[string]bool{}
	var add func(name string)
	add = func(name string) {
		m, ok := all[under(name)]
		if !ok || seen[m.name] {
			return
		}
		seen[m.name] = true
		for _, n := range m.needs {
			add(n)
		}
		out = append(out, m)
	}
	for _, n := range names {
		add(n)
	}
	return slices.Clip(out)
}

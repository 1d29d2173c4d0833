package image

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/labctl-dev/labctl/image/gpt"
	"github.com/labctl-dev/labctl/image/recipe"
	"github.com/labctl-dev/labctl/lab"
)

// Progress gets a sign of life: what is being done ("downloading", "packages", ...) and, where total is not 0, how
// many bytes of how many are done. It returns at once; calls never overlap.
type Progress func(phase string, done, total int64)

// builder makes one image in one temporary folder.
type builder struct {
	image    lab.Image
	recipe   recipe.Recipe
	dir      string
	progress Progress
	tools    tools
}

// build makes the files of a built image in dir and says what they are. dir is empty and the caller's to remove.
func build(ctx context.Context, i lab.Image, dir string, progress Progress) (record, error) {
	if err := recipe.Check(i.Arch, *i.Build); err != nil {
		return record{}, fail(Invalid, i.Name, nil, "cannot build image %s: %v", i.Name, err)
	}
	b := &builder{image: i, recipe: recipe.New(i.Arch, *i.Build), dir: dir, progress: progress, tools: tools{image: i.Name}}
	if err := need(i.Name, b.needs()); err != nil {
		return record{}, err
	}
	if err := b.archKnown(); err != nil {
		return record{}, err
	}
	r, err := b.steps(ctx)
	if err != nil {
		return record{}, fail(Failed, i.Name, err, "cannot build image %s", i.Name)
	}
	return r, nil
}

func (b *builder) steps(ctx context.Context) (record, error) {
	b.progress("packages", 0, 0)
	if err := b.packages(ctx); err != nil {
		return record{}, fmt.Errorf("install packages: %w", err)
	}
	b.progress("filesystem", 0, 0)
	found, err := b.inspect(ctx)
	if err != nil {
		return record{}, fmt.Errorf("read the installed system: %w", err)
	}
	size := diskSize(found.bytes)
	if err := b.filesystem(ctx, size, found.capabilities); err != nil {
		return record{}, fmt.Errorf("make the file system: %w", err)
	}
	b.progress("disk", 0, 0)
	if err := b.boot(ctx, size); err != nil {
		return record{}, fmt.Errorf("make the disk bootable: %w", err)
	}
	b.progress("compressing", 0, 0)
	err = b.tools.run(ctx, nil, "qemu-img", "convert", "-q", "-c", "-W", "-f", "raw", "-O", "qcow2",
		"-o", "compression_type=zstd", b.path("disk.raw"), b.path(diskFile))
	if err != nil {
		return record{}, fmt.Errorf("compress the disk: %w", err)
	}
	for _, f := range []string{"disk.raw", "root.tar", "overlay.tar", "work"} {
		if err := os.RemoveAll(b.path(f)); err != nil {
			return record{}, err
		}
	}
	r := record{Arch: b.image.Arch, Size: size, Kernel: kernelFile, Cmdline: b.root() + " " + b.recipe.Cmdline}
	if found.needsInitrd {
		return withInitrd(r), nil
	}
	return r, os.Remove(b.path(initrdFile))
}

func withInitrd(r record) record {
	r.Initrd = initrdFile
	return r
}

func (b *builder) path(name string) string { return filepath.Join(b.dir, name) }

// root tells the kernel where its root is, whatever the disk is called on this hypervisor.
func (b *builder) root() string { return "root=PARTUUID=" + b.uuid("root").String() + " rootwait" }

func (b *builder) uuid(part string) gpt.UUID { return gpt.UUID(b.recipe.UUID(part)) }

// archKnown refuses early, and with the reason, what would fail late: packages of a foreign architecture are
// configured by programs of that architecture.
func (b *builder) archKnown() error {
	if runtime.GOARCH == string(b.image.Arch) {
		return nil
	}
	cpu := map[lab.Arch]string{lab.AMD64: "x86_64", lab.ARM64: "aarch64"}[b.image.Arch]
	if _, err := os.Stat("/proc/sys/fs/binfmt_misc/qemu-" + cpu); err == nil {
		return nil
	}
	e := fail(MissingTool, b.image.Name, nil, "cannot build image %s: this host is %s and cannot run programs for %s; "+
		"install qemu-user-static and binfmt-support (and arch-test)", b.image.Name, runtime.GOARCH, b.image.Arch)
	e.Tools = []Tool{{"qemu-" + cpu + "-static", "qemu-user-static"}}
	return e
}

// needs are the programs that building takes.
func (b *builder) needs() []Tool {
	list := []Tool{
		{"mmdebstrap", "mmdebstrap"}, {"tar", "tar"}, {"mke2fs", "e2fsprogs"}, {"debugfs", "e2fsprogs"}, {"mformat", "mtools"}, {"mcopy", "mtools"},
		{"grub-mkimage", "grub-common"}, {"qemu-img", "qemu-utils"},
	}
	for _, t := range b.grubTargets() {
		list = append(list, Tool{t.folder + "/moddep.lst", t.pkg})
	}
	if os.Getuid() != 0 {
		list = append(list, Tool{"fakeroot", "fakeroot"}, Tool{"newuidmap", "uidmap"})
	}
	if b.recipe.Distribution == "debian" {
		list = append(list, Tool{debianKeys, "debian-archive-keyring"})
	} else {
		list = append(list, Tool{ubuntuKeys, "ubuntu-keyring"})
	}
	return list
}

const (
	debianKeys = "/usr/share/keyrings/debian-archive-keyring.gpg"
	ubuntuKeys = "/usr/share/keyrings/ubuntu-archive-keyring.gpg"
)

// packages makes root.tar: the installed system.
func (b *builder) packages(ctx context.Context) error {
	if err := writeOverlay(b.path("overlay.tar"), b.recipe, b.root()); err != nil {
		return err
	}
	keys := debianKeys
	if b.recipe.Distribution == "ubuntu" {
		keys = ubuntuKeys
	}
	args := []string{
		"--variant=minbase", "--format=tar", "--architectures=" + string(b.recipe.Arch), "--keyring=" + keys,
		"--include=" + strings.Join(b.recipe.Packages, ","),
		// Before any package is configured, so that the initrd is made once, and units are never started or enabled.
		fmt.Sprintf("--essential-hook=tar-in %s /", quote(b.path("overlay.tar"))),
		`--customize-hook=chroot "$1" /bin/sh ` + setupFile,
		`--customize-hook=rm "$1"` + setupFile,
	}
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
	if host.mirrored {
		// The image has its own mirror, not the one nearest to this host.
		args = append(args, "--customize-hook="+sourcesHook(b.recipe.Sources))
	}
	say := func(line string) {
		if s, ok := strings.CutPrefix(line, "I: "); ok && strings.HasSuffix(s, "...") {
			b.progress("packages: "+strings.TrimSuffix(s, "..."), 0, 0)
		}
	}
	t := b.tools
	t.env = append(t.env, "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	if os.Getuid() == 0 {
		// The system being installed takes about 500 MB; beside the store there is room. Without root it belongs to a
		// user of a namespace, who may not be allowed into this user's folders: it stays in the host's own TMPDIR.
		t.env = append(t.env, "TMPDIR="+b.path("work"))
		if err := os.Mkdir(b.path("work"), 0o755); err != nil {
			return err
		}
	}
	return t.run(ctx, say, "mmdebstrap", args...)
}

// quote makes one word of s for mmdebstrap, which splits hooks as a shell does.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func sourcesHook(list []recipe.Source) string {
	var s strings.Builder
	s.WriteString("printf '%s\\n'")
	for _, l := range list {
		s.WriteString(" " + quote(l.String()))
	}
	s.WriteString(` >"$1"/etc/apt/sources.list`)
	return s.String()
}

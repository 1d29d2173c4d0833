package image

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/labctl-dev/labctl/image/gpt"
	"github.com/labctl-dev/labctl/image/grub"
	"github.com/labctl-dev/labctl/lab"
)

// The disk: table, BIOS boot partition, EFI system partition, root. Root is the last on the disk, so that it grows with
// it, and the first by number, as in the distributions' own images.
const (
	biosStart = 1 * lab.MiB
	espStart  = 2 * lab.MiB
	rootStart = 20 * lab.MiB
	diskTail  = 1 * lab.MiB
	espSize   = 16 * lab.MiB
)

// features are ext4's as GRUB 2.06, e2fsprogs 1.46 and Linux 5.10 all know them, whatever this host's mke2fs would
// choose.
const features = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super," +
	"large_file,huge_file,dir_nlink,extra_isize,metadata_csum"

// diskSize is what holds so many bytes of files with a fifth to spare, in whole GiB.
func diskSize(content lab.Bytes) lab.Bytes {
	n := content + content/5 + 128*lab.MiB + rootStart + diskTail
	return (n + lab.GiB - 1) / lab.GiB * lab.GiB
}

// filesystem makes disk.raw and fills its root partition.
func (b *builder) filesystem(ctx context.Context, size lab.Bytes, capabilities map[string][]byte) error {
	if err := b.populate(ctx, size); err != nil {
		return err
	}
	for name, value := range capabilities {
		if strings.ContainsAny(name, "\"\n") {
			return fmt.Errorf("file %q has a capability and a name that debugfs cannot be told", name)
		}
		if err := os.WriteFile(b.path("capability"), value, 0o644); err != nil {
			return err
		}
		// debugfs succeeds whatever happens, and says on standard error what did.
		var said []string
		err := b.tools.run(ctx, func(line string) {
			if !strings.HasPrefix(line, "debugfs ") {
				said = append(said, line)
			}
		}, "debugfs", "-w", "-R", fmt.Sprintf("ea_set -f %q %q security.capability", b.path("capability"), name),
			fmt.Sprintf("%s?offset=%d", b.path("disk.raw"), rootStart))
		if err != nil {
			return err
		}
		if said != nil {
			return fmt.Errorf("debugfs: capability of %s: %s", name, strings.Join(said, "; "))
		}
	}
	return os.RemoveAll(b.path("capability"))
}

// populate makes the file system from root.tar. Without root, fakeroot remembers between tar and mke2fs whom each file
// belongs to.
func (b *builder) populate(ctx context.Context, size lab.Bytes) error {
	f, err := os.Create(b.path("disk.raw"))
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(int64(size)), f.Close(), os.Mkdir(b.path("tree"), 0o755)); err != nil {
		return err
	}
	blocks := (size - rootStart - diskTail) / (4 * lab.KiB)
	script := `set -e
mke2fs=$1 size=$2; shift 2
tar --numeric-owner --exclude='./dev/*' -xpf root.tar -C tree
"$mke2fs" "$@" -d tree disk.raw "$size"
rm -rf tree`
	mke2fs, _ := look("mke2fs")
	args := []string{"-c", `cd "$0" && ` + script, b.dir, mke2fs, strconv.FormatUint(uint64(blocks), 10),
		"-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-m", "1", "-L", "root", "-U", b.uuid("filesystem").String(), "-O", features,
		"-E", fmt.Sprintf("offset=%d,hash_seed=%s,lazy_itable_init=1,lazy_journal_init=1,resize=%d", rootStart, b.uuid("hash"), 64*lab.GiB/(4*lab.KiB))}
	if os.Getuid() == 0 {
		return b.tools.run(ctx, nil, "sh", args...)
	}
	return b.tools.run(ctx, nil, "fakeroot", append([]string{"--", "sh"}, args...)...)
}

func (b *builder) partitions(size lab.Bytes) []gpt.Partition {
	rootType := gpt.RootAMD64
	if b.image.Arch == lab.ARM64 {
		rootType = gpt.RootARM64
	}
	list := []gpt.Partition{
		{Number: 1, Name: "root", Type: rootType, ID: b.uuid("root"), Start: sectors(rootStart), Count: sectors(size - rootStart - diskTail)},
		{Number: 15, Name: "esp", Type: gpt.ESP, ID: b.uuid("esp"), Start: sectors(espStart), Count: sectors(espSize)},
	}
	if b.image.Arch == lab.AMD64 {
		list = append(list, gpt.Partition{Number: 14, Name: "bios", Type: gpt.BIOSBoot, ID: b.uuid("bios"),
			Start: sectors(biosStart), Count: sectors(espStart - biosStart)})
	}
	return list
}

func sectors(n lab.Bytes) uint64 { return uint64(n) / gpt.Sector }

// grubTarget is one way GRUB is started.
type grubTarget struct {
	format  string // grub-mkimage's name for it
	folder  string // where its modules are
	pkg     string // whose they are
	output  string
	removal string // path on the EFI system partition that firmware looks for; "" for BIOS
	modules []string
}

func (b *builder) grubTargets() []grubTarget {
	common := []string{"part_gpt", "ext2", "search_fs_uuid", "normal", "configfile", "linux", "serial", "terminal", "echo", "test", "boot", "ls", "cat", "reboot"}
	efi := append([]string{"fat", "efi_gop"}, common...)
	if b.image.Arch == lab.ARM64 {
		return []grubTarget{{"arm64-efi", "/usr/lib/grub/arm64-efi", "grub-efi-arm64-bin", "BOOTAA64.EFI", "::/EFI/BOOT/BOOTAA64.EFI", efi}}
	}
	return []grubTarget{
		{"i386-pc", "/usr/lib/grub/i386-pc", "grub-pc-bin", "core.img", "", append([]string{"biosdisk"}, common...)},
		{"x86_64-efi", "/usr/lib/grub/x86_64-efi", "grub-efi-amd64-bin", "BOOTX64.EFI", "::/EFI/BOOT/BOOTX64.EFI", efi},
	}
}

// boot makes disk.raw start by BIOS and by UEFI. GRUB finds the root file system by its UUID and reads /boot/grub/grub.cfg
// there.
func (b *builder) boot(ctx context.Context, size lab.Bytes) error {
	early := fmt.Sprintf("search.fs_uuid %s root\nset prefix=($root)/boot/grub\nconfigfile $prefix/grub.cfg\n", b.uuid("filesystem"))
	if err := os.WriteFile(b.path("early.cfg"), []byte(early), 0o644); err != nil {
		return err
	}
	defer os.Remove(b.path("early.cfg"))
	esp := fmt.Sprintf("%s@@%d", b.path("disk.raw"), espStart)
	id := b.uuid("fat")
	err := b.tools.run(ctx, nil, "mformat", "-i", esp, "-T", strconv.FormatUint(sectors(espSize), 10),
		"-h", "64", "-s", "32", "-H", strconv.FormatUint(sectors(espStart), 10), "-N", hex.EncodeToString(id[:4]), "-v", "ESP", "::")
	if err == nil {
		err = b.tools.run(ctx, nil, "mmd", "-i", esp, "::/EFI", "::/EFI/BOOT")
	}
	if err != nil {
		return err
	}
	var core []byte
	for _, t := range b.grubTargets() {
		out := b.path(t.output)
		args := append([]string{"-O", t.format, "-d", t.folder, "-p", "/boot/grub", "-c", b.path("early.cfg"), "-o", out}, t.modules...)
		if err := b.tools.run(ctx, nil, "grub-mkimage", args...); err != nil {
			return err
		}
		if t.removal != "" {
			err = b.tools.run(ctx, nil, "mcopy", "-i", esp, out, t.removal)
		} else {
			core, err = os.ReadFile(out)
		}
		if err := errors.Join(err, os.Remove(out)); err != nil {
			return err
		}
	}
	return b.table(size, core)
}

// table writes the partition table and, where there is one, GRUB for BIOS.
func (b *builder) table(size lab.Bytes, core []byte) error {
	head, tail, err := gpt.Table(sectors(size), b.uuid("disk"), b.partitions(size))
	if err != nil {
		return err
	}
	f, err := os.OpenFile(b.path("disk.raw"), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if core != nil {
		first, err := os.ReadFile("/usr/lib/grub/i386-pc/boot.img")
		if err != nil {
			return err
		}
		core, err = grub.Embed(head[:gpt.Sector], first, core, sectors(biosStart), sectors(espStart-biosStart))
		if err != nil {
			return err
		}
		if _, err := f.WriteAt(core, int64(biosStart)); err != nil {
			return err
		}
	}
	if _, err := f.WriteAt(head, 0); err != nil {
		return err
	}
	if _, err := f.WriteAt(tail, int64(size)-int64(len(tail))); err != nil {
		return err
	}
	return f.Sync()
}

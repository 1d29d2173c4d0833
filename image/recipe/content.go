package recipe

import (
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// base is in every image beside the distribution's essential packages.
var base = []string{
	"systemd-sysv", "systemd-resolved", "udev", "dbus", "initramfs-tools", "zstd", // boots, has names
	"cloud-init", "cloud-guest-utils", "python3", "sudo", "openssh-server", // becomes a machine of a lab
	"ca-certificates", "iproute2", "iputils-ping", // is one
	"nftables", "dnsmasq-base", // is a router, or has a firewall; neither runs anything unasked
}

var kernels = map[string]map[lab.Arch][]string{
	"debian": {lab.AMD64: {"linux-image-cloud-amd64"}, lab.ARM64: {"linux-image-cloud-arm64"}},
	"ubuntu": {lab.AMD64: {"linux-image-virtual"}, lab.ARM64: {"linux-image-virtual"}},
}

// The distributions' own archives.
const (
	debianArchive = "http://deb.debian.org/debian"
	ubuntuArchive = "http://archive.ubuntu.com/ubuntu"
	ubuntuPorts   = "http://ports.ubuntu.com/ubuntu-ports"
)

// Archives are the distributions' own; a recipe without a mirror uses one of them.
func Archives() []string { return []string{debianArchive, ubuntuArchive, ubuntuPorts} }

// sources are the release, its updates and its security fixes. A mirror given for Debian ends in /debian by custom and
// has /debian-security beside it, as deb.debian.org has.
func sources(arch lab.Arch, b lab.Build) []Source {
	mirror := strings.TrimSuffix(b.Mirror, "/")
	if b.Distribution == "ubuntu" {
		if mirror == "" && arch == lab.AMD64 {
			mirror = ubuntuArchive
		} else if mirror == "" {
			mirror = ubuntuPorts
		}
		c := []string{"main", "universe"}
		return []Source{{mirror, b.Release, c}, {mirror, b.Release + "-updates", c}, {mirror, b.Release + "-security", c}}
	}
	if mirror == "" {
		mirror = debianArchive
	}
	c := []string{"main"}
	return []Source{
		{mirror, b.Release, c}, {mirror, b.Release + "-updates", c}, {mirror + "-security", b.Release + "-security", c},
	}
}

// cmdline is what direct and firmware boot share. rw: there is no fstab and nothing to check before the journal is
// replayed, so remounting would only cost time. ds=nocloud makes cloud-init do its work in the first of its stages,
// since the seed is a disk and needs no network.
func cmdline(arch lab.Arch) string {
	// Emulated, a busy host's timer ticks too late for the kernel's test of it, which then panics.
	console := "ttyS0,115200 no_timer_check"
	if arch == lab.ARM64 {
		console = "ttyAMA0"
	}
	return "rw quiet ds=nocloud console=" + console
}

// masked are units that cost boot time and do nothing for a lab's machine: timers that load it at random moments,
// file systems nobody mounts, records nobody reads, a terminal nobody sees, what only a changed /usr needs.
var masked = []string{
	"apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer", "man-db.timer",
	"e2scrub_reap.service", "systemd-pstore.service", "getty@tty1.service", "cloud-init-hotplugd.socket",
	"sys-kernel-debug.mount", "sys-kernel-tracing.mount", "dev-hugepages.mount", "dev-mqueue.mount", "sys-fs-fuse-connections.mount",
	"modprobe@configfs.service", "modprobe@drm.service", "modprobe@fuse.service", "modprobe@efi_pstore.service",
	"sys-kernel-config.mount", "proc-sys-fs-binfmt_misc.automount", "systemd-binfmt.service",
	"systemd-update-utmp.service", "systemd-update-utmp-runlevel.service", "systemd-journal-flush.service",
	"systemd-firstboot.service", "systemd-hwdb-update.service", "systemd-journal-catalog-update.service",
	"systemd-update-done.service", "ldconfig.service", "systemd-machine-id-commit.service",
	"systemd-repart.service", "systemd-network-generator.service", "systemd-sysusers.service", "systemd-random-seed.service",
	"systemd-pcrphase.service", "systemd-pcrphase-sysinit.service",
	"networkd-dispatcher.service", "motd-news.timer", "apport-autoreport.timer", "ua-timer.timer", "snapd.service",
}

// stages are cloud-init's second and third process at each boot, and oneProcess the releases whose cloud-init has them
// (before 24.3). With ds=nocloud they have nothing left to do but to start Python.
var (
	stages     = []string{"cloud-init.service", "cloud-config.service"}
	oneProcess = map[string]bool{"trixie": true, "forky": true, "sid": true, "noble": true, "plucky": true, "questing": true}
)

// silent are systemd's generators that look, at each boot and reload, for what such an image does not have. That of
// cloud-init decides whether it runs at all, by what it finds on disks at a moment when drivers may not be loaded;
// cloud-init.target is simply enabled instead (see script).
var silent = []string{
	"cloud-init-generator", "systemd-gpt-auto-generator", "systemd-hibernate-resume-generator", "systemd-rc-local-generator",
	"systemd-system-update-generator", "systemd-veritysetup-generator", "systemd-integritysetup-generator",
}

func files(arch lab.Arch, release string) []File {
	fs := []File{
		{Path: "/etc/cloud/cloud.cfg.d/95_labctl.cfg", Mode: 0o644, Text: cloudConfig},
		{Path: "/etc/ssh/sshd_config.d/50-labctl.conf", Mode: 0o644, Text: sshConfig},
		{Path: "/etc/initramfs-tools/conf.d/labctl", Mode: 0o644, Text: "MODULES=list\nCOMPRESS=zstd\n"},
		{Path: "/etc/initramfs-tools/modules", Mode: 0o644, Text: initrdModules},
		{Path: "/etc/systemd/journald.conf.d/labctl.conf", Mode: 0o644, Text: "[Journal]\nStorage=volatile\nRuntimeMaxUse=16M\n"},
		{Path: "/etc/systemd/system/systemd-networkd-wait-online.service.d/labctl.conf", Mode: 0o644, Text: waitOnline},
		{Path: "/etc/systemd/networkd.conf.d/labctl.conf", Mode: 0o644, Text: networkd},
		{Path: "/usr/local/lib/labctl/grow", Mode: 0o755, Text: grow},
		{Path: "/etc/systemd/system/labctl-grow.service", Mode: 0o644, Text: growUnit},
		{Path: "/etc/systemd/system/sysinit.target.wants/labctl-grow.service", Link: "../labctl-grow.service"},
		{Path: "/etc/apt/apt.conf.d/90labctl", Mode: 0o644, Text: aptConfig},
		{Path: "/etc/dpkg/dpkg.cfg.d/90labctl", Mode: 0o644, Text: dpkgConfig},
		{Path: "/etc/default/locale", Mode: 0o644, Text: "LANG=C.UTF-8\n"},
		{Path: "/etc/hostname", Mode: 0o644, Text: "localhost\n"},
		{Path: "/etc/hosts", Mode: 0o644, Text: "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"},
		{Path: "/boot/grub/grub.cfg", Mode: 0o644, Text: grubConfig(arch)},
	}
	off := masked
	if !oneProcess[release] {
		off = append(slices.Clone(masked), stages...)
		for _, s := range []struct{ unit, args string }{{"cloud-init-local", "init --local"}, {"cloud-final", "modules --mode=final"}} {
			fs = append(fs, File{Path: "/etc/systemd/system/" + s.unit + ".service.d/labctl.conf", Mode: 0o644,
				Text: "[Service]\nExecStart=\nExecStart=/usr/local/lib/labctl/cloud-init " + s.args + "\n"})
		}
		fs = append(fs, File{Path: "/usr/local/lib/labctl/cloud-init", Mode: 0o755, Text: cloudInit})
	}
	for _, u := range off {
		fs = append(fs, File{Path: "/etc/systemd/system/" + u, Link: "/dev/null"})
	}
	for _, g := range silent {
		fs = append(fs, File{Path: "/etc/systemd/system-generators/" + g, Link: "/dev/null"})
	}
	return fs
}

// cloudConfig leaves of cloud-init what labctl's user-data uses (see guest/cloudinit) and what an ordinary one is
// likely to: each module costs a slow machine a tenth of a second and more.
const cloudConfig = `# Written by labctl.
datasource_list: [NoCloud]
datasource: {NoCloud: {fs_label: cidata}}
system_info: {network: {renderers: [networkd], activators: [networkd]}}
apt: {preserve_sources_list: true}
manage_etc_hosts: false
cloud_init_modules: [bootcmd, write-files, set_hostname, users-groups, ssh, runcmd]
cloud_config_modules: []
cloud_final_modules: [scripts-user, final-message]
`

// cloudInit starts cloud-init without the library that checks user-data against a schema: user-data written by a program
// is checked by that program's tests, and loading the library is a third of the time that a stage takes.
const cloudInit = `#!/usr/bin/python3 -I
import sys

sys.modules["jsonschema"] = None
sys.argv[0] = "cloud-init"
from cloudinit.cmd.main import main

sys.exit(main())
`

// grow does what cloud-init's growpart and resizefs do, in a sixth of their time and beside everything else.
const grow = `#!/bin/sh
# Grows the root partition and its file system to the size of the disk. Written by labctl.
set -eu
part=$(readlink -f "/sys/dev/block/$(mountpoint -d /)")
[ -e "$part/partition" ] || exit 0
disk=${part%/*}
free=$(($(cat "$disk/size") - $(cat "$part/start") - $(cat "$part/size")))
if [ "$free" -gt 8192 ]; then
	echo ', +' | sfdisk --quiet --force --no-reread --no-tell-kernel -N "$(cat "$part/partition")" "/dev/${disk##*/}"
	partx --update --nr "$(cat "$part/partition")" "/dev/${disk##*/}"
fi
# Blocks of 4 KiB, as its superblock counts them: an installer may have grown the partition already.
blocks=$(($(od -An -tu4 -j1028 -N4 "/dev/${part##*/}")))
if [ "$(($(cat "$part/size") / 8 - blocks))" -gt 1024 ]; then
	resize2fs "/dev/${part##*/}"
fi
`

const growUnit = `[Unit]
Description=Grow the root file system to its disk
DefaultDependencies=no
After=systemd-remount-fs.service systemd-tmpfiles-setup-dev.service
Before=cloud-final.service shutdown.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/lib/labctl/grow
`

const sshConfig = "PasswordAuthentication no\nKbdInteractiveAuthentication no\nUseDNS no\nPrintMotd no\n"

// initrdModules are the disks of all hypervisors that the kernel has as modules; those it lacks are passed over. The
// initrd is for boots by firmware only.
const initrdModules = "virtio_pci\nvirtio_blk\nvirtio_scsi\nsd_mod\nahci\nata_piix\nnvme\next4\nvirtio_mmio\n"

// waitOnline: cloud-init waits for the network before it runs the machine's document; two minutes, the default, is too
// long to wait for an interface without a cable.
const waitOnline = `[Service]
ExecStart=
ExecStart=/lib/systemd/systemd-networkd-wait-online --timeout=30
`

// networkd asks for IPv6 addresses as the machine of its MAC from the first moment. Before labctl has written the machine's
// network it does so as cloud-init has it, some releases of which leave out that nothing is to be asked there; the router
// would keep the address for whoever asked, and have none for the machine under its other name.
const networkd = "[DHCPv6]\nDUIDType=link-layer\n"

const aptConfig = `Acquire::Languages "none";
APT::Install-Recommends "false";
Acquire::Retries "3";
`

const dpkgConfig = `path-exclude=/usr/share/man/*
path-exclude=/usr/share/doc/*
path-include=/usr/share/doc/*/copyright
path-exclude=/usr/share/locale/*
path-exclude=/usr/share/info/*
`

// grubConfig boots the newest kernel through the links that Debian's kernel packages keep in /. ROOT is replaced when
// the disk is made.
func grubConfig(arch lab.Arch) string {
	return `set timeout=0
serial --unit=0 --speed=115200
terminal_output console serial
linux /vmlinuz root=ROOT ` + cmdline(arch) + `
initrd /initrd.img
boot
`
}

// script: networkd is not enabled by Debian's minimal systems. Host keys are each machine's own.
const script = `set -eu
systemctl enable systemd-networkd.service systemd-resolved.service ssh.service
mkdir -p /etc/systemd/system/multi-user.target.wants
ln -sf /lib/systemd/system/cloud-init.target /etc/systemd/system/multi-user.target.wants/cloud-init.target
rm -f /etc/ssh/ssh_host_*_key* /etc/apt/apt.conf.d/99mmdebstrap /etc/dpkg/dpkg.cfg.d/99mmdebstrap /etc/resolv.conf
ln -s ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
rm -f /vmlinuz.old /initrd.img.old /var/lib/dbus/machine-id
rm -rf /usr/share/doc/*/changelog* /var/log/*.log /var/log/apt/* /var/cache/debconf/*-old /var/lib/dpkg/*-old
`

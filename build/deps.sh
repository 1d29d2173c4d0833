#!/bin/sh
# Installs what building, testing and running labctl needs and is not there yet: with apt on Debian and Ubuntu, with
# brew on macOS. Says what it does; does nothing, quickly, when all is there.
#
#   build/deps.sh         what labctl itself needs: Go, QEMU, firmware, ssh, and the tools that build images
#   build/deps.sh test    the same and what the tests need besides
set -eu

go_version=1.26.8 # what to bring when the distribution's Go is too old to bring a newer one by itself
cd "$(dirname "$0")/.."

say() { echo "deps: $*" >&2; }

have() { command -v "$1" >/dev/null 2>&1; }

as_root() {
	if [ "$(id -u)" = 0 ]; then "$@"; elif have sudo; then sudo "$@"; else
		say "needs root to install: $*"
		exit 1
	fi
}

# missing PROGRAM PACKAGE ...: the packages whose program (or file, if it has a slash) is not there.
missing() {
	while [ $# -ge 2 ]; do
		case $1 in
		*/*) [ -e "$1" ] || printf ' %s' "$2" ;;
		*) PATH="$PATH:/usr/sbin:/sbin" have "$1" || printf ' %s' "$2" ;;
		esac
		shift 2
	done
}

# quiet: nothing that is installed is started. The tests start libvirtds of their own and never use the system's, which
# would make a network and firewall rules on this host; of the services that roles are made of they use the checkers.
policy=/usr/sbin/policy-rc.d
quiet() {
	if [ -e $policy ]; then return; fi
	trap 'as_root rm -f $policy' EXIT
	printf '#!/bin/sh\n# labctl: build/deps.sh is installing\nexit 101\n' | as_root tee $policy >/dev/null
	as_root chmod 755 $policy
}

# unquiet PACKAGES: from now on as before; what was installed quietly is left off, now and after a reboot, for who wants
# it to enable.
unquiet() {
	if have systemctl; then
		for package in "$@"; do
			case $package in
			libvirt-daemon-system) units="libvirtd.service libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket libvirt-guests.service" ;;
			bind9) units=named.service ;;
			postfix | nginx) units=$package.service ;; # not chrony: it has taken the place of what sets the clock here
			*) units= ;;
			esac
			for unit in $units; do as_root systemctl disable --quiet "$unit" 2>/dev/null || :; done
		done
	fi
	if grep -qs 'labctl: build/deps.sh' $policy; then as_root rm -f $policy; fi
	trap - EXIT
}

debian() {
	arch=$(dpkg --print-architecture)
	case $arch in
	arm64) qemu=qemu-system-arm system=qemu-system-aarch64 firmware=/usr/share/AAVMF/AAVMF_CODE.fd firmware_package=qemu-efi-aarch64 ;;
	*) qemu=qemu-system-x86 system=qemu-system-x86_64 firmware=/usr/share/OVMF/OVMF_CODE.fd firmware_package=ovmf ;;
	esac
	want=$(missing "$system" "$qemu" qemu-img qemu-utils "$firmware" "$firmware_package" ssh openssh-client \
		mmdebstrap mmdebstrap mke2fs e2fsprogs mcopy mtools mkfs.vfat dosfstools grub-mkimage grub-common \
		git git /etc/ssl/certs/ca-certificates.crt ca-certificates \
		newuidmap uidmap fakeroot fakeroot xz xz-utils zstd zstd \
		/usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring)
	[ "$arch" = arm64 ] || want="$want$(missing /usr/share/seabios/bios-256k.bin seabios \
		/usr/lib/ipxe/qemu/efi-virtio.rom ipxe-qemu /usr/lib/grub/i386-pc/boot.img grub-pc-bin \
		/usr/lib/grub/x86_64-efi/moddep.lst grub-efi-amd64-bin)"
	[ "$arch" = amd64 ] || want="$want$(missing /usr/lib/grub/arm64-efi/moddep.lst grub-efi-arm64-bin)"
	if [ "${1-}" = test ]; then
		want="$want$(missing qemu-system-aarch64 qemu-system-arm \
			/usr/share/AAVMF/AAVMF_CODE.fd qemu-efi-aarch64 socat socat python3 python3 sshd openssh-server isoinfo genisoimage nft nftables dot graphviz dnsmasq dnsmasq-base ip iproute2 pgrep procps \
			libvirtd libvirt-daemon-system virsh libvirt-clients \
			"$(echo /usr/lib/*/libvirt/connection-driver/libvirt_driver_qemu.so)" libvirt-daemon-driver-qemu \
			chronyd chrony named bind9 named-checkzone bind9-utils postfix postfix nginx nginx openssl openssl \
			iptables iptables nc netcat-openbsd setpriv util-linux find findutils cpio cpio xmllint libxml2-utils pre-commit pre-commit \
			zsh zsh fish fish groff groff-base /usr/share/bash-completion/bash_completion bash-completion)"
	fi
	have go || want="$want golang-go"
	if [ -n "$want" ]; then
		say "installing$want"
		as_root apt-get update -qq
		case $want in *libvirt-daemon-system* | *chrony* | *bind9* | *postfix* | *nginx*) asleep=yes ;; *) asleep= ;; esac
		[ -z "$asleep" ] || quiet
		# policy-rc.d semantics are the host's own business: openssh-server, where asked for, may start its service.
		# shellcheck disable=SC2086 # a list of package names
		as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $want >&2
		# shellcheck disable=SC2086
		[ -z "$asleep" ] || unquiet $want
	fi
}

macos() {
	have brew || {
		say "needs Homebrew: https://brew.sh"
		exit 1
	}
	want=$(missing qemu-system-x86_64 qemu go go socket_vmnet socket_vmnet)
	# shellcheck disable=SC2086
	[ -z "$want" ] || brew install $want >&2
}

# newer_go brings the Go that go.mod asks for where the installed one (before 1.21) cannot do that by itself: toolchains
# are modules like any other.
newer_go() {
	go version | grep -Eq 'go1\.(2[1-9]|[3-9][0-9])' && return
	tool="golang.org/toolchain@v0.0.1-go$go_version.$(go env GOOS)-$(go env GOARCH)"
	root="$(go env GOMODCACHE)/$tool"
	if ! [ -x "$root/bin/go" ]; then
		say "bringing Go $go_version"
		dir=$(mktemp -d)
		(cd "$dir" && printf 'module deps\n' >go.mod && go mod download "$tool")
		rm -r "$dir"
		chmod -R u+w "$root/bin" "$root/pkg/tool"
		find "$root/bin" "$root/pkg/tool" -type f -exec chmod +x {} +
	fi
	mkdir -p bin
	ln -sf "$root/bin/go" bin/go # the Makefile looks there first
	ln -sf "$root/bin/gofmt" bin/gofmt
}

case $(uname -s) in
Linux)
	have apt-get || {
		say "knows apt-get and brew only; install by hand: Go $go_version, QEMU, its firmware, mmdebstrap, e2fsprogs, mtools, GRUB"
		exit 1
	}
	debian "$@"
	;;
Darwin) macos ;;
*)
	say "does not know $(uname -s)"
	exit 1
	;;
esac
newer_go

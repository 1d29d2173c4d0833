#!/usr/bin/env bash
# Installs a Debian package of labctl into a fresh Debian of its own, as apt does it, and lets labctl look around there. Needs
# root, mmdebstrap and a Debian mirror; 2 minutes.
#
#   build/deb-test.sh dist/labctl_1.2.3_amd64.deb
set -euo pipefail
deb=$(readlink -f "${1:?usage: build/deb-test.sh DEB}")
root=$(mktemp -d)
trap 'umount -q "$root/proc" || :; rm -rf --one-file-system "$root"' EXIT
mmdebstrap --variant=apt --include=ca-certificates,openssh-client --skip=cleanup/apt --format=directory bookworm "$root" >/dev/null
cp "$deb" "$root/tmp/labctl.deb"
cp /etc/resolv.conf "$root/etc/resolv.conf"
mount -t proc proc "$root/proc" # a program finds what is beside it by /proc/self/exe
inside() { env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive chroot "$root" "$@"; }
inside apt-get install -y -qq --no-install-recommends /tmp/labctl.deb >/dev/null
inside dpkg -s labctl | grep '^Status: install ok installed'
inside labctl version
printf 'name: "a"\nnetworks: b: cidr: "10.0.0.0/24"\nservers: c: nics: b: {}\n' >"$root/tmp/lab.cue"
inside labctl vet /tmp/lab.cue
# There is no QEMU: doctor says so, says how to get it, and its status is 1.
status=0
inside labctl doctor --provider qemu >"$root/tmp/doctor" || status=$?
cat "$root/tmp/doctor"
[ $status = 1 ] && grep -q qemu-system-x86 "$root/tmp/doctor"
inside apt-get purge -y -qq labctl >/dev/null
[ ! -e "$root/usr/lib/labctl" ]
echo "installed, ran and went"

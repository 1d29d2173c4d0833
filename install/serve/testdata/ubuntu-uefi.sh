#!/bin/sh
# What labctl does while the installer ubuntu makes db: it tells how far that is, and puts the seed in place.
server=http://10.0.0.254/target/52:54:00:00:00:0d
me=/tmp/labctl
to=/target
of=3
log=/var/log/installer/subiquity-server-debug.log

fetch() { curl -fsS -m 60 -o "$2" "$server/$1"; }
inside() { curtin in-target --target "$to" -- "$@"; }
send() { curl -fsS -m 10 -H 'Content-Type: application/json' --data-binary "$1" "$server/report" >/dev/null 2>&1; }

# say PHASE [MORE]: a report; MORE is more of its JSON.
say() {
	case $1 in
	started) n=1 ;;
	install) n=2 ;;
	finish) n=3 ;;
	esac
	[ "$(cat $me.phase 2>/dev/null)" = "$1" ] || echo "labctl: installing $n/$of ($1)" >/dev/console
	echo "$1" >$me.phase
	send "{\"phase\":\"$1\",\"number\":$n,\"of\":$of,\"percent\":0$2}"
}

# quoted: lines as strings of JSON, with commas between them.
quoted() { tr -cd '\n\040-\176' | awk '{gsub(/[\\"]/, "\\\\&"); printf "%s\"%s\"", sep, $0; sep = ","}'; }

# fail WHY: the end without success. A disk that is half made does not start, and the machine comes back to the network.
fail() {
	echo "labctl: $1" >/dev/console
	watching=$(cat $me.pid 2>/dev/null)
	[ -z "$watching" ] || [ "$watching" = $$ ] || kill "$watching"
	say "$(cat $me.phase)" ",\"error\":$(echo "$1" | quoted),\"log\":[$(tail -n 20 "$log" | quoted)]"
	sleep 30
	disk=$(cat $me.disk 2>/dev/null)
	[ -z "$disk" ] || dd if=/dev/zero of="$disk" bs=1048576 count=1 2>/dev/null
	echo 1 >/proc/sys/kernel/sysrq
	echo s >/proc/sysrq-trigger
	sleep 3
	echo b >/proc/sysrq-trigger
}

# serial DISK: its serial number: virtio's own, NVMe's, or what SCSI's page 0x80 says.
serial() {
	for f in serial device/serial; do
		s=$(tr -d ' \n' <"$1/$f" 2>/dev/null) && [ -n "$s" ] && echo "$s" && return
	done
	dd if="$1/device/vpd_pg80" bs=1 skip=4 2>/dev/null | tr -d ' \n\000'
}

# choose: the disk that is meant, in $me.disk.
choose() {
	found= all=
	for d in /sys/block/*; do
		case ${d##*/} in loop* | ram* | zram* | sr* | fd* | dm-* | md* | nbd*) continue ;; esac
		[ "$(cat "$d/size")" != 0 ] && [ "$(cat "$d/removable")" = 0 ] || continue
		all="$all ${d##*/}"
		if [ -z "" ] || [ "$(serial "$d")" = "" ]; then found="$found ${d##*/}"; fi
	done
	set -- $found
	[ $# = 1 ] || { echo "the machine should have one disk, and there are $#: $all"; return 1; }
	echo "/dev/$1" >$me.disk
}

# plant: the seed, and what lets cloud-init act on it alone.
plant() {
	seed=$to/var/lib/cloud/seed/nocloud
	rm -rf "$seed" && mkdir -p "$seed" && chmod 0700 "$seed" || return 1
	for f in user-data meta-data network-config; do
		fetch "seed/$f" "$seed/$f" || fetch "seed/$f" "$seed/$f" || { echo "the seed's $f cannot be fetched from $server"; return 1; }
		chmod 0600 "$seed/$f"
	done
	mkdir -p $to/etc/cloud/cloud.cfg.d $to/etc/ssh/sshd_config.d $to/etc/default/grub.d
	rm -f $to/etc/cloud/cloud.cfg.d/*installer* $to/etc/cloud/cloud.cfg.d/*subiquity* $to/etc/cloud/cloud-init.disabled $to/etc/cloud/ds-identify.cfg $to/etc/netplan/*
	rm -rf $to/var/lib/cloud/seed/nocloud-net
	cat >$to/etc/cloud/cloud.cfg.d/95_labctl.cfg <<-END
		# Written by labctl.
		datasource_list: [NoCloud]
		apt: {preserve_sources_list: true}
		manage_etc_hosts: false
	END
	printf 'PasswordAuthentication no\nKbdInteractiveAuthentication no\nUseDNS no\n' >$to/etc/ssh/sshd_config.d/50-labctl.conf
	printf 'GRUB_TIMEOUT=0\nGRUB_TIMEOUT_STYLE=hidden\nGRUB_CMDLINE_LINUX="%s"\n' "console=tty0 console=ttyAMA0,115200" >$to/etc/default/grub.d/labctl.cfg
	rm -f $to/etc/ssh/ssh_host_*
	inside update-grub || { echo "update-grub failed"; return 1; }
}

# watch: says that the installer is at work, until it ends.
watch() {
	while sleep 10; do
		[ -e $me.late ] && say finish || say install
	done
}

ended() {
	kill "$(cat $me.pid)" 2>/dev/null
	say finish ',"done":true'
}

case $1 in
start)
	say started
	setsid sh $me watch </dev/null >/dev/null 2>&1 &
	echo $! >$me.pid
	;;
watch) watch ;;
disk)
	why=$(choose) || fail "$why"
	sed -i "s,@DISK@,$(cat $me.disk)," /autoinstall.yaml
	;;
late)
	: >$me.late
	say finish
	why=$(plant 2>&1) || fail "the seed could not be put in place: $(echo "$why" | tail -n 1)"
	ended
	;;
ended) ended ;;
failed) fail "the installer has ended with an error" ;;
esac
exit 0

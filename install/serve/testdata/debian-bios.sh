#!/bin/sh
# What labctl does while the installer debian makes web: it tells how far that is, and puts the seed in place.
server=http://10.0.0.254/target/52:54:00:00:00:0a
me=/tmp/labctl
to=/target
of=8
log=/var/log/syslog

fetch() { wget -q -O "$2" "$server/$1"; }
inside() { in-target "$@"; }
send() {
	printf 'POST /target/52:54:00:00:00:0a/report HTTP/1.0\r\nHost: 10.0.0.254\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s' "${#1}" "$1" | nc -w 10 10.0.0.254 80 >/dev/null 2>&1
}

# say PHASE [MORE]: a report; MORE is more of its JSON.
say() {
	case $1 in
	started) n=1 ;;
	mirror) n=2 ;;
	components) n=3 ;;
	partition) n=4 ;;
	base) n=5 ;;
	packages) n=6 ;;
	bootloader) n=7 ;;
	finish) n=8 ;;
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
		if [ -z "root" ] || [ "$(serial "$d")" = "root" ]; then found="$found ${d##*/}"; fi
	done
	set -- $found
	[ $# = 1 ] || { echo "one disk with serial root is wanted, and there are $#: $all"; return 1; }
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
	cat >$to/etc/cloud/cloud.cfg.d/95_labctl.cfg <<-END
		# Written by labctl.
		datasource_list: [NoCloud]
		apt: {preserve_sources_list: true}
		manage_etc_hosts: false
		system_info: {network: {renderers: [networkd], activators: [networkd]}}
	END
	printf 'PasswordAuthentication no\nKbdInteractiveAuthentication no\nUseDNS no\n' >$to/etc/ssh/sshd_config.d/50-labctl.conf
	printf 'GRUB_TIMEOUT=0\nGRUB_TIMEOUT_STYLE=hidden\nGRUB_CMDLINE_LINUX="%s"\n' "console=tty0 console=ttyS0,115200 no_timer_check" >$to/etc/default/grub.d/labctl.cfg
	rm -f $to/etc/ssh/ssh_host_*
	printf 'auto lo\niface lo inet loopback\n' >$to/etc/network/interfaces
	# Last of all packages: from here on names are asked of a service that does not run yet.
	inside apt-get -q -y --no-install-recommends install systemd-resolved || { echo "systemd-resolved cannot be installed"; return 1; }
	inside systemctl enable systemd-networkd.service systemd-resolved.service ssh.service || return 1
	inside update-grub || { echo "update-grub failed"; return 1; }
}

# watch: says where the installer is, until it ends or fails. It writes no line of its log for long where it asks a
# question, which nobody would answer.
watch() {
	phase=started quiet=0 size=
	while sleep 5; do
		[ ! -e $me.late ] || phase=finish
		case $(sed -n "s/.*main-menu\[[0-9]*\]: .*Menu item '\([^']*\)' selected.*/\1/p" $log | tail -n 1) in
		choose-mirror) phase=mirror ;;
		download-installer | load-* | anna) phase=components ;;
		partman-base) phase=partition ;;
		bootstrap-base | base-installer) phase=base ;;
		apt-setup-udeb | pkgsel) phase=packages ;;
		grub-installer | *bootloader*) phase=bootloader ;;
		finish-install) phase=finish ;;
		esac
		say $phase
		bad=$(sed -n -e "s/.*main-menu\[[0-9]*\]: .*\(Menu item '.*' failed\).*/\1/p" -e 's/.*: error: exiting on error //p' -e 's/.*anna\[[0-9]*\]: .*\(package retrieval failed.*\)/\1/p' $log | tail -n 1)
		[ -z "$bad" ] || fail "debian-installer: $bad"
		now=$(wc -c <$log)
		quiet=$((quiet + 1))
		[ "$now" = "$size" ] || quiet=0 size=$now
		[ $quiet -lt 180 ] || fail "debian-installer has done nothing for 15 minutes: it may have asked a question"
	done
}

ended() {
	kill "$(cat $me.pid)" 2>/dev/null
	say finish ',"done":true'
}

case $1 in
start)
	printf '#!/bin/sh\nexec sh %s ended\n' $me >/usr/lib/finish-install.d/96labctl
	chmod 0755 /usr/lib/finish-install.d/96labctl
	say started
	sh $me watch </dev/null >/dev/null 2>&1 &
	echo $! >$me.pid
	;;
watch) watch ;;
disk)
	why=$(choose) || fail "$why"
	debconf-set partman-auto/disk "$(cat $me.disk)"
	debconf-set grub-installer/bootdev "$(cat $me.disk)"
	;;
late)
	: >$me.late
	say finish
	why=$(plant 2>&1) || fail "the seed could not be put in place: $(echo "$why" | tail -n 1)"
	;;
ended) ended ;;
failed) fail "the installer has ended with an error" ;;
esac
exit 0

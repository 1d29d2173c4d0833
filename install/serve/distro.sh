#!/bin/sh
# What labctl does while the installer {{.Target.Installer.Name}} makes {{.Target.Machine}}: it tells how far that is, and puts the seed in place.
server={{.Server}}/target/{{.MAC}}
me=/tmp/labctl
to=/target
of={{len .Phases}}
{{- if .Preseed}}
log=/var/log/syslog

fetch() { wget -q -O "$2" "$server/$1"; }
inside() { in-target "$@"; }
send() {
	printf 'POST /target/{{.MAC}}/report HTTP/1.0\r\nHost: {{.HostPort}}\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s' "${#1}" "$1" | nc -w 10 {{.Host}} {{.Port}} >/dev/null 2>&1
}
{{- else}}
log=/var/log/installer/subiquity-server-debug.log

fetch() { curl -fsS -m 60 -o "$2" "$server/$1"; }
inside() { curtin in-target --target "$to" -- "$@"; }
send() { curl -fsS -m 10 -H 'Content-Type: application/json' --data-binary "$1" "$server/report" >/dev/null 2>&1; }
{{- end}}

# say PHASE [MORE]: a report; MORE is more of its JSON.
say() {
	case $1 in
{{- range $i, $p := .Phases}}
	{{$p}}) n={{inc $i}} ;;
{{- end}}
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
		if [ -z "{{.Target.Serial}}" ] || [ "$(serial "$d")" = "{{.Target.Serial}}" ]; then found="$found ${d##*/}"; fi
	done
	set -- $found
	[ $# = 1 ] || { echo "{{if .Target.Serial}}one disk with serial {{.Target.Serial}} is wanted{{else}}the machine should have one disk{{end}}, and there are $#: $all"; return 1; }
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
{{- if not .Preseed}}
	rm -f $to/etc/cloud/cloud.cfg.d/*installer* $to/etc/cloud/cloud.cfg.d/*subiquity* $to/etc/cloud/cloud-init.disabled $to/etc/cloud/ds-identify.cfg $to/etc/netplan/*
	rm -rf $to/var/lib/cloud/seed/nocloud-net
{{- end}}
	cat >$to/etc/cloud/cloud.cfg.d/95_labctl.cfg <<-END
		# Written by labctl.
		datasource_list: [NoCloud]
		apt: {preserve_sources_list: true}
		manage_etc_hosts: false
{{- if .Preseed}}
		system_info: {network: {renderers: [networkd], activators: [networkd]}}
{{- end}}
	END
	printf 'PasswordAuthentication no\nKbdInteractiveAuthentication no\nUseDNS no\n' >$to/etc/ssh/sshd_config.d/50-labctl.conf
	printf 'GRUB_TIMEOUT=0\nGRUB_TIMEOUT_STYLE=hidden\nGRUB_CMDLINE_LINUX="%s"\n' "{{.Console}}" >$to/etc/default/grub.d/labctl.cfg
	rm -f $to/etc/ssh/ssh_host_*
{{- if .Preseed}}
	printf 'auto lo\niface lo inet loopback\n' >$to/etc/network/interfaces
	# Last of all packages: from here on names are asked of a service that does not run yet.
	inside apt-get -q -y --no-install-recommends install systemd-resolved || { echo "systemd-resolved cannot be installed"; return 1; }
	inside systemctl enable systemd-networkd.service systemd-resolved.service ssh.service || return 1
{{- end}}
	inside update-grub || { echo "update-grub failed"; return 1; }
}

{{- if .Preseed}}

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
{{- else}}

# watch: says that the installer is at work, until it ends.
watch() {
	while sleep 10; do
		[ -e $me.late ] && say finish || say install
	done
}
{{- end}}

ended() {
	kill "$(cat $me.pid)" 2>/dev/null
	say finish ',"done":true'
}

case $1 in
start)
{{- if .Preseed}}
	printf '#!/bin/sh\nexec sh %s ended\n' $me >/usr/lib/finish-install.d/96labctl
	chmod 0755 /usr/lib/finish-install.d/96labctl
{{- end}}
	say started
	{{if .Preseed}}sh $me watch </dev/null >/dev/null 2>&1 &{{else}}setsid sh $me watch </dev/null >/dev/null 2>&1 &{{end}}
	echo $! >$me.pid
	;;
watch) watch ;;
disk)
	why=$(choose) || fail "$why"
{{- if .Preseed}}
	debconf-set partman-auto/disk "$(cat $me.disk)"
	debconf-set grub-installer/bootdev "$(cat $me.disk)"
{{- else}}
	sed -i "s,@DISK@,$(cat $me.disk)," /autoinstall.yaml
{{- end}}
	;;
late)
	: >$me.late
	say finish
	why=$(plant 2>&1) || fail "the seed could not be put in place: $(echo "$why" | tail -n 1)"
	{{- if not .Preseed}}
	ended
	{{- end}}
	;;
ended) ended ;;
failed) fail "the installer has ended with an error" ;;
esac
exit 0

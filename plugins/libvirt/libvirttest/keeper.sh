#!/bin/bash
# The first process of a libvirt host made for a test: it builds the host's world inside the namespaces it was started
# in, starts the daemons, and obeys single words that come through the fifo "ctl". It reaps at once whatever libvirtd
# leaves behind (a domain is destroyed in 0.2 s then, not in 2), and when its standard input closes, because the test
# ended or was killed, it ends, and with it everything in its process namespace. No signal but KILL
# ends it, being the first of its process namespace, nor may one end its leash without it noticing.
#
#   keeper.sh FOLDER system|session [argument of libvirtd ...]
set -eu
dir=$1 mode=$2
shift 2

# cover FOLDER: the folder shows the same things as before, but what is made new in it is the test's own.
cover() {
	local e
	mkdir -p "$dir/old"
	mount --bind "$1" "$dir/old"
	mount -t tmpfs -o mode=755 covered "$1"
	for e in "$dir"/old/*; do
		if [ -L "$e" ]; then cp -a "$e" "$1/"; continue; fi
		if [ -d "$e" ]; then mkdir "$1/${e##*/}"; else : >"$1/${e##*/}"; fi
		mount --bind "$e" "$1/${e##*/}"
	done
	umount "$dir/old"
}

# own FOLDER NAME: the folder is the test's, empty at first, and seen from outside as NAME below the test's folder.
own() {
	mkdir -p "$1" "$dir/$2"
	mount --bind "$dir/$2" "$1"
}

# devices: without /dev/kvm, which may be there and hang every guest (docs: FINDINGS), and without the disks.
devices() {
	mkdir -p "$dir/dev"
	mount --rbind /dev "$dir/dev"
	mount -t tmpfs -o mode=755 devices /dev
	ln -s /proc/self/fd /dev/fd
	ln -s fd/0 /dev/stdin
	ln -s fd/1 /dev/stdout
	ln -s fd/2 /dev/stderr
	local n
	for n in null zero full random urandom tty vhost-net net shm; do
		[ -e "$dir/dev/$n" ] || continue
		if [ -d "$dir/dev/$n" ]; then mkdir "/dev/$n"; else : >"/dev/$n"; fi
		mount --rbind "$dir/dev/$n" "/dev/$n"
	done
	mkdir /dev/pts
	mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts /dev/pts
	ln -s pts/ptmx /dev/ptmx
	[ -c /dev/net/tun ] || { rm -rf /dev/net; mkdir -p /dev/net; mknod -m 666 /dev/net/tun c 10 200; }
	umount -l "$dir/dev"
}

world() {
	mount --make-rprivate /
	mount -t sysfs sysfs /sys # of this network namespace; also without control groups: nothing is left in the host's
	devices
	mount -t tmpfs -o mode=755 run /run # without the host's system bus, which leads to its firewalld and machined
	mkdir -p /run/sshd /run/lock
	cover /var/lib
	own /run/libvirt run
	own /var/lib/libvirt lib
	own /var/lib/labctl labctl
	own /var/cache/libvirt cache
	own /var/log/libvirt log
	own /etc/libvirt etc
	mkdir -p "$dir/runtime" "$dir/home"
	[ "$mode" = system ] || chown -R nobody "$dir/runtime" "$dir/home"
	chmod 700 "$dir/runtime"
	ip link set lo up
	mount --make-rshared / # what a test mounts later, libvirtd sees as well
}

# daemon NAME ARGUMENT ...: started in the background where /proc shows this process namespace; its id is in $pid.
daemon() {
	unshare --mount --propagation slave /bin/bash -c 'mount -t proc proc /proc && exec "$@"' - "$@" 3<&- </dev/null >>"$dir/log/daemons.log" 2>&1 &
	pid=$!
}

world
if [ ! -p "$dir/ctl" ]; then mkfifo -m 666 "$dir/ctl"; fi # a session's test is another user inside
exec 3<>"$dir/ctl"
exec 4<&0 # the test's end of the leash; a background job would otherwise get /dev/null
(
	trap '' HUP INT QUIT TERM # of a terminal, or of timeout(1), which sends them to all that a test has started
	cat <&4 >/dev/null
	echo quit >"$dir/ctl"
) &
leash=$!
exec 4<&- </dev/null

libvirtd=0
start() {
	if [ "$mode" = system ]; then
		daemon libvirtd "$@"
	else
		export XDG_RUNTIME_DIR="$dir/runtime" HOME="$dir/home" LOGNAME=nobody USER=nobody
		daemon setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups libvirtd "$@"
	fi
	libvirtd=$pid
}

[ "$mode" != system ] || daemon virtlogd
: >"$dir/ready"
while kill -0 "$leash" 2>/dev/null; do
	read -r -t 0.5 word token rest <&3 || continue
	case $word in
	run) daemon $rest ;; # a program and arguments without spaces, for as long as the host is there
	start) start "$@" ;;
	kill) kill -KILL "$libvirtd" || true ;;
	stop) kill -STOP "$libvirtd" || true ;;
	cont) kill -CONT "$libvirtd" || true ;;
	quit) break ;;
	esac
	echo "$token" >"$dir/said.new"
	mv "$dir/said.new" "$dir/said"
done

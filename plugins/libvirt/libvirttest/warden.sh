# Stands beside a libvirt host made for a test, outside its process namespace: when its standard input closes, because
# the test ended or was killed, it kills whatever is still in the host's mounts or network, which are those of the
# process KEEPER; a program that the test ran there may have left something behind.
#
#   warden.sh KEEPER
trap '' HUP INT QUIT TERM
exec 5<"/proc/$1/ns/mnt" 6<"/proc/$1/ns/net" || exit 0 # as long as they are open nothing else gets their numbers
mnt=$(readlink /proc/$$/fd/5) net=$(readlink /proc/$$/fd/6)
if [ "$mnt" = "$(readlink /proc/$$/ns/mnt)" ] || [ "$net" = "$(readlink /proc/$$/ns/net)" ]; then exit 1; fi
cat >/dev/null
for round in 1 2 3 4 5 6 7 8 9 10; do
	left=$(find /proc/[0-9]*/ns/mnt /proc/[0-9]*/ns/net \( -lname "${mnt//[][]/?}" -o -lname "${net//[][]/?}" \) 2>/dev/null | cut -d/ -f3 | sort -u)
	[ -n "$left" ] || break
	kill -KILL $left 2>/dev/null
	sleep 0.05
done

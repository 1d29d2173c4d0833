package libvirttest

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"syscall"
)

// nobody is the group of the user nobody.
func nobody() string {
	u, err := user.Lookup("nobody")
	if err != nil {
		return "65534"
	}
	return u.Gid
}

// plainKeeper is the keeper of a session where the test is no root: no namespaces, and what libvirtd started is ended
// by its process group.
const plainKeeper = `
set -u
dir=$1; shift
mkfifo -m 600 "$dir/ctl"
exec 3<>"$dir/ctl" 4<&0
(trap '' HUP INT QUIT TERM; cat <&4 >/dev/null; echo quit >"$dir/ctl") &
leash=$!
exec 4<&- </dev/null
: >"$dir/ready"
pid=0
while kill -0 $leash 2>/dev/null; do
	read -r -t 0.5 word token <&3 || continue
	case $word in
	start) "$@" 3<&- >>"$dir/log/daemons.log" 2>&1 & pid=$! ;;
	kill) kill -KILL $pid ;;
	stop) kill -STOP $pid ;;
	cont) kill -CONT $pid ;;
	quit) break ;;
	esac
	echo "$token" >"$dir/said.new"
	mv "$dir/said.new" "$dir/said"
done
kill -KILL $pid
for f in "$dir"/runtime/libvirt/qemu/run/*.pid "$dir"/home/.config/libvirt/qemu/*/*.pid; do
	[ ! -e "$f" ] || kill -KILL "$(cat "$f")"
done 2>/dev/null
`

// plain is a session's libvirtd as the test's own user, without namespaces.
func (d *Daemon) plain(c Config) *exec.Cmd {
	libvirtd, _ := find("libvirtd")
	args := append([]string{"-c", plainKeeper, "keeper", d.Dir, libvirtd, "--config", filepath.Join(d.Dir, "etc", "libvirtd.conf")}, c.Args...)
	cmd := exec.Command("bash", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Env = append(os.Environ(), d.Env()...)
	return cmd
}

package libvirttest

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// spaced is the keeper in namespaces of its own.
func (d *Daemon) spaced(c Config) *exec.Cmd {
	mode := "system"
	if c.Session {
		mode = "session"
	}
	bash, _ := find("bash")
	args := append([]string{"-c", keeper, "keeper.sh", d.Dir, mode, "--config", filepath.Join(d.Dir, "etc", "libvirtd.conf")}, c.Args...)
	cmd := exec.Command(bash, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID}
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	return cmd
}

package libvirttest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// spaced is the keeper in namespaces of its own.
func (d *Daemon) spaced(c Config) *exec.Cmd {
	mode := "system"
	if c.Session {
		mode = "session"
	}
	bash, _ := find("bash")
	args := append([]string{filepath.Join(d.Dir, "keeper.sh"), d.Dir, mode, "--config", filepath.Join(d.Dir, "etc", "libvirtd.conf")}, c.Args...)
	cmd := exec.Command(bash, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID}
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	return cmd
}

// dialInto opens a connection from a thread that changes to the host's network and ends with it.
func (d *Daemon) dialInto(ctx context.Context, network, address string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	var enter func()
	enter = func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if unix.Gettid() == os.Getpid() {
			// But for the first thread, by which the whole process would be taken for one that is on the host.
			defer runtime.UnlockOSThread()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				enter()
			}()
			<-ended
			return
		}
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", d.keeper))
		if err == nil {
			defer ns.Close()
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		}
		if err != nil {
			done <- result{nil, err}
			return
		}
		var dialer net.Dialer
		c, err := dialer.DialContext(ctx, network, address) // a single address is dialled by this goroutine itself
		done <- result{c, err}
	}
	go enter()
	r := <-done
	return r.conn, r.err
}

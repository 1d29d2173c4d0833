package libvirttest

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What a test has started must end with it, however it ends: it may be killed together with its whole process group,
// or alone, or only the "go test" above it, which nobody else would notice. So each process that holds a host has the
// end of a pipe whose other end only the test has, in a session of its own, where no signal for the test's group
// reaches it.

//go:embed warden.sh
var warden string

// leashed starts cmd, which ends when its standard input does: when the test is over or has been killed. ended is
// closed when it has.
func leashed(t testing.TB, what string, cmd *exec.Cmd) (ended <-chan struct{}, err error) {
	leash, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	over := make(chan struct{})
	go func() { cmd.Wait(); close(over) }()
	t.Cleanup(func() {
		leash.Close()
		select {
		case <-over:
		case <-time.After(10 * time.Second):
			t.Errorf("libvirttest: %s has not ended after 10s", what)
			cmd.Process.Kill()
			<-over
		}
	})
	return over, nil
}

// ward starts the warden, who outlives the test by a moment and kills what is still on the host. Only namespaces tell
// who that is: without them there is nothing to do.
func (d *Daemon) ward() error {
	if os.Getuid() != 0 {
		return nil
	}
	bash, _ := find("bash")
	cmd := exec.Command(bash, "-c", warden, "warden", strconv.Itoa(d.keeper))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if _, err := leashed(d.t, "the host's warden", cmd); err != nil {
		return fmt.Errorf("cannot start the warden of the test's libvirt host: %w", err)
	}
	return nil
}

// orphaned ends this process when the "go test" that started it is gone.
func orphaned(t testing.TB) {
	parent := os.Getppid()
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", parent))
	if err != nil || strings.TrimSpace(string(name)) != "go" {
		return
	}
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	go func() {
		for {
			select {
			case <-over:
				return
			case <-time.After(200 * time.Millisecond):
			}
			if os.Getppid() != parent {
				os.Exit(1) // and so let go of every leash
			}
		}
	}()
}

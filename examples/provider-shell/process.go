package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/labctl-dev/labctl/provider"
)

// A machine's process and all that it starts hold a lock on the file "lock" in its folder, which the kernel takes away when
// the last of them ends, however that happens. So nobody has to believe a process id: it is read only while the lock is held.

// start starts the machine's shell in a session of its own, so that it outlives labctl and this plugin.
func start(dir, name string, s shellAttrs) error {
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close() // the child has it by then
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return &provider.Error{Code: provider.InUse, Text: "something of its last process still runs: see the holders of " + lock.Name()}
	}
	_ = os.Remove(filepath.Join(dir, "pid")) // the last one's: from here on it would be wrong
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	limit := fmt.Sprintf("ulimit -v %d 2>/dev/null; exec sh -c \"$1\"", int64(s.Memory)/1024) // macOS has no such limit
	cmd := exec.Command("sh", "-c", limit, "sh", s.Run)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.Env = append(os.Environ(), "MACHINE="+name)
	cmd.ExtraFiles = []*os.File{lock}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot start %q: %w", s.Run, err)
	}
	go func() { _ = cmd.Wait() }() // while the plugin lives, nothing of it is left as a zombie
	return os.WriteFile(filepath.Join(dir, "pid"), []byte(strconv.Itoa(cmd.Process.Pid)), 0o600)
}

// running is the process id of a machine's shell; 0: it does not run.
func running(dir string) int {
	lock, err := os.Open(filepath.Join(dir, "lock"))
	if err != nil {
		return 0
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); !errors.Is(err, syscall.EWOULDBLOCK) {
		return 0
	}
	b, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(string(b))
	return pid
}

// stop ends the session: it is asked, and after five seconds made to.
func stop(ctx context.Context, dir string) error {
	for n := 0; ; n++ {
		pid := running(dir)
		if pid == 0 {
			return nil
		}
		signal := syscall.SIGTERM
		if n >= 100 {
			signal = syscall.SIGKILL
		}
		if err := syscall.Kill(-pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("cannot stop process %d: %w", pid, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("process %d still runs: %w", pid, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

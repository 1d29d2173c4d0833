package netd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	// startWithin is how long the process may take to answer, when the caller's context says nothing shorter.
	startWithin = 20 * time.Second
	// endWithin is how long it may take to end when asked, when signalled, and when killed.
	endWithin = 3 * time.Second
	// maxPath is the longest path of a unix socket, in bytes (macOS: 104 with the final zero; Linux has a few more).
	maxPath = 103
	// maxLog is the size from which a log is begun anew when the process starts, in bytes.
	maxLog = 4 << 20
)

// Paths are where a lab's network process has its files.
type Paths struct {
	Dir string // lock and log; absolute
	Run string // netd.sock, and net/ with a folder per network; absolute and short
}

// Socket is the path of the control socket.
func (p Paths) Socket() string { return filepath.Join(p.Run, "netd.sock") }

// Log is the path of the process's log.
func (p Paths) Log() string { return filepath.Join(p.Dir, "log") }

// Folder is where machines listen that are on the network with that key.
func (p Paths) Folder(key string) string { return filepath.Join(p.nets(), key) }

func (p Paths) lock() string { return filepath.Join(p.Dir, "lock") }
func (p Paths) nets() string { return filepath.Join(p.Run, "net") }

func (p Paths) check() error {
	switch {
	case !filepath.IsAbs(p.Dir) || !filepath.IsAbs(p.Run):
		return fail("start", Invalid, "folders %q and %q are not absolute", p.Dir, p.Run)
	case len(p.Socket()) > maxPath:
		return fail("start", Invalid, "%s is longer than the %d bytes a socket's path may have", p.Socket(), maxPath)
	}
	return nil
}

// StartOptions say how the process is started.
type StartOptions struct {
	Paths
	Exe   string   // the program: os.Executable of one that calls Main when its first argument is "netd"
	Argv0 string   // its name as it sees it, where that matters; "" is Exe
	Env   []string // its environment; nil: what name lookup and the Go runtime need of ours, and no secrets
}

// Start returns when a network process answers at o's socket: the one that runs already, or a new one, detached, so
// that it outlives us. It is told nothing: after a new start there are no networks.
func Start(ctx context.Context, o StartOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	if err := o.folders(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	for {
		_, err := Client{o.Socket()}.Status(ctx)
		if err == nil || CodeOf(err) == WrongServer {
			return err
		}
		if ctx.Err() != nil {
			return fail("start", CodeOf(ctx.Err()), "waited until %s answers: %v", o.Socket(), ctx.Err())
		}
		child, err := o.spawn()
		if err != nil {
			return fail("start", Failed, "cannot start %s: %v", o.Exe, err)
		}
		again, err := o.await(ctx, child)
		if !again {
			return err
		}
	}
}

// folders makes the folders. The run folder may lie where others can write: it must be ours.
func (p Paths) folders() error {
	for _, d := range []string{p.Dir, p.Run} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return fail("start", Failed, "cannot make its folder: %v", err)
		}
	}
	info, err := os.Lstat(p.Run)
	if err != nil {
		return fail("start", Failed, "%v", err)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || !info.IsDir() || int(st.Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
		return fail("start", Failed, "%s is not a folder that only we can write to: %s", p.Run, info.Mode())
	}
	return nil
}

// child is a process just started.
type child struct {
	exit chan int // gets the exit code
	log  int64    // where its part of the log begins
}

func (o StartOptions) spawn() (*child, error) {
	log, err := os.OpenFile(o.Log(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	c := &child{exit: make(chan int, 1)}
	if info, err := log.Stat(); err == nil {
		if c.log = info.Size(); c.log > maxLog && log.Truncate(0) == nil {
			c.log = 0
		}
	}
	argv0 := o.Argv0
	if argv0 == "" {
		argv0 = o.Exe
	}
	cmd := &exec.Cmd{
		Path: o.Exe, Args: []string{argv0, "netd", "-dir", o.Dir, "-run", o.Run}, Env: o.environment(), Dir: "/",
		Stdout: log, Stderr: log, // stdin is /dev/null
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() { // until it ends or we do: else it would stay a zombie when it ends before us
		_ = cmd.Wait()
		c.exit <- cmd.ProcessState.ExitCode()
	}()
	return c, nil
}

// environment is what the process needs: it lives long, and whoever asks for its environment should find no secrets.
func (o StartOptions) environment() []string {
	if o.Env != nil {
		return o.Env
	}
	env := []string{}
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		switch name {
		case "PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR", "XDG_RUNTIME_DIR", "GODEBUG", "GOCOVERDIR", "LOCALDOMAIN", "RES_OPTIONS":
			env = append(env, v)
		}
	}
	return env
}

// await waits until the child answers. again says that it found another process on its way out, or in.
func (o StartOptions) await(ctx context.Context, c *child) (again bool, err error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			if h := whoHolds(o.lock()); h.PID != 0 && h.Socket != o.Socket() {
				return false, fail("start", InUse, "process %d holds %s and answers at %s, not at %s", h.PID, o.lock(), h.Socket, o.Socket())
			}
			return false, fail("start", CodeOf(ctx.Err()), "waited until %s answers: %v%s", o.Socket(), ctx.Err(), o.tail(c.log))
		case code := <-c.exit:
			if code != exitLocked {
				return false, fail("start", Failed, "it ended with exit code %d:%s", code, o.tail(c.log))
			}
			if h := whoHolds(o.lock()); h.PID != 0 && h.Socket != o.Socket() {
				return false, fail("start", InUse, "process %d holds %s and answers at %s, not at %s", h.PID, o.lock(), h.Socket, o.Socket())
			}
			select { // the holder is about to answer, or to end
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
			return true, nil
		case <-tick.C:
			if _, err := (Client{o.Socket()}).Status(ctx); err == nil {
				return false, nil
			}
		}
	}
}

// tail is the last lines of the log from an offset on, at most 1,000 bytes, each on a line of its own.
func (p Paths) tail(from int64) string {
	f, err := os.Open(p.Log())
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size()-from > 1000 {
		from = info.Size() - 1000
	}
	b := make([]byte, 1000)
	n, err := f.ReadAt(b, from)
	if err != nil && err != io.EOF {
		return ""
	}
	if n == 0 {
		return " (its log is empty)"
	}
	return "\n" + strings.TrimSpace(string(b[:n]))
}

// Stop ends the network process, whatever state it is in, and returns when it has ended and left neither socket nor
// lock. None running is success.
func Stop(ctx context.Context, p Paths) error {
	if err := p.check(); err != nil {
		return err
	}
	ask, cancel := context.WithTimeout(ctx, endWithin)
	defer cancel()
	_ = Client{p.Socket()}.Stop(ask) // the lock says whether it worked
	for _, sig := range []syscall.Signal{0, syscall.SIGTERM, syscall.SIGKILL} {
		if h := whoHolds(p.lock()); sig != 0 && h.PID > 1 {
			_ = syscall.Kill(h.PID, sig) // it holds the lock, so this is the process that wrote the number
		}
		ended, err := p.sweep(ctx, sig)
		if ended || err != nil {
			return err
		}
	}
	return fail("stop", Timeout, "process %d holds %s and cannot be ended", whoHolds(p.lock()).PID, p.lock())
}

// sweep waits for the lock, and removes what a process that was killed has left. Before any signal it does not wait
// long: a process that was asked and has not gone hangs.
func (p Paths) sweep(ctx context.Context, sig syscall.Signal) (ended bool, err error) {
	within := endWithin
	if sig == 0 {
		within = time.Second
	}
	for deadline := time.Now().Add(within); ; {
		if _, err := os.Stat(p.Dir); errors.Is(err, os.ErrNotExist) {
			return true, nil // never started
		}
		held, err := acquire(p.lock())
		if err == nil {
			_ = os.Remove(p.Socket())
			folders, _ := os.ReadDir(p.nets())
			for _, f := range folders {
				_ = os.Remove(filepath.Join(p.nets(), f.Name())) // unless a machine's socket is in it
			}
			_ = os.Remove(p.nets())
			held.release()
			return true, nil
		}
		if !errors.Is(err, errLocked) {
			return false, fail("stop", Failed, "%v", err)
		}
		if time.Now().After(deadline) {
			return false, nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return false, fmt.Errorf("waiting until the network process ends: %w", ctx.Err())
		}
	}
}

package netd

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// The exit codes of Main.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
	exitLocked = 3 // another process has the lock
)

// orphan is how long the process stays without ever being given a network: who started it has died.
const orphan = 5 * time.Minute

// Main is the network process. args are its flags, without the program's name and "netd". It logs to stderr, ends
// when it is told to, by SIGTERM, or with its last network, and leaves no socket and no lock behind. It returns the
// exit code.
func Main(args []string) int {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	flags := flag.NewFlagSet("netd", flag.ContinueOnError)
	dir := flags.String("dir", "", "folder of the lock")
	run := flags.String("run", "", "folder of the control socket, with the networks' folders in its \"net\"")
	if err := flags.Parse(args); err != nil || flags.NArg() > 0 || !filepath.IsAbs(*dir) || !filepath.IsAbs(*run) {
		log.Error("needs -dir and -run, both absolute", "args", args)
		return exitUsage
	}
	p := Paths{Dir: *dir, Run: *run}
	syscall.Umask(0o077)
	signal.Ignore(syscall.SIGHUP)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	switch err := reside(ctx, p, log); {
	case errors.Is(err, errLocked):
		log.Info(err.Error(), "lock", p.lock(), "pid", whoHolds(p.lock()).PID)
		return exitLocked
	case err != nil:
		log.Error("network process failed", "why", err)
		return exitFailed
	}
	return exitOK
}

// reside is the process from lock to release.
func reside(ctx context.Context, p Paths, log *slog.Logger) error {
	held, err := acquire(p.lock())
	if err != nil {
		return err
	}
	defer held.release()
	held.sign(holder{PID: os.Getpid(), Socket: p.Socket()})
	if err := os.MkdirAll(p.nets(), 0o700); err != nil {
		return fmt.Errorf("cannot make the networks' folder: %w", err)
	}
	defer os.Remove(p.nets())                                                        // unless machines' sockets are in it
	if err := os.Remove(p.Socket()); err != nil && !errors.Is(err, fs.ErrNotExist) { // of one that was killed
		return fmt.Errorf("cannot remove the socket of the one before: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: p.Socket(), Net: "unix"})
	if err != nil {
		return fmt.Errorf("cannot listen for control: %w", err)
	}
	if err := os.Chmod(p.Socket(), 0o600); err != nil {
		_ = l.Close()
		return fmt.Errorf("cannot close the control socket to others: %w", err)
	}
	log.Info("network process started", "pid", os.Getpid(), "socket", p.Socket())
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := newServer(p.nets(), p.Netboot(), log)
	var accepting sync.WaitGroup
	accepting.Go(func() { s.accept(ctx, l) })
	wait(ctx, s)
	cancel()
	s.close()
	_ = l.Close() // removes the socket
	accepting.Wait()
	log.Info("network process ends")
	return nil
}

// wait returns when the process should end.
func wait(ctx context.Context, s *server) {
	late := time.NewTimer(orphan)
	defer late.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.end:
			return
		case <-late.C:
			if s.empty() {
				return
			}
		}
	}
}

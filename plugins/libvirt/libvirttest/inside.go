package libvirttest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// enter is a program for sh: it goes back to the folder the command was started in, since who changes to other mounts
// ends up in /, and to an ordinary user's rights if need be.
const enter = `cd "$1" && shift && exec "$@"`

// Command is a program on the host: it sees the host's files, devices and network, where qemu:///system is the
// Daemon's libvirtd, and is its process directly (signals reach it). Its environment is the test's, and Env.
func (d *Daemon) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	if prefix := d.prefix(); len(prefix) > 0 && !d.here() {
		path, err := find(name)
		if err != nil {
			path = name
		}
		if abs, err := filepath.Abs(path); err == nil && strings.Contains(path, "/") {
			path = abs
		}
		wd, _ := os.Getwd()
		cmd = exec.CommandContext(ctx, prefix[0], append(append(prefix[1:], "sh", "-c", enter, "sh", wd, path), args...)...)
	}
	cmd.Env = append(os.Environ(), d.Env()...)
	return cmd
}

// prefix are the words before a command that bring it onto the host.
func (d *Daemon) prefix() []string {
	if os.Getuid() != 0 {
		return nil
	}
	ns := fmt.Sprintf("/proc/%d/ns/", d.keeper)
	nsenter, _ := find("nsenter")
	words := []string{nsenter, "--mount=" + ns + "mnt", "--net=" + ns + "net", "--"}
	if d.Session {
		words = append(words, "setpriv", "--reuid=nobody", "--regid="+nobody(), "--clear-groups", "--")
	}
	return words
}

// Env is what a program on the host has in its environment besides: where a session's libvirtd is found, and that
// machines are emulated.
func (d *Daemon) Env() []string {
	env := []string{"LABCTL_ACCEL=tcg"}
	if d.Session {
		env = append(env, "TMPDIR=/tmp", "XDG_RUNTIME_DIR="+filepath.Join(d.Dir, "runtime"), "HOME="+filepath.Join(d.Dir, "home"),
			"XDG_CONFIG_HOME="+filepath.Join(d.Dir, "home", ".config"), "XDG_CACHE_HOME="+filepath.Join(d.Dir, "home", ".cache"))
	}
	return env
}

// Wrap writes a program of the same name into dir that runs it on the host, for scripts: put dir first in PATH.
func (d *Daemon) Wrap(dir, program string) error {
	path, err := find(program)
	if err != nil {
		return err
	}
	words := append(d.prefix(), "sh", "-c", enter, "sh")
	text := "#!/bin/sh\n# " + program + " on the libvirt host " + d.Dir + "\nexport"
	for _, e := range d.Env() {
		text += " " + quote(e)
	}
	text += "\nexec"
	for _, w := range words {
		text += " " + quote(w)
	}
	text += ` "$PWD" ` + quote(path) + ` "$@"` + "\n"
	return os.WriteFile(filepath.Join(dir, program), []byte(text), 0o755)
}

// Small is a folder on the host, the same path from everywhere, on a file system of its own of that size, such as
// "8m": for what happens when it is full. Only the host sees what is in it. It needs root.
func (d *Daemon) Small(t testing.TB, size string) string {
	t.Helper()
	dir, err := os.MkdirTemp(d.Dir, "small")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := d.Command(context.Background(), "mount", "-t", "tmpfs", "-o", "mode=755,size="+size, "small", dir).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v: %s", err, out)
	}
	t.Cleanup(func() { d.Command(context.Background(), "umount", "-l", dir).Run() })
	return dir
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// inside is the variable that tells a test that it is on the host, and on which.
const inside = "LABCTL_LIBVIRTTEST"

// here says that this process is on the host already.
func (d *Daemon) here() bool { return os.Getenv(inside) == d.Dir }

// Inside runs f on a libvirt host of its own: this test is started again there as a process, with the same flags, and
// fails if that fails. So everything f does, in-process or not, sees the host's network and files, and qemu:///system
// is the Daemon's. t must be a top-level test; f may have subtests.
func Inside(t *testing.T, c Config, f func(t *testing.T, d *Daemon)) {
	t.Helper()
	if dir := os.Getenv(inside); dir != "" {
		d, err := attach(t, dir, c)
		if err != nil {
			t.Fatalf("libvirttest: %v", err)
		}
		f(t, d)
		return
	}
	d := Start(t, c)
	ctx, cancel := context.Background(), context.CancelFunc(func() {})
	if end, ok := t.Deadline(); ok {
		ctx, cancel = context.WithDeadline(ctx, end.Add(-time.Second)) // so that the host is still removed
	}
	defer cancel()
	self, err := d.self()
	if err != nil {
		t.Fatal(err)
	}
	cmd := d.Command(ctx, self, again(t.Name())...)
	cmd.Env = append(cmd.Env, inside+"="+d.Dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGQUIT) } // with all stacks
	cmd.WaitDelay = 5 * time.Second
	leash, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer leash.Close()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	t.Logf("on the host %s:\n%s", d.Dir, out.Bytes())
	switch {
	case err != nil:
		t.Errorf("the test failed on its libvirt host: %v", err)
	case bytes.Contains(out.Bytes(), []byte("--- SKIP: "+t.Name()+" ")):
		t.Skip("skipped on its libvirt host")
	case !bytes.Contains(out.Bytes(), []byte("--- PASS: "+t.Name()+" ")):
		t.Errorf("the test did not run on its libvirt host")
	}
}

// self is this program, where the user of a session can start it: Go's own folder is closed to others.
func (d *Daemon) self() (string, error) {
	self, err := os.Executable()
	if err != nil || !d.Session || os.Getuid() != 0 {
		return self, err
	}
	program, err := os.ReadFile(self)
	if err != nil {
		return "", err
	}
	copied := filepath.Join(d.Dir, filepath.Base(self))
	return copied, os.WriteFile(copied, program, 0o755)
}

// attach is the Daemon of the host that this process is on. The process ends with the one that made the host.
func attach(t *testing.T, dir string, c Config) (*Daemon, error) {
	pid, err := os.ReadFile(filepath.Join(dir, "keeper"))
	if err != nil {
		return nil, err
	}
	go func() {
		io.Copy(io.Discard, os.Stdin) // until the other end is closed, however that ended
		os.Exit(1)
	}()
	d := &Daemon{Dir: dir, Session: c.Session, t: t}
	d.address()
	d.keeper, err = strconv.Atoi(string(pid))
	return d, err
}

// again are the flags of the test's second run: the first's, but only this test.
func again(name string) []string {
	args := []string{}
	only := "^" + name + "$"
	for _, a := range os.Args[1:] {
		flag, value, _ := strings.Cut(strings.TrimLeft(a, "-"), "=")
		switch flag {
		case "test.run":
			if _, sub, ok := strings.Cut(value, "/"); ok {
				only += "/" + sub
			}
		case "test.testlogfile", "test.coverprofile", "test.gocoverdir", "test.cpuprofile", "test.memprofile", "test.v", "test.count":
		default:
			args = append(args, a)
		}
	}
	return append(args, "-test.run="+only, "-test.v", "-test.count=1")
}

// Package libvirttest makes a libvirt host for a test: a real libvirtd with its own sockets, state, networks, devices
// and processes, which touches nothing of the host it runs on and is gone without a trace when the test is.
//
// A Daemon lives in namespaces of its own: mounts (its /run/libvirt, /var/lib/libvirt, /var/lib/labctl and
// /etc/libvirt are folders of a temporary one; there is no /dev/kvm), network (its bridges, its dnsmasq, its firewall
// rules) and processes (when the first one ends, all do). There are two ways to be on such a host: Command starts a
// program there, and Inside runs the test itself there.
//
// It must not know the provider it helps to test, nor anything of labctl.
package libvirttest

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/digitalocean/go-libvirt"
	"github.com/digitalocean/go-libvirt/socket/dialers"
)

//go:embed keeper.sh
var keeper string

// Config is what a test wants of its libvirt host. The zero value is a system libvirtd with QEMU.
type Config struct {
	// Session asks for the libvirtd of an ordinary user: the test's own, or nobody if that is root. It has no networks
	// with bridges.
	Session bool
	Conf    string   // lines for libvirtd.conf, after ours
	QEMU    string   // lines for qemu.conf, after ours
	Args    []string // of libvirtd, such as --listen
	// Prepare, if set, puts more into the host's folder before libvirtd starts; etc is its /etc/libvirt.
	Prepare func(etc string) error
}

// Daemon is a libvirt host made for a test. Its exported fields do not change.
type Daemon struct {
	Dir     string // what the host has of its own, seen from outside: run, lib, etc, log, labctl, ...
	Socket  string // libvirtd's socket, a path that serves from outside and on the host itself
	URI     string // qemu:///system?socket=... (or session): serves from outside and on the host itself
	TestURI string // test:///default?socket=...; what is made there is forgotten with its last connection
	Session bool   // it is the libvirtd of an ordinary user

	t      testing.TB
	keeper int // process id, as seen from outside
}

// Start makes a libvirt host and waits until its libvirtd answers. The test's cleanup removes it. Where that cannot
// be, the test is skipped, or fails in CI.
func Start(t testing.TB, c Config) *Daemon {
	t.Helper()
	need(t, c)
	sweep()
	d, err := start(t, c)
	if err != nil {
		t.Fatalf("libvirttest: %v", err)
	}
	return d
}

// need skips the test where a host cannot be made.
func need(t testing.TB, c Config) {
	t.Helper()
	if testing.Short() {
		t.Skip("short: starts a libvirt host")
	}
	skip := t.Skipf
	if os.Getenv("CI") == "true" {
		skip = t.Fatalf
	}
	programs := []string{"libvirtd"}
	if os.Getuid() == 0 || !c.Session {
		programs = append(programs, "virtlogd", "bash", "unshare", "nsenter", "setpriv", "mount", "ip", "dnsmasq")
	}
	for _, p := range programs {
		if _, err := find(p); err != nil {
			skip("no libvirt host can be made here: %v", err)
		}
	}
	if os.Getuid() != 0 && !c.Session {
		skip("no libvirt host can be made here: a system libvirtd needs root")
	}
}

// find is LookPath that knows where system programs are, which an ordinary user's PATH may not.
func find(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if _, err := os.Stat(filepath.Join(dir, program)); err == nil {
			return filepath.Join(dir, program), nil
		}
	}
	return "", err
}

func start(t testing.TB, c Config) (*Daemon, error) {
	d, err := prepare(t, c)
	if err != nil {
		return nil, err
	}
	if err := d.keep(c); err != nil {
		return nil, err
	}
	d.Resume()
	return d, nil
}

// prepare makes the host's folder, with a lock that says the test is alive.
func prepare(t testing.TB, c Config) (*Daemon, error) {
	dir, lock, err := folder()
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		if t.Failed() {
			tail(t, dir)
		}
		os.RemoveAll(dir)
		lock.Close()
	})
	if err := os.Chmod(dir, 0o755); err != nil { // QEMU is another user's
		return nil, err
	}
	d := &Daemon{Dir: dir, Session: c.Session, t: t}
	for _, sub := range []string{"etc", "log", "home", "run"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "runtime"), 0o700); err != nil {
		return nil, err
	}
	d.address()
	return d, d.configure(c)
}

func (d *Daemon) address() {
	d.Socket = filepath.Join(d.Dir, "run", "libvirt-sock")
	d.URI = "qemu:///system?socket=" + d.Socket
	if d.Session {
		d.Socket = filepath.Join(d.Dir, "runtime", "libvirt", "libvirt-sock")
		d.URI = "qemu:///session?socket=" + d.Socket
	}
	d.TestURI = "test:///default?socket=" + d.Socket
}

// configure writes libvirt's files. QEMU keeps the distribution's user, so that permissions are a real host's.
func (d *Daemon) configure(c Config) error {
	etc := filepath.Join(d.Dir, "etc")
	daemon := "auth_unix_rw = \"none\"\nauth_unix_ro = \"none\"\nunix_sock_rw_perms = \"0770\"\nunix_sock_group = \"root\"\n" +
		"log_outputs = \"3:file:" + filepath.Join(d.Dir, "log", "libvirtd.log") + "\"\n"
	qemu := "security_driver = \"none\"\nnamespaces = []\ncgroup_controllers = []\n"
	if d.Session {
		daemon = "log_outputs = \"3:file:" + filepath.Join(d.Dir, "home", "libvirtd.log") + "\"\n"
		qemu += "stdio_handler = \"file\"\n"
	}
	user := filepath.Join(d.Dir, "home", ".config", "libvirt")
	if err := os.MkdirAll(user, 0o755); err != nil {
		return err
	}
	for path, text := range map[string]string{
		filepath.Join(etc, "libvirtd.conf"): daemon + c.Conf, filepath.Join(etc, "qemu.conf"): qemu + c.QEMU,
		filepath.Join(user, "qemu.conf"): qemu + c.QEMU, filepath.Join(d.Dir, "keeper.sh"): keeper,
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	if c.Prepare != nil {
		return c.Prepare(etc)
	}
	return nil
}

// keep starts the keeper, or libvirtd itself where the test is no root, and sees to it that it ends with the test.
func (d *Daemon) keep(c Config) error {
	var cmd *exec.Cmd
	if os.Getuid() == 0 {
		cmd = d.spaced(c)
	} else {
		cmd = d.plain(c)
	}
	log, err := os.Create(filepath.Join(d.Dir, "log", "keeper.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	ended, err := leashed(d.t, "the host", cmd)
	if err != nil {
		return fmt.Errorf("cannot start the test's libvirt host: %w", err)
	}
	d.keeper = cmd.Process.Pid
	orphaned(d.t)
	if err := d.ward(); err != nil {
		return err
	}
	return d.ready(ended)
}

// ready waits until the host's world is built.
func (d *Daemon) ready(ended <-chan struct{}) error {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		if _, err := os.Stat(filepath.Join(d.Dir, "ready")); err == nil {
			pid := []byte(strconv.Itoa(d.keeper))
			return os.WriteFile(filepath.Join(d.Dir, "keeper"), pid, 0o644)
		}
		select {
		case <-ended:
			text, _ := os.ReadFile(filepath.Join(d.Dir, "log", "keeper.log"))
			return fmt.Errorf("the test's libvirt host has not come up: %s", text)
		case <-time.After(5 * time.Millisecond):
		}
	}
	return errors.New("the test's libvirt host has not come up after 30s")
}

// tell sends the keeper a word, with arguments that have no spaces, and waits until it has obeyed.
func (d *Daemon) tell(word string, args ...string) {
	d.t.Helper()
	token := fmt.Sprint(word, "-", os.Getpid(), "-", time.Now().UnixNano())
	f, err := os.OpenFile(filepath.Join(d.Dir, "ctl"), os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(strings.Join(append([]string{word, token}, args...), " ") + "\n")
		f.Close()
	}
	if err != nil {
		d.t.Fatalf("libvirttest: cannot tell the keeper to %s: %v", word, err)
	}
	d.await("the keeper to "+word, func() error {
		said, err := os.ReadFile(filepath.Join(d.Dir, "said"))
		if err == nil && strings.TrimSpace(string(said)) != token {
			err = errors.New("it has not yet")
		}
		return err
	})
}

// Kill kills libvirtd as a crash would; machines, dnsmasq and all else go on. It returns when nobody answers.
func (d *Daemon) Kill() {
	d.t.Helper()
	d.tell("kill")
	d.await("libvirtd to be dead", func() error {
		c, err := net.Dial("unix", d.Socket)
		if err != nil {
			return nil
		}
		c.Close()
		return errors.New("it still answers")
	})
}

// Resume starts libvirtd after Kill and returns when it answers.
func (d *Daemon) Resume() {
	d.t.Helper()
	d.tell("start")
	d.await("libvirtd to answer", d.ping)
}

// Hang stops libvirtd in its tracks: connections stay open and nobody answers.
func (d *Daemon) Hang() { d.t.Helper(); d.tell("stop") }

// Unhang lets it go on.
func (d *Daemon) Unhang() { d.t.Helper(); d.tell("cont"); d.await("libvirtd to answer", d.ping) }

func (d *Daemon) ping() error {
	c, err := net.Dial("unix", d.Socket)
	if err != nil {
		return err
	}
	defer c.Close()
	done := make(chan error, 1)
	go func() {
		l := libvirt.NewWithDialer(dialers.NewAlreadyConnected(c))
		err := l.ConnectToURI("test:///default")
		if err == nil {
			err = l.Disconnect()
		}
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(20 * time.Second):
		c.Close()
		return errors.Join(errors.New("no answer"), <-done)
	}
}

// await tries until f succeeds, at most 30 seconds.
func (d *Daemon) await(what string, f func() error) {
	d.t.Helper()
	var err error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	d.t.Fatalf("libvirttest: waited 30s for %s: %v", what, err)
}

// Virsh runs virsh on the host and returns what it prints; the test fails if it does.
func (d *Daemon) Virsh(args ...string) string {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := d.Command(ctx, "virsh", append([]string{"-q", "-c", d.URI}, args...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		d.t.Fatalf("virsh %s: %v: %s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// tail shows what the daemons have said last.
func tail(t testing.TB, dir string) {
	for _, name := range []string{"log/keeper.log", "log/daemons.log", "log/libvirtd.log", "home/libvirtd.log"} {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			continue
		}
		if st, err := f.Stat(); err == nil && st.Size() > 4000 {
			f.Seek(-4000, io.SeekEnd)
		}
		if text, _ := io.ReadAll(f); len(text) > 0 {
			t.Logf("%s:\n%s", name, text)
		}
		f.Close()
	}
}

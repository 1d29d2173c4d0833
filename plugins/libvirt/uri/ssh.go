package uri

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/labctl-dev/labctl/provider"
)

// ssh is a command of the user's own ssh program to the URI's host: agent, config, jump hosts and known hosts are its
// business. It never asks anything: there is nobody to answer.
func (u URI) ssh(options []string, remote ...string) (*exec.Cmd, error) {
	program := u.params.Get("command")
	if program == "" {
		program = "ssh"
	}
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, &provider.Error{Code: provider.Missing, Text: program}
	}
	// Forwardings of the user's config would collide with those of the user's own connections.
	args := append([]string{"-T", "-e", "none", "-o", "BatchMode=yes", "-o", "ClearAllForwardings=yes"}, options...)
	if u.Port != "" {
		args = append(args, "-p", u.Port)
	}
	if u.User != "" {
		args = append(args, "-l", u.User)
	}
	if key := u.params.Get("keyfile"); key != "" {
		args = append(args, "-i", key)
	}
	if u.params.Get("no_verify") == "1" {
		args = append(args, "-o", "StrictHostKeyChecking=no")
	}
	args = append(append(args, "--", u.Host), remote...)
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")            // its words are read by sshError
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is not for it: what runs is finished
	return cmd, nil
}

// dialSSH goes to libvirtd's socket on another host.
func (u URI) dialSSH() (net.Conn, error) {
	cmd, err := u.ssh(nil, "sh -c "+quote(u.remote()))
	if err != nil {
		return nil, err
	}
	return u.pipe(cmd)
}

// remote is the program on the other host that leads to its libvirtd: libvirt's own helper, which also finds the
// socket and starts a user's daemon, else netcat.
func (u URI) remote() string {
	helper := "exec virt-ssh-helper " + quote(u.Server())
	netcat := u.netcat()
	switch proxy := u.params.Get("proxy"); {
	case proxy == "native":
		return helper
	case proxy == "netcat", u.params.Get("netcat") != "", u.params.Get("socket") != "":
		return netcat
	}
	return "command -v virt-ssh-helper >/dev/null 2>&1 && " + helper + "; " + netcat
}

// netcat connects to the first socket that is there. OpenBSD's nc needs -N or -q0 to end with its input; which one it
// has is told by its usage, as libvirt finds out.
func (u URI) netcat() string {
	nc := u.params.Get("netcat")
	if nc == "" {
		nc = "nc"
	}
	nc = quote(nc)
	dirs := "/run/libvirt /var/run/libvirt"
	if u.Session() {
		dirs = `"${XDG_RUNTIME_DIR:-/run/user/$(id -u)}/libvirt" "$HOME/.cache/libvirt"`
	}
	look := `s=; for d in ` + dirs + `; do for n in ` + strings.Join(u.names(), " ") + `; do [ -n "$s" ] || [ ! -S "$d/$n" ] || s=$d/$n; done; done; ` +
		`[ -n "$s" ] || { echo "labctl: no socket of libvirt in ` + strings.ReplaceAll(dirs, `"`, ``) + `" >&2; exit 1; }; `
	if socket := u.params.Get("socket"); socket != "" {
		look = "s=" + quote(socket) + "; "
	}
	return look + `if ` + nc + ` -q 2>&1 | grep -q "requires an argument"; then exec ` + nc + ` -q0 -U "$s"; else exec ` + nc + ` -U "$s"; fi`
}

// quote makes one word of s for a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// process is the two ends of a program as a connection.
type process struct {
	uri    URI
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    io.ReadCloser
	stderr *talk

	once sync.Once
	end  error // why it ended; set by finish
}

// pipe starts a program whose standard input and output are the connection.
func (u URI) pipe(cmd *exec.Cmd) (*process, error) {
	p := &process{uri: u, cmd: cmd, stderr: &talk{changed: make(chan struct{}, 1)}}
	cmd.Stderr = p.stderr
	cmd.WaitDelay = 2 * time.Second // ssh's own children may keep its stderr open: a shared connection
	var err error
	if p.in, err = cmd.StdinPipe(); err == nil {
		p.out, err = cmd.StdoutPipe()
	}
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, &provider.Error{Code: provider.Internal, Text: err.Error()}
	}
	return p, nil
}

// Read implements net.Conn. At the end it says what the program said of it.
func (p *process) Read(b []byte) (int, error) {
	n, err := p.out.Read(b)
	if n > 0 || err == nil {
		return n, err
	}
	return 0, p.finish()
}

func (p *process) Write(b []byte) (int, error) {
	n, err := p.in.Write(b)
	if err != nil {
		// Its end says more; it closed its input only a moment before it.
		return n, p.finish()
	}
	return n, nil
}

// finish waits for the program to end, for a moment, and returns the reason.
func (p *process) finish() error {
	p.once.Do(func() {
		p.in.Close()
		stop := time.AfterFunc(2*time.Second, func() { p.cmd.Process.Kill() })
		defer stop.Stop()
		err := p.cmd.Wait()
		p.end = p.uri.sshError(p.stderr.String(), err)
	})
	return p.end
}

// Close implements net.Conn.
func (p *process) Close() error {
	p.cmd.Process.Kill()
	p.out.Close()
	p.finish()
	return nil
}

type processAddr string

func (processAddr) Network() string  { return "ssh" }
func (a processAddr) String() string { return string(a) }

func (p *process) LocalAddr() net.Addr              { return processAddr("") }
func (p *process) RemoteAddr() net.Addr             { return processAddr(p.uri.Host) }
func (p *process) SetDeadline(time.Time) error      { return errors.ErrUnsupported }
func (p *process) SetReadDeadline(time.Time) error  { return errors.ErrUnsupported }
func (p *process) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }

// talk keeps the last 8 KiB of what a program says on stderr.
type talk struct {
	mu      sync.Mutex
	text    []byte
	changed chan struct{} // has an element when there is something new
}

func (w *talk) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, b...)
	if over := len(w.text) - 8<<10; over > 0 {
		w.text = append([]byte{}, w.text[over:]...)
	}
	select {
	case w.changed <- struct{}{}:
	default:
	}
	return len(b), nil
}

// String is what was said, without ssh's own chatter about what it does.
func (w *talk) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var lines []string
	for _, line := range strings.Split(string(w.text), "\n") {
		if line = strings.TrimSpace(line); line != "" && !chatter(line) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}

// chatter is what ssh says without being asked, or by -v.
func chatter(line string) bool {
	for _, head := range []string{"debug", "OpenSSH_", "Authenticated to ", "Transferred: ", "Bytes per second: ", "Warning: Permanently added"} {
		if strings.HasPrefix(line, head) {
			return true
		}
	}
	return false
}

// refusal is why ssh's server could not open a channel: "channel 0: open failed: connect failed: Connection refused".
func (w *talk) refusal() string {
	_, why, _ := strings.Cut(w.String(), "open failed: ")
	why, _, _ = strings.Cut(why, ";")
	return strings.TrimPrefix(why, "connect failed: ")
}

func (w *talk) has(text string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Contains(w.text, []byte(text))
}

// ssh has no other language than its words; only whose they are is told by its exit status, which is that of the
// program on the other host or, for its own failures, this:
const sshFailed = 255

// sshError makes one sentence of what ssh, or the program behind it, said before it ended; io.EOF if nothing is wrong.
func (u URI) sshError(said string, end error) error {
	var exit *exec.ExitError
	errors.As(end, &exit)
	switch {
	case exit != nil && exit.ExitCode() == sshFailed:
		return u.loginError(said)
	case exit != nil && exit.ExitCode() > 0:
		return u.helperError(said)
	case said != "":
		return &provider.Error{Code: provider.Unavailable, Text: "the ssh connection to " + u.Host + " ended: " + last(said)}
	case end != nil:
		return &provider.Error{Code: provider.Unavailable, Text: fmt.Sprintf("the ssh connection to %s ended: %v", u.Host, end)}
	}
	return io.EOF
}

// last are the last few of the things said: ssh can be eloquent.
func last(said string) string {
	lines := strings.Split(said, "; ")
	return strings.Join(lines[max(len(lines)-3, 0):], "; ")
}

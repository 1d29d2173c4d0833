package access_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/access"
)

// sshd is a real OpenSSH server for the current user, one process per connection (-i), so it needs no port.
type sshd struct {
	t      *testing.T
	path   string
	config string
	user   string
	id     access.Identity
}

func newSSHD(t *testing.T) *sshd {
	t.Helper()
	path, err := exec.LookPath("sshd")
	if err != nil {
		path = "/usr/sbin/sshd"
	}
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("no OpenSSH server here: %v", err)
	}
	if os.Getuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // sshd's privilege separation wants it
			t.Fatal(err)
		}
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	id, err := access.LoadIdentity(filepath.Join(dir, "secrets"))
	if err != nil {
		t.Fatal(err)
	}
	private, _ := id.HostKey("web")
	s := &sshd{t: t, path: path, config: filepath.Join(dir, "sshd_config"), user: me.Username, id: id}
	s.file(filepath.Join(dir, "host.key"), private)
	s.file(filepath.Join(dir, "authorized"), id.Authorized("labctl")+"\n")
	s.file(s.config, fmt.Sprintf("HostKey %[1]s/host.key\nAuthorizedKeysFile %[1]s/authorized\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\nPidFile none\n", dir))
	return s
}

func (s *sshd) file(path, text string) {
	s.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// dial starts a server with one end of a loopback connection and returns the other.
func (s *sshd) dial(ctx context.Context) (io.ReadWriteCloser, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", l.Addr().String())
	if err != nil {
		return nil, err
	}
	server, err := l.Accept()
	if err != nil {
		return nil, err
	}
	f, err := server.(*net.TCPConn).File()
	if err != nil {
		return nil, err
	}
	server.Close()
	defer f.Close()
	cmd := exec.Command(s.path, "-i", "-e", "-f", s.config)
	cmd.Stdin, cmd.Stdout = f, f
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s.t.Cleanup(func() { c.Close(); cmd.Process.Kill(); cmd.Wait() })
	return c, nil
}

func (s *sshd) options() access.Options {
	return access.Options{Dial: s.dial, Machine: "web", User: s.user, Identity: s.id, HostKey: s.id.HostPublic("web"), Attempt: 10 * time.Second}
}

// serve makes a listener whose every connection is a server's; the system's ssh wants something to connect to.
func (s *sshd) serve() string {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	done := make(chan struct{})
	s.t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f, err := c.(*net.TCPConn).File()
			c.Close()
			if err != nil {
				return
			}
			cmd := exec.Command(s.path, "-i", "-e", "-f", s.config)
			cmd.Stdin, cmd.Stdout = f, f
			if cmd.Start() == nil {
				go cmd.Wait() // ends with its connection
			}
			f.Close()
		}
	}()
	return l.Addr().String()
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

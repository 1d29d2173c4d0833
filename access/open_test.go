package access_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/labctl-dev/labctl/access"
)

// odd is an ssh server that fails in one way. It is on loopback, since a pipe in memory has no buffer and both sides of
// ssh begin by writing.
func odd(t *testing.T, serve func(net.Conn)) func(context.Context) (io.ReadWriteCloser, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); serve(c) }()
		}
	}()
	return func(ctx context.Context) (io.ReadWriteCloser, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", l.Addr().String())
	}
}

// shake is the server's half of a login as machine; let says who comes in.
func shake(c net.Conn, id access.Identity, machine string, let bool) (*ssh.ServerConn, <-chan ssh.NewChannel, <-chan *ssh.Request, error) {
	private, _ := id.HostKey(machine)
	key, err := ssh.ParsePrivateKey([]byte(private))
	if err != nil {
		return nil, nil, nil, err
	}
	config := &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
		if !let {
			return nil, errors.New("no")
		}
		return nil, nil
	}}
	config.AddHostKey(key)
	return ssh.NewServerConn(c, config)
}

func oddOptions(t *testing.T, serve func(net.Conn, access.Identity)) access.Options {
	t.Helper()
	id, err := access.LoadIdentity(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return access.Options{
		Dial:    odd(t, func(c net.Conn) { serve(c, id) }),
		Machine: "web", User: "lab", Identity: id, HostKey: id.HostPublic("web"), Attempt: 300 * time.Millisecond,
	}
}

func TestOpenSaysHowFarItCame(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		serve func(net.Conn, access.Identity)
		want  string
	}{
		"silence":      {func(c net.Conn, _ access.Identity) { io.Copy(io.Discard, c) }, "connected, but no ssh banner"},
		"closed":       {func(net.Conn, access.Identity) {}, "connected, but no ssh banner"},
		"no ssh":       {func(c net.Conn, _ access.Identity) { c.Write([]byte("HTTP/1.1 400")) }, `it says "HTTP"`},
		"banner only":  {func(c net.Conn, _ access.Identity) { c.Write([]byte("SSH-2.0-x\r\n")); io.Copy(io.Discard, c) }, "ssh banner, but no key exchange"},
		"never let in": {func(c net.Conn, id access.Identity) { shake(c, id, "web", false) }, "login denied"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := access.Open(within(t, 1500*time.Millisecond), oddOptions(t, c.serve))
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "attempts") || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestRefusedThenReady(t *testing.T) {
	d := newSSHD(t)
	o := d.options()
	var tries atomic.Int32
	o.Dial = func(ctx context.Context) (io.ReadWriteCloser, error) {
		switch tries.Add(1) {
		case 1:
			return nil, errors.New("connection refused")
		case 2:
			a, b := net.Pipe()
			b.Close()
			return a, nil
		}
		return d.dial(ctx)
	}
	var stages []string
	o.Progress = func(s string) { stages = append(stages, s) }
	open(t, o)
	if got := strings.Join(stages, "; "); got != "connection refused; connected, but no ssh banner" {
		t.Errorf("progress: %s", got)
	}
}

func TestWrongHostKeyIsFinal(t *testing.T) {
	o := oddOptions(t, func(c net.Conn, id access.Identity) { shake(c, id, "db", true) })
	o.Attempt = 5 * time.Second
	began := time.Now()
	_, err := access.Open(within(t, 20*time.Second), o)
	var wrong *access.HostKeyError
	if !errors.As(err, &wrong) || time.Since(began) > 5*time.Second {
		t.Fatalf("%v after %v", err, time.Since(began))
	}
	if wrong.Want != ssh.FingerprintSHA256(o.HostKey) || wrong.Got == wrong.Want || !strings.Contains(err.Error(), wrong.Got) {
		t.Errorf("%v", err)
	}
}

func TestDeniedIsFinalAfterAWhile(t *testing.T) {
	o := oddOptions(t, func(c net.Conn, id access.Identity) { shake(c, id, "web", false) })
	o.Denied, o.Attempt = time.Second, 5*time.Second
	_, err := access.Open(within(t, 20*time.Second), o)
	if err == nil || !strings.Contains(err.Error(), "cannot log in to web as lab: denied") {
		t.Error(err)
	}
}

// TestDeadMachineIsNoticed has a machine that stops answering after the login, as one that was killed.
func TestDeadMachineIsNoticed(t *testing.T) {
	o := oddOptions(t, func(c net.Conn, id access.Identity) {
		_, channels, _, err := shake(c, id, "web", true) // requests, keepalives among them, are never answered
		if err != nil {
			return
		}
		n := <-channels
		_, requests, err := n.Accept()
		if err != nil {
			return
		}
		for r := range requests {
			r.Reply(true, nil)
		}
	})
	o.Attempt, o.Alive = 5*time.Second, 100*time.Millisecond
	s, err := access.Open(within(t, 20*time.Second), o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	began := time.Now()
	_, _, _, err = s.Output(within(t, 20*time.Second), "sleep 1000", nil)
	if err == nil || !strings.Contains(err.Error(), "stopped answering") || time.Since(began) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

// TestFinal has the way to the machine say that waiting is of no use.
func TestFinal(t *testing.T) {
	o := oddOptions(t, func(net.Conn, access.Identity) {})
	off := errors.New("the machine is off")
	tries := 0
	o.Dial = func(context.Context) (io.ReadWriteCloser, error) {
		tries++
		if tries < 3 {
			return nil, errors.New("refused")
		}
		return nil, off
	}
	o.Final = func(err error) bool { return errors.Is(err, off) }
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := access.Open(ctx, o); !errors.Is(err, off) || tries != 3 {
		t.Errorf("after %d tries: %v", tries, err)
	}
}

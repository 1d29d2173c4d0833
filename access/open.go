package access

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// Options say whom to reach, and as whom.
type Options struct {
	// Dial opens a byte stream to the machine's ssh port. It is called again for each attempt.
	Dial    func(ctx context.Context) (io.ReadWriteCloser, error)
	Machine string // for errors
	// Under is the session whose Dial is Dial, if that is what it is: the new session closes it when it is closed.
	Under    *Session
	User     string
	Identity Identity
	HostKey  ssh.PublicKey // what the machine must prove to be: Identity.HostPublic, or with Given what somebody said of it
	Given    bool
	// Denied is how long logins may be refused before that is final; 0 is three minutes. A machine lets nobody in
	// between the start of its sshd and the making of the user.
	Denied time.Duration
	// Attempt is how long one attempt may take; 0 is thirty seconds.
	Attempt time.Duration
	// Alive is how often an open session asks whether the machine is still there; 0 is fifteen seconds. After three
	// questions without an answer the session is closed.
	Alive time.Duration
	// Final, unless nil, says which errors of Dial cannot get better by waiting: that the machine is off.
	Final func(error) bool
	// Progress, unless nil, is told how far attempts come, whenever that changes: "connection refused", "login denied"
	Progress func(text string)
}

// HostKeyError is a machine that proves to be another than expected.
type HostKeyError struct {
	Machine string
	Want    string // SHA256 fingerprint
	Got     string // fingerprint of the key it showed
	Given   bool   // somebody said what it has; labctl did not give it one
}

func (e *HostKeyError) Error() string {
	if e.Given {
		return fmt.Sprintf("%s shows the ssh host key %s, not %s which the lab says it has: this is another machine, or its key was changed", e.Machine, e.Got, e.Want)
	}
	return fmt.Sprintf("%s shows the ssh host key %s, not %s which labctl gave it: this is another machine, or its disk was made by another labctl", e.Machine, e.Got, e.Want)
}

// DeniedError is a machine that did not let the identity in, for as long as it may.
type DeniedError struct {
	Machine, User string
	For           time.Duration
}

func (e *DeniedError) Error() string {
	return fmt.Sprintf("cannot log in to %s as %s: denied for %s", e.Machine, e.User, e.For.Round(time.Second))
}

// ParseHostKey reads a host key as it stands in a known_hosts file: "ssh-ed25519 AAAA...".
func ParseHostKey(text string) (ssh.PublicKey, error) {
	k, _, _, _, err := ssh.ParseAuthorizedKey([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("%.40q is no ssh host key such as \"ssh-ed25519 AAAA...\"", text)
	}
	return k, nil
}

// How far an attempt came, for errors and progress.
const (
	refused  = "connection refused"
	noBanner = "connected, but no ssh banner"
	noKey    = "ssh banner, but no key exchange"
	denied   = "login denied"
)

// attemptError is why an attempt failed and at which stage.
type attemptError struct {
	stage string
	err   error
}

func (e *attemptError) Error() string { return e.stage + ": " + e.err.Error() }
func (e *attemptError) Unwrap() error { return e.err }

// Open returns a session with the machine, trying again until ctx ends: a machine that boots refuses connections, or
// accepts them with nobody behind, or lets nobody in yet. A wrong host key ends it at once (*HostKeyError), a login
// that stays denied after Options.Denied. The error says how far the last attempt came.
func Open(ctx context.Context, o Options) (*Session, error) {
	o = o.defaults()
	began, attempts := time.Now(), 0
	var deniedSince time.Time
	var last error
	stage := ""
	for wait := 250 * time.Millisecond; ; wait = min(wait*3/2, time.Second) {
		attempts++
		s, err := attempt(ctx, o)
		if err == nil {
			return s, nil
		}
		var wrong *HostKeyError
		if errors.As(err, &wrong) {
			return nil, wrong
		}
		var at *attemptError
		if errors.As(err, &at) && at.stage == refused && o.Final(at.err) {
			return nil, fmt.Errorf("cannot reach %s by ssh: %w", o.Machine, at.err)
		}
		if errors.As(err, &at) && (ctx.Err() == nil || last == nil) {
			last = err
			if at.stage != stage {
				stage = at.stage
				o.Progress(stage)
			}
		}
		switch {
		case at == nil || at.stage != denied:
			deniedSince = time.Time{}
		case deniedSince.IsZero():
			deniedSince = time.Now()
		case time.Since(deniedSince) >= o.Denied:
			return nil, &DeniedError{o.Machine, o.User, time.Since(deniedSince)}
		}
		select {
		case <-ctx.Done():
			if last == nil {
				last = err
			}
			return nil, fmt.Errorf("cannot reach %s by ssh: gave up after %s and %d attempts; the last came to: %w (%w)",
				o.Machine, time.Since(began).Round(time.Second), attempts, last, ctx.Err())
		case <-time.After(wait):
		}
	}
}

func (o Options) defaults() Options {
	if o.Denied == 0 {
		o.Denied = 3 * time.Minute
	}
	if o.Attempt == 0 {
		o.Attempt = 30 * time.Second
	}
	if o.Alive == 0 {
		o.Alive = 15 * time.Second
	}
	if o.Final == nil {
		o.Final = func(error) bool { return false }
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	return o
}

// attempt dials once and logs in.
func attempt(ctx context.Context, o Options) (*Session, error) {
	ctx, cancel := context.WithTimeout(ctx, o.Attempt)
	defer cancel()
	stream, err := o.Dial(ctx)
	if err != nil {
		return nil, &attemptError{refused, err}
	}
	// x/crypto/ssh knows no context: closing the stream is what ends a wait.
	stop := context.AfterFunc(ctx, func() { stream.Close() })
	s, err := login(stream, o)
	if !stop() && err == nil {
		s.Close()
		err = &attemptError{noKey, ctx.Err()}
	}
	if err != nil {
		stream.Close()
		return nil, err
	}
	return s, nil
}

func login(stream io.ReadWriteCloser, o Options) (*Session, error) {
	c := newConn(stream)
	if head, err := c.r.Peek(4); err != nil || string(head) != "SSH-" {
		if err == nil {
			err = fmt.Errorf("it says %q", head)
		}
		return nil, &attemptError{noBanner, err}
	}
	known := false
	config := &ssh.ClientConfig{
		User:              o.User,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(o.Identity.signer(client))},
		HostKeyAlgorithms: []string{o.HostKey.Type()},
		HostKeyCallback: func(_ string, _ net.Addr, got ssh.PublicKey) error {
			if string(got.Marshal()) != string(o.HostKey.Marshal()) {
				return &HostKeyError{o.Machine, ssh.FingerprintSHA256(o.HostKey), ssh.FingerprintSHA256(got), o.Given}
			}
			known = true
			return nil
		},
	}
	conn, channels, requests, err := ssh.NewClientConn(c, o.Machine, config)
	var wrong *HostKeyError
	switch {
	case errors.As(err, &wrong):
		return nil, wrong
	case err != nil && known && strings.Contains(err.Error(), "unable to authenticate"):
		// The only sign of a denial that x/crypto/ssh gives; a connection that breaks after the key exchange is not one.
		return nil, &attemptError{denied, err}
	case err != nil:
		return nil, &attemptError{noKey, err}
	}
	return newSession(ssh.NewClient(conn, channels, requests), stream, o), nil
}

// conn makes a net.Conn of any stream; ssh needs nothing of one but its addresses' existence.
type conn struct {
	io.ReadWriteCloser
	r *bufio.Reader
}

func newConn(s io.ReadWriteCloser) *conn { return &conn{s, bufio.NewReader(s)} }

func (c *conn) Read(p []byte) (int, error)       { return c.r.Read(p) }
func (c *conn) LocalAddr() net.Addr              { return addr{} }
func (c *conn) RemoteAddr() net.Addr             { return addr{} }
func (c *conn) SetDeadline(time.Time) error      { return nil }
func (c *conn) SetReadDeadline(time.Time) error  { return nil }
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

type addr struct{}

func (addr) Network() string { return "stream" }
func (addr) String() string  { return "machine" }

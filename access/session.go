package access

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// Session is an open ssh connection. Its methods may be called from several goroutines at once; each runs a command
// of its own.
type Session struct {
	client  *ssh.Client
	stream  io.Closer
	machine string
	stop    chan struct{}
	once    sync.Once
	alive   sync.WaitGroup
	silent  chan struct{} // closed when the machine stopped answering
	under   *Session      // over which this one goes; closed with it
}

func newSession(c *ssh.Client, stream io.Closer, o Options) *Session {
	s := &Session{client: c, stream: stream, machine: o.Machine, stop: make(chan struct{}), silent: make(chan struct{}), under: o.Under}
	s.alive.Add(1)
	go s.keepAlive(o.Alive)
	return s
}

// keepAlive asks the machine something every period, and ends the session after three periods without an answer.
func (s *Session) keepAlive(period time.Duration) {
	defer s.alive.Done()
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
		answer := make(chan error, 1)
		go func() {
			_, _, err := s.client.SendRequest("keepalive@openssh.com", true, nil)
			answer <- err
		}()
		select {
		case err := <-answer:
			if err != nil {
				s.client.Close() // the connection is gone
				return
			}
		case <-time.After(3 * period):
			close(s.silent)
			s.stream.Close() // first the stream: closing the client would wait for a write
			s.client.Close()
			<-answer
			return
		case <-s.stop:
			return // Close closes the client, which answers
		}
	}
}

// Close ends the session and all that runs in it.
func (s *Session) Close() error {
	var err error
	s.once.Do(func() {
		close(s.stop)
		s.stream.Close()
		err = s.client.Close()
		s.alive.Wait()
		if s.under != nil {
			_ = s.under.Close() // there is nothing left to lose
		}
	})
	if err != nil && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) || strings.Contains(err.Error(), "use of closed")) {
		return nil
	}
	return err
}

// Dial opens a stream from the machine onward, to "NAME:PORT" as it knows names. It knows no deadlines.
func (s *Session) Dial(ctx context.Context, address string) (net.Conn, error) {
	c, err := s.client.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s cannot reach %s: %w", s.machine, address, err)
	}
	return c, nil
}

// Command is what Run runs: a line for the user's login shell. Nil streams are empty or thrown away.
type Command struct {
	Line           string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Run runs c and returns its exit status, 128 and the signal's number when a signal ended it. The error is about
// reaching the machine, or ctx's end; then the command is sent a TERM and its streams are closed. Run does not wait
// for a Stdin that gives no end.
func (s *Session) Run(ctx context.Context, c Command) (int, error) {
	session, err := s.client.NewSession()
	if err != nil {
		return -1, s.lost("start a command", err)
	}
	defer session.Close()
	session.Stdout, session.Stderr = c.Stdout, c.Stderr
	if c.Stdin != nil {
		in, err := session.StdinPipe()
		if err != nil {
			return -1, s.lost("start a command", err)
		}
		go func() { // ends with the channel, or when Stdin does
			io.Copy(in, c.Stdin)
			in.Close()
		}()
	}
	if err := session.Start(c.Line); err != nil {
		return -1, s.lost("start a command", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- session.Wait() }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		session.Signal(ssh.SIGTERM)
		session.Close()
		select {
		case <-ended:
		case <-time.After(2 * time.Second): // a machine that does not even close a channel: Close ends it
		}
		return -1, fmt.Errorf("command in %s was stopped: %w", s.machine, ctx.Err())
	}
	var exit *ssh.ExitError
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &exit) && exit.Signal() != "":
		return 128 + signalNumber(exit.Signal()), nil
	case errors.As(err, &exit):
		return exit.ExitStatus(), nil
	}
	return -1, s.lost("wait for a command", err)
}

// Output runs line and returns what it printed and its exit status; errors are Run's.
func (s *Session) Output(ctx context.Context, line string, stdin io.Reader) (stdout, stderr []byte, exit int, err error) {
	var out, errs bytes.Buffer
	exit, err = s.Run(ctx, Command{Line: line, Stdin: stdin, Stdout: &out, Stderr: &errs})
	if err != nil {
		return nil, nil, exit, err // the command's streams may still be written to
	}
	return out.Bytes(), errs.Bytes(), exit, nil
}

// Put writes r to a file in the machine, whole or not at all, with the user's own rights and mode.
func (s *Session) Put(ctx context.Context, r io.Reader, path string, mode fs.FileMode) error {
	// In two steps: cat cannot tell the end of a file from that of a connection.
	part := path + ".labctl-" + rand.Text()[:8]
	in := &failing{r: r}
	err := s.check(ctx, "umask 077; exec cat > "+Quote(part), in)
	if err == nil {
		err = in.err
	}
	if err == nil {
		err = s.check(ctx, fmt.Sprintf("chmod %04o %s && exec mv -f %[2]s %s", mode.Perm(), Quote(part), Quote(path)), nil)
	}
	if err != nil {
		// Best effort, and also when ctx has ended: nothing half made should stay.
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		s.check(clean, "rm -f "+Quote(part), nil)
		return fmt.Errorf("cannot copy to %s:%s: %w", s.machine, path, err)
	}
	return nil
}

// check runs a POSIX script and makes an error of what it complains about.
func (s *Session) check(ctx context.Context, script string, stdin io.Reader) error {
	_, errs, exit, err := s.Output(ctx, "exec sh -c "+Quote(script), stdin)
	if err == nil && exit != 0 {
		err = fmt.Errorf("exit status %d: %s", exit, strings.TrimSpace(string(errs)))
	}
	return err
}

// failing remembers the error of a reader.
type failing struct {
	r   io.Reader
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && err != io.EOF {
		f.err = err
	}
	return n, err
}

// Get copies a file of the machine to w.
func (s *Session) Get(ctx context.Context, path string, w io.Writer) error {
	var errs bytes.Buffer
	exit, err := s.Run(ctx, Command{Line: "cat -- " + Quote(path), Stdout: w, Stderr: &errs})
	if err == nil && exit != 0 {
		err = errors.New(strings.TrimSpace(errs.String()))
	}
	if err != nil {
		return fmt.Errorf("cannot copy from %s:%s: %w", s.machine, path, err)
	}
	return nil
}

// lost says what became of the connection.
func (s *Session) lost(op string, err error) error {
	select {
	case <-s.silent:
		return fmt.Errorf("cannot %s in %s: it stopped answering: %w", op, s.machine, err)
	default:
		return fmt.Errorf("cannot %s in %s: the connection ended: %w", op, s.machine, err)
	}
}

// Quote makes one word of s for a POSIX shell.
func Quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// signalNumber is the number of a signal that ssh names (RFC 4254 6.10) on Linux.
func signalNumber(name string) int {
	for n, s := range map[int]string{1: "HUP", 2: "INT", 3: "QUIT", 4: "ILL", 6: "ABRT", 8: "FPE", 9: "KILL", 10: "USR1", 11: "SEGV", 12: "USR2", 13: "PIPE", 14: "ALRM", 15: "TERM"} {
		if s == name {
			return n
		}
	}
	return 0
}

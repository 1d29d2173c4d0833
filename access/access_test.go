package access_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/access"
)

func open(t *testing.T, o access.Options) *access.Session {
	t.Helper()
	s, err := access.Open(within(t, 30*time.Second), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestRun(t *testing.T) {
	s := open(t, newSSHD(t).options())
	for _, c := range []struct {
		line, stdin, out, errs string
		exit                   int
	}{
		{"echo out; echo err >&2; exit 3", "", "out\n", "err\n", 3},
		{"cat", "from here", "from here", "", 0},
		{"true", strings.Repeat("nobody reads this", 100000), "", "", 0},
		{"kill -TERM $$", "", "", "", 128 + 15},
		{"no-such-program 2>/dev/null", "", "", "", 127},
	} {
		var in io.Reader
		if c.stdin != "" {
			in = strings.NewReader(c.stdin)
		}
		out, errs, exit, err := s.Output(t.Context(), c.line, in)
		if err != nil || string(out) != c.out || string(errs) != c.errs || exit != c.exit {
			t.Errorf("%s: %q, %q, %d, %v", c.line, out, errs, exit, err)
		}
	}
}

func TestRunIsCancelled(t *testing.T) {
	s := open(t, newSSHD(t).options())
	began := time.Now()
	_, _, _, err := s.Output(within(t, 300*time.Millisecond), "sleep 60", nil)
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	if _, _, exit, err := s.Output(t.Context(), "exit 4", nil); exit != 4 || err != nil {
		t.Errorf("the session is broken: %d, %v", exit, err)
	}
}

func TestPutGet(t *testing.T) {
	s := open(t, newSSHD(t).options())
	path := filepath.Join(t.TempDir(), "it's a file")
	text := strings.Repeat("0123456789\n", 50000)
	if err := s.Put(t.Context(), strings.NewReader(text), path, 0o640); err != nil {
		t.Fatal(err)
	}
	var back bytes.Buffer
	if err := s.Get(t.Context(), path, &back); err != nil || back.String() != text {
		t.Errorf("%d bytes, %v", back.Len(), err)
	}
	if st, _ := os.Stat(path); st.Mode().Perm() != 0o640 {
		t.Errorf("mode %v", st.Mode())
	}
	// A reader that fails leaves the old file and nothing else.
	broken := io.MultiReader(strings.NewReader("half"), iotestErr{})
	if err := s.Put(t.Context(), broken, path, 0o640); err == nil || !strings.Contains(err.Error(), "bad disk") {
		t.Errorf("%v", err)
	}
	if b, _ := os.ReadFile(path); string(b) != text {
		t.Errorf("the file now has %d bytes", len(b))
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	err := s.Get(t.Context(), "/no/such", io.Discard)
	if err == nil || !strings.Contains(err.Error(), "web:/no/such") || !strings.Contains(err.Error(), "No such file") {
		t.Errorf("%v", err)
	}
	if err := s.Put(t.Context(), strings.NewReader(""), "/no/such/place", 0o600); err == nil {
		t.Error("no error")
	}
}

type iotestErr struct{}

func (iotestErr) Read([]byte) (int, error) { return 0, errors.New("bad disk") }

// TestOver reaches a machine over another one.
func TestOver(t *testing.T) {
	d := newSSHD(t)
	first, err := access.Open(within(t, 20*time.Second), d.options())
	if err != nil {
		t.Fatal(err)
	}
	at := d.serve()
	o := d.options()
	o.Dial, o.Under = func(ctx context.Context) (io.ReadWriteCloser, error) { return first.Dial(ctx, at) }, first
	s, err := access.Open(within(t, 20*time.Second), o)
	if err != nil {
		t.Fatal(err)
	}
	out, _, exit, err := s.Output(within(t, 20*time.Second), "echo $SSH_CONNECTION", nil)
	if err != nil || exit != 0 || !strings.HasSuffix(strings.TrimSpace(string(out)), strings.Replace(at, ":", " ", 1)) {
		t.Errorf("%s %d %v", out, exit, err)
	}
	if _, err := first.Dial(within(t, 20*time.Second), "127.0.0.1:1"); err == nil || !strings.HasPrefix(err.Error(), "web cannot reach 127.0.0.1:1: ") {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, _, _, err := first.Output(within(t, 20*time.Second), "true", nil); err == nil {
		t.Error("the session below was not closed")
	}
}

// TestSystem lets the real ssh and scp in, by arguments and by configuration.
func TestSystem(t *testing.T) {
	d := newSSHD(t)
	for _, p := range []string{"ssh", "scp", "socat"} {
		if _, err := exec.LookPath(p); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	host := access.Host{Alias: "web.demo", Machine: "web", User: d.user, Proxy: []string{"socat", "-", "TCP:" + d.serve()}}
	dir := filepath.Join(t.TempDir(), "with a blank and 100%")
	s, err := access.WriteSystem(dir, d.id, []access.Host{host})
	if err != nil {
		t.Fatal(err)
	}
	run := func(argv []string) string {
		t.Helper()
		cmd := exec.CommandContext(within(t, 20*time.Second), argv[0], argv[1:]...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%v: %v\n%s", argv, err, out)
		}
		return string(out)
	}
	if got := run(s.SSH(host, "echo", "in")); got != "in\n" {
		t.Errorf("ssh: %q", got)
	}
	file := filepath.Join(t.TempDir(), "copied")
	run(s.SCP(host, false, s.Key(), "web.demo:"+file))
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
	config := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(config, []byte(s.Config([]access.Host{host})), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := run([]string{"ssh", "-F", config, "web.demo", "echo in"}); got != "in\n" {
		t.Errorf("ssh -F: %q", got)
	}
	// Over another machine, whose proxy and files are quoted once more.
	_, port, err := net.SplitHostPort(d.serve())
	if err != nil {
		t.Fatal(err)
	}
	far := access.Host{Alias: "far.demo", Machine: "web", User: d.user, Jump: &host, Name: "127.0.0.1"}
	if far.Port, err = strconv.Atoi(port); err != nil {
		t.Fatal(err)
	}
	if s, err = access.WriteSystem(dir, d.id, []access.Host{host, far}); err != nil {
		t.Fatal(err)
	}
	if got := run(s.SSH(far, "echo", "$SSH_CONNECTION")); !strings.HasSuffix(got, " 127.0.0.1 "+port+"\n") {
		t.Errorf("ssh over another: %q", got)
	}
	run(s.SCP(far, false, s.Key(), "far.demo:"+file+"2"))
	if err := os.WriteFile(config, []byte(s.Config([]access.Host{host, far})), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := run([]string{"ssh", "-F", config, "far.demo", "echo $SSH_CONNECTION"}); !strings.HasSuffix(got, " 127.0.0.1 "+port+"\n") {
		t.Errorf("ssh -F over another: %q", got)
	}
	if got := run([]string{"ssh", "-F", config, "-G", "far.demo"}); !strings.Contains(got, "\nproxyjump web.demo\n") {
		t.Errorf("ssh -G: %s", got)
	}
	// Another machine's key in the same place.
	wrong := host
	wrong.Machine = "db"
	if s, err = access.WriteSystem(dir, d.id, []access.Host{wrong}); err != nil {
		t.Fatal(err)
	}
	argv := s.SSH(wrong, "true")
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err == nil || !strings.Contains(string(out), "Host key verification failed") {
		t.Errorf("%v: %s", err, out)
	}
}

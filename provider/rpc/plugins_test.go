package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/memory"
	"github.com/labctl-dev/labctl/provider/rpc"
)

// TestMain makes this test binary every plugin that the tests need: which one, its name says.
func TestMain(m *testing.M) {
	name, ok := strings.CutPrefix(filepath.Base(os.Args[0]), "labctl-provider-")
	if !ok {
		if dir := os.Getenv("RPC_TEST_HOST"); dir != "" {
			os.Exit(host(dir))
		}
		os.Exit(m.Run())
	}
	switch name {
	case "memory", "impostor":
		rpc.Serve(memory.Plugin())
	case "puppet":
		rpc.Serve(puppetPlugin())
	case "newer":
		fmt.Println("1|99|unix|/nowhere|grpc|")
		time.Sleep(time.Minute)
	case "garbage":
		fmt.Println("hello world")
		time.Sleep(time.Minute)
	case "endless": // garbage without a line's end
		for {
			fmt.Print(strings.Repeat("x", 1<<16))
		}
	case "exits":
		fmt.Fprintln(os.Stderr, "cannot load libvirt.so.0")
		os.Exit(3)
	case "closes":
		os.Stdout.Close()
		time.Sleep(time.Minute)
	case "hangs":
		fmt.Fprintln(os.Stderr, "thinking")
		time.Sleep(time.Minute)
	}
}

// program puts the plugin called name into a folder and returns that.
func program(t *testing.T, name string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "labctl-provider-"+name)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func launch(t *testing.T, name string) *rpc.Client {
	t.Helper()
	c, err := rpc.Launch(t.Context(), rpc.Launcher{Name: name, Dirs: []string{program(t, name)}, Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func puppetOf(t *testing.T, c *rpc.Client) provider.Provider {
	t.Helper()
	p, err := c.New(provider.Options{Home: t.TempDir(), Target: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// host is a labctl that is going to be killed: it launches the memory plugin, lets it tell its process id, and waits.
func host(dir string) int {
	c, err := rpc.Launch(context.Background(), rpc.Launcher{Name: "puppet", Dirs: []string{dir}})
	if err != nil {
		fmt.Println("host:", err)
		return 1
	}
	p, err := c.New(provider.Options{Home: dir, Target: "test"})
	if err != nil {
		fmt.Println("host:", err)
		return 1
	}
	ds, err := p.(provider.Doctor).Doctor(context.Background())
	if err != nil {
		fmt.Println("host:", err)
		return 1
	}
	fmt.Println(ds[0].Detail)
	time.Sleep(time.Minute)
	return 0
}

// puppet does what the name of the resource says.
type puppet struct{}

func puppetPlugin() provider.Plugin {
	return provider.Plugin{
		Description: provider.Description{
			Name: "puppet", Version: "0", Abilities: []provider.Ability{provider.Dials, provider.Diagnoses},
			Kinds: []provider.Kind{{Name: "deed", Attrs: map[string]provider.Attr{"n": {Impact: provider.Live}}}},
		},
		New: func(o provider.Options) (provider.Provider, error) {
			switch o.Target {
			case "refused":
				return nil, &provider.Error{Op: "configure", Code: provider.Denied, Text: "no entry"}
			case "hang":
				select {}
			}
			return puppet{}, nil
		},
	}
}

func (puppet) Expand(l lab.Lab, seeds map[string]lab.Seed) ([]provider.Resource, error) {
	return []provider.Resource{{Addr: deed(l.Name), Attrs: provider.Attrs{"n": float64(len(seeds))}}}, nil
}

// Observe returns as many things as the lab has machines, each the size of an ordinary one.
func (puppet) Observe(_ context.Context, l lab.Lab) ([]provider.Observed, error) {
	os := []provider.Observed{}
	for _, m := range l.Machines {
		os = append(os, provider.Observed{Addr: deed(m.Name), Machine: m.Name, Attrs: provider.Attrs{"n": strings.Repeat("x", 8<<10)}})
	}
	return os, nil
}

func (puppet) Create(ctx context.Context, r provider.Resource, p provider.Progress) error {
	switch r.Addr.Name {
	case "steps":
		for i := range int64(5) {
			p(provider.Step{Phase: "walking", Done: i, Total: 5})
		}
	case "many-steps":
		for i := range int64(100000) {
			p(provider.Step{Phase: "running", Done: i})
		}
	case "notes":
		for i := range 1000 {
			p(provider.Step{Phase: "keeping", Note: fmt.Sprint(i)})
		}
	case "late-step":
		go func() { time.Sleep(50 * time.Millisecond); p(provider.Step{Phase: "late"}) }()
	case "panic":
		panic("puppet fell over")
	case "crash":
		time.Sleep(200 * time.Millisecond) // so that others are in flight
		for i := range 30 {
			fmt.Fprintf(os.Stderr, "last words %d\n", i)
		}
		os.Exit(7)
	case "print":
		fmt.Println("printed by mistake")
	case "error":
		return &provider.Error{Op: "make", Addr: deed("other"), Code: provider.Full, Text: "no space left"}
	case "plain-error":
		return errors.New("plain")
	case "long-error":
		return errors.New(strings.Repeat("long \xff", 100000))
	case "wait":
		p(provider.Step{Phase: "waiting"})
		<-ctx.Done()
		_ = os.WriteFile(r.Attrs["file"].(string), []byte(ctx.Err().Error()), 0o600)
		return ctx.Err()
	case "deaf":
		p(provider.Step{Phase: "sulking"})
		select {}
	case "gives-up":
		c, cancel := context.WithCancel(ctx)
		cancel()
		return c.Err()
	case "daemon":
		return daemon(r.Attrs["file"].(string))
	}
	return nil
}

// daemon starts a process in a session of its own, which holds the plugin's log open, as a careless author's would.
func daemon(pidFile string) error {
	cmd := exec.Command("sleep", "60")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	return os.WriteFile(pidFile, []byte(fmt.Sprint(cmd.Process.Pid)), 0o600)
}

func (puppet) Update(context.Context, provider.Observed, provider.Resource, provider.Progress) error {
	return nil
}

func (puppet) Delete(context.Context, provider.Observed, provider.Progress) error { return nil }

func (puppet) Doctor(context.Context) ([]provider.Diagnosis, error) {
	return []provider.Diagnosis{{Name: "pid", Status: provider.Good, Detail: fmt.Sprint(os.Getpid())}}, nil
}

// Dial reaches a port by its number: 7 echoes over TCP, 9 counts and answers after the half-close, 13 fails, 19 never
// reads, 20 breaks in the middle.
func (puppet) Dial(ctx context.Context, e provider.Endpoint) (io.ReadWriteCloser, error) {
	if e.Port == 13 {
		return nil, &provider.Error{Op: "dial", Code: provider.Unavailable, Text: "connection refused"}
	}
	if e.Port == 15 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		serve(c, e)
	}()
	return net.Dial("tcp", l.Addr().String())
}

func serve(c net.Conn, e provider.Endpoint) {
	defer c.Close()
	switch e.Port {
	case 7:
		_, _ = io.Copy(c, c)
	case 9:
		n, _ := io.Copy(io.Discard, c)
		fmt.Fprintf(c, "%d bytes", n)
	case 11: // speaks first, then listens and keeps what it heard
		fmt.Fprint(c, "bye")
		_ = c.(*net.TCPConn).CloseWrite()
		b, _ := io.ReadAll(c)
		_ = os.WriteFile(e.Machine, b, 0o600)
	case 19:
		time.Sleep(time.Minute)
	case 20:
		fmt.Fprint(c, "half a wor")
		time.Sleep(200 * time.Millisecond)
		os.Exit(9)
	}
}

func deed(name string) provider.Addr {
	return provider.Addr{Provider: "puppet", Kind: "deed", Name: name}
}

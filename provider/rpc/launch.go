package rpc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"

	"github.com/labctl-dev/labctl/provider"
)

// startTimeout is how long a plugin may take to start, unless the Launcher says otherwise.
const startTimeout = 30 * time.Second

// Launcher says which plugin to start, and how.
type Launcher struct {
	Name string       // the provider's: "qemu" is the program labctl-provider-qemu
	Dirs []string     // searched first to last, then PATH
	Log  *slog.Logger // gets each line of the plugin's log, level debug; nil: nobody does
	// Timeout is for the start, and for each call that has no context (New, Expand); 0 is 30 s.
	Timeout time.Duration
	Env     []string // added to the environment of the plugin, "NAME=value"
}

// Launch finds the plugin's program, starts it, and asks for its description. What goes wrong is one *provider.Error:
// Missing (no such program), Denied (cannot be executed), Unsupported (another version of the contract), Invalid (no
// plugin), Crashed (died at once), Timeout (hangs), Canceled.
//
// The plugin is in a process group of its own, so that Ctrl-C in a terminal reaches labctl alone, and dies with labctl.
func Launch(ctx context.Context, l Launcher) (*Client, error) {
	if l.Timeout <= 0 {
		l.Timeout = startTimeout
	}
	path, err := l.find()
	if err != nil {
		return nil, l.fail(provider.CodeOf(err), "%v", err)
	}
	proc := newProcess(path, l.Env, &tail{name: l.Name, log: l.Log})
	gp := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  handshake(),
		VersionedPlugins: map[int]plugin.PluginSet{provider.Protocol: {"provider": &wire{}}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		AutoMTLS:         true,
		StartTimeout:     l.Timeout + time.Minute, // never the first: start has the deadline
		Logger:           hclog.NewNullLogger(),
		SyncStdout:       &lines{to: proc.tail},
		SyncStderr:       &lines{to: proc.tail},
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: socketDir()},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, dir string) (runner.Runner, error) {
			proc.env, proc.sockets = cmd.Env, dir
			return proc, nil
		},
		GRPCDialOptions: []grpc.DialOption{
			grpc.WithStaticStreamWindowSize(window), grpc.WithStaticConnWindowSize(window), grpc.WithIdleTimeout(0),
		},
	})
	c := &Client{Path: path, name: l.Name, timeout: l.Timeout, plugin: gp, process: proc}
	if err := l.start(ctx, c); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// start starts the process, connects, and asks for the description.
func (l Launcher) start(ctx context.Context, c *Client) error {
	ctx, cancel := context.WithTimeout(ctx, l.Timeout)
	defer cancel()
	// go-plugin's Client knows no context: when ctx ends first, the process does, and so the waiting.
	defer context.AfterFunc(ctx, c.process.kill)()
	conn, err := c.plugin.Client()
	if err != nil {
		return l.explain(ctx, c.process, err)
	}
	c.conn = conn.(*plugin.GRPCClient).Conn // the only allowed protocol is gRPC
	answer, err := c.call(ctx, "start plugin "+l.Name, "Describe", request{})
	if err != nil {
		return err
	}
	// The one connection stands: its socket is of no more use, and is not left behind however labctl ends.
	_ = os.RemoveAll(c.process.sockets)
	if answer.Description == nil {
		return l.fail(provider.Invalid, "%s does not describe itself", c.Path)
	}
	if answer.Description.Name != l.Name {
		return l.fail(provider.Invalid, "%s describes itself as another provider, %q", c.Path, answer.Description.Name)
	}
	c.Description = *answer.Description
	return nil
}

// explain says why the plugin did not come up.
func (l Launcher) explain(ctx context.Context, p *process, err error) error {
	line := p.firstLine()
	version, shaken := contractOf(line)
	if strings.Count(line, "|") < 3 {
		shaken = false
	}
	switch {
	case p.startErr != nil && errors.Is(p.startErr, fs.ErrPermission):
		return l.fail(provider.Denied, "cannot execute %s: %v", p.path, p.startErr)
	case p.startErr != nil:
		return l.fail(provider.Invalid, "cannot execute %s: %v", p.path, p.startErr)
	case shaken && version != provider.Protocol:
		return l.fail(provider.Unsupported, "%s speaks version %d of the plugin contract, this labctl speaks version %d",
			p.path, version, provider.Protocol)
	case shaken:
		return l.fail(provider.Invalid, "%s said hello, and then: %v%s", p.path, err, p.tail)
	case line != "":
		return l.fail(provider.Invalid, "%s is no plugin of labctl: it printed %q%s", p.path, line, p.tail)
	case p.died():
		return l.fail(provider.Crashed, "%s ended at once (%s)%s", p.path, p.state(), p.tail)
	case errors.Is(ctx.Err(), context.Canceled):
		return l.fail(provider.Canceled, "canceled while waiting for %s to say hello", p.path)
	case ctx.Err() == nil && p.closedOutput():
		return l.fail(provider.Invalid, "%s is no plugin of labctl: it closed its output without a word%s", p.path, p.tail)
	}
	return l.fail(provider.Timeout, "%s did not say hello within %v%s", p.path, l.Timeout, p.tail)
}

func (l Launcher) fail(code provider.Code, format string, args ...any) error {
	return &provider.Error{Op: "start plugin " + l.Name, Code: code, Text: fmt.Sprintf(format, args...)}
}

// contractOf reads go-plugin's first line, "1|<version of the contract>|...".
func contractOf(line string) (version int, ok bool) {
	core, rest, _ := strings.Cut(line, "|")
	v, _, _ := strings.Cut(rest, "|")
	n, err := strconv.Atoi(v)
	return n, core == "1" && err == nil
}

// find returns the path of the plugin's program.
func (l Launcher) find() (string, error) {
	program := "labctl-provider-" + l.Name
	if l.Name == "" || filepath.Base(program) != program {
		return "", &provider.Error{Code: provider.Invalid, Text: fmt.Sprintf("%q is no provider's name", l.Name)}
	}
	blocked := ""
	for _, dir := range append(append([]string(nil), l.Dirs...), filepath.SplitList(os.Getenv("PATH"))...) {
		if dir == "" {
			continue
		}
		path, err := filepath.Abs(filepath.Join(dir, program))
		if err != nil {
			continue
		}
		i, err := os.Stat(path)
		switch {
		case err != nil || i.IsDir():
		case i.Mode()&0o111 != 0:
			return path, nil
		case blocked == "":
			blocked = path
		}
	}
	if blocked != "" {
		return "", &provider.Error{Code: provider.Denied, Text: blocked + " is not executable"}
	}
	where := "PATH"
	if len(l.Dirs) > 0 {
		where = strings.Join(l.Dirs, ", ") + " and PATH"
	}
	return "", &provider.Error{Code: provider.Missing, Text: fmt.Sprintf("there is no %s in %s", program, where)}
}

// socketDir is where go-plugin makes its folder for the socket: a path of a unix socket has at most 103 bytes on macOS.
func socketDir() string {
	if d := os.TempDir(); len(d) <= 60 {
		return d
	}
	return "/tmp"
}

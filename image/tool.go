package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// tools runs programs of this host.
type tools struct {
	image string // whose sake they run for, in errors
	env   []string
}

// sbin is where Debian keeps mke2fs and where an ordinary user's PATH does not look.
var sbin = []string{"/usr/sbin", "/sbin", "/usr/local/sbin", "/opt/homebrew/sbin", "/opt/homebrew/opt/e2fsprogs/sbin"}

func look(name string) (string, bool) {
	if filepath.IsAbs(name) {
		_, err := os.Stat(name)
		return name, err == nil
	}
	if p, err := exec.LookPath(name); err == nil {
		return p, true
	}
	for _, dir := range sbin {
		p := filepath.Join(dir, name)
		if i, err := os.Stat(p); err == nil && i.Mode()&0o111 != 0 {
			return p, true
		}
	}
	return "", false
}

// need is an error that names every program of list that is not installed.
func need(image string, list []Tool) error {
	var miss []Tool
	var names []string
	for _, t := range list {
		if _, ok := look(t.Name); !ok {
			miss = append(miss, t)
			names = append(names, fmt.Sprintf("%s (package %s)", t.Name, t.Package))
		}
	}
	if miss == nil {
		return nil
	}
	e := fail(MissingTool, image, nil, "cannot make image %s: not installed: %s", image, strings.Join(names, ", "))
	e.Tools = miss
	return e
}

// run runs a program to its end; line, if there is one, gets each line that it prints as it comes.
func (t tools) run(ctx context.Context, line func(string), name string, args ...string) error {
	last := &tail{line: line}
	return t.start(ctx, command{name: name, args: args, out: last, last: last})
}

// filter runs a program between in and out.
func (t tools) filter(ctx context.Context, in io.Reader, out io.Writer, program Tool, args ...string) error {
	if err := need(t.image, []Tool{program}); err != nil {
		return err
	}
	return t.start(ctx, command{name: program.Name, args: args, in: in, out: out, last: &tail{}})
}

type command struct {
	name string
	args []string
	in   io.Reader
	out  io.Writer
	last *tail // its standard error
}

// start runs c to its end. A canceled ctx ends the program's whole process group: mmdebstrap has children that would
// outlive it.
func (t tools) start(ctx context.Context, c command) error {
	path, ok := look(c.name)
	if !ok {
		return need(t.image, []Tool{{c.name, c.name}})
	}
	cmd := exec.CommandContext(ctx, path, c.args...)
	cmd.Env = append(os.Environ(), t.env...)
	cmd.Stdin = c.in
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second // mmdebstrap unmounts and removes its folder on SIGTERM
	cmd.Stdout, cmd.Stderr = c.out, c.last
	err := cmd.Run()
	if cmd.Process != nil {
		// What is left of the group is nobody's; the group is gone already if nothing is.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		text := fmt.Sprintf("%s: %v", c.name, err)
		if s := c.last.text(); s != "" {
			text += "\n" + s
		}
		e := errors.New(text)
		if strings.Contains(text, syscall.ENOSPC.Error()) || strings.Contains(text, "Could not allocate block") {
			return fmt.Errorf("%s: %w", text, syscall.ENOSPC)
		}
		return e
	}
	return nil
}

// tail keeps the last lines that a program printed.
type tail struct {
	line func(string)
	rest []byte
	keep []string
}

func (t *tail) Write(p []byte) (int, error) {
	t.rest = append(t.rest, p...)
	for {
		i := bytes.IndexAny(t.rest, "\r\n")
		if i < 0 {
			break
		}
		t.add(string(t.rest[:i]))
		t.rest = t.rest[i+1:]
	}
	return len(p), nil
}

func (t *tail) add(s string) {
	if s = strings.TrimSpace(s); s == "" {
		return
	}
	t.keep = append(t.keep, s)
	if len(t.keep) > 12 {
		t.keep = t.keep[1:]
	}
	if t.line != nil {
		t.line(s)
	}
}

func (t *tail) text() string {
	t.add(string(t.rest))
	t.rest = nil
	return strings.Join(t.keep, "\n")
}

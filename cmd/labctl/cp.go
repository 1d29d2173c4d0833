package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/labctl-dev/labctl/access"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/provider"
)

func (c *cli) cpCommand() *cobra.Command {
	var f labFlags
	var recursive bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "cp [LAB] FROM TO",
		Short: "Copy files to or from a machine",
		Long: `Copy a file between this host and a machine; the one in a machine is written MACHINE:PATH, relative to the
administrator's home. "-" is stdin or stdout. Folders are copied with -r, by this host's scp.`,
		Args: between(2, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			rest, err := f.before(2, args)
			if err != nil {
				return err
			}
			from, to := end(rest[0]), end(rest[1])
			if (from.machine == "") == (to.machine == "") {
				return usage(cmd, "one of FROM and TO is in a machine, MACHINE:PATH, the other on this host")
			}
			if recursive {
				return c.copyFolder(cmd.Context(), f, from, to)
			}
			return c.copyFile(cmd.Context(), f, from, to, timeout)
		},
	}
	f.add(cmd)
	f.addDirect(cmd)
	cmd.Flags().BoolVarP(&recursive, "recursive", "r", false, "copy a folder with all that is in it")
	cmd.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "how long to wait for the machine to let labctl in")
	return cmd
}

// place of one end of a copy.
type copyEnd struct{ machine, path string }

// end reads MACHINE:PATH or PATH; a path that begins with a dot or slash is never a machine's.
func end(arg string) copyEnd {
	m, p, ok := strings.Cut(arg, ":")
	if !ok || m == "" || strings.ContainsAny(m, "./") {
		return copyEnd{path: arg}
	}
	return copyEnd{m, p}
}

func (e copyEnd) String() string {
	if e.machine == "" {
		return e.path
	}
	return e.machine + ":" + e.path
}

// copied is the result of cp.
type copied struct {
	From  string `json:"from"`
	To    string `json:"to"`
	Bytes int64  `json:"bytes"`
}

func (c *cli) copyFile(ctx context.Context, f labFlags, from, to copyEnd, timeout time.Duration) error {
	r, err := c.open(ctx, f)
	if err != nil {
		return err
	}
	defer r.close()
	s, err := r.reach(ctx, from.machine+to.machine, timeout, f.direct)
	if err != nil {
		return err
	}
	defer s.Close()
	n := &counter{}
	if to.machine != "" {
		err = c.put(ctx, s, from.path, to.path, n)
	} else {
		err = c.get(ctx, s, from.path, to.path, n)
	}
	if err != nil {
		return err
	}
	if c.json() && to.path != "-" {
		return view.JSON(c.out, copied{from.String(), to.String(), n.n})
	}
	return nil
}

// put copies a file of this host to the machine; to a folder it keeps its name.
func (c *cli) put(ctx context.Context, s *access.Session, from, to string, n *counter) error {
	in, mode := c.in, os.FileMode(0o644)
	if from != "-" {
		file, err := os.Open(from)
		if err != nil {
			return fmt.Errorf("cannot copy: %w", err)
		}
		defer file.Close()
		info, err := file.Stat()
		if err != nil {
			return fmt.Errorf("cannot copy: %w", err)
		}
		if info.IsDir() {
			return fmt.Errorf("cannot copy %s: it is a folder, and -r was not given", from)
		}
		in, mode = file, info.Mode()
	}
	to, err := inMachine(ctx, s, to, filepath.Base(from))
	if err != nil {
		return err
	}
	return s.Put(ctx, io.TeeReader(in, n), to, mode)
}

// inMachine completes a path in the machine that is empty or a folder.
func inMachine(ctx context.Context, s *access.Session, to, name string) (string, error) {
	if to == "" {
		return name, nil
	}
	_, _, exit, err := s.Output(ctx, "test -d "+access.Quote(to), nil)
	if err != nil {
		return "", err
	}
	if exit == 0 {
		return path.Join(to, name), nil
	}
	return to, nil
}

// get copies a file of the machine to this host, whole or not at all.
func (c *cli) get(ctx context.Context, s *access.Session, from, to string, n *counter) error {
	if to == "-" {
		return s.Get(ctx, from, io.MultiWriter(c.out, n))
	}
	if isFolder(to) {
		to = filepath.Join(to, path.Base(from))
	}
	tmp, err := os.CreateTemp(filepath.Dir(to), ".labctl-cp-")
	if err != nil {
		return fmt.Errorf("cannot copy: %w", err)
	}
	defer os.Remove(tmp.Name())
	err = s.Get(ctx, from, io.MultiWriter(tmp, n))
	if e := tmp.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Chmod(tmp.Name(), 0o644)
	}
	if err == nil {
		err = os.Rename(tmp.Name(), to)
	}
	return err
}

// counter counts what is written to it.
type counter struct{ n int64 }

func (c *counter) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return len(b), nil
}

// copyFolder leaves it to the system's scp.
func (c *cli) copyFolder(ctx context.Context, f labFlags, from, to copyEnd) error {
	s, h, err := c.system(f, from.machine+to.machine)
	if err != nil {
		return err
	}
	argv := s.SCP(h, true, scpEnd(from, h), scpEnd(to, h))
	if _, err := exec.LookPath(argv[0]); err != nil {
		return &provider.Error{Op: "copy", Code: provider.Missing, Text: "scp"}
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("cannot copy %s to %s: scp: %w", from, to, err)
	}
	if c.json() {
		return view.JSON(c.out, copied{From: from.String(), To: to.String()})
	}
	return nil
}

func scpEnd(e copyEnd, h access.Host) string {
	switch {
	case e.machine != "":
		return h.Alias + ":" + e.path
	case strings.Contains(e.path, ":") && !strings.HasPrefix(e.path, "/"):
		return "./" + e.path
	}
	return e.path
}

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// escape is what leaves the console: ^], as in telnet and virsh.
const escape = 0x1d

func (c *cli) consoleCommand() *cobra.Command {
	var f labFlags
	cmd := &cobra.Command{
		Use:   "console [LAB] MACHINE",
		Short: "Use a machine's serial console",
		Long: `Connect this terminal to a machine's serial console, which needs no network. ^] leaves. One client at a time. It is a
conversation, so there is no -o json.`,
		Args: between(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if c.json() {
				return usage(cmd, "-o json: a conversation has none")
			}
			rest, err := f.before(1, args)
			if err != nil {
				return err
			}
			return c.console(cmd.Context(), f, rest[0])
		},
	}
	f.add(cmd)
	c.completeMachines(cmd, &f, false)
	return cmd
}

func (c *cli) console(ctx context.Context, f labFlags, machine string) error {
	r, consoler, err := c.consoler(ctx, f, machine)
	if err != nil {
		return err
	}
	defer r.close()
	stream, err := consoler.Console(ctx, r.lab.Within(), machine)
	if err != nil {
		return err
	}
	in := c.in
	if file, ok := c.in.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		c.note("console of %s; ^] leaves", machine)
		old, err := term.MakeRaw(int(file.Fd()))
		if err != nil {
			stream.Close()
			return fmt.Errorf("cannot use the terminal: %w", err)
		}
		defer func() {
			_ = term.Restore(int(file.Fd()), old)
			fmt.Fprintln(c.err)
		}()
		in = &escapable{file, func() { stream.Close() }}
	}
	return (&cli{in: in, out: c.out, err: c.err}).bridge(ctx, stream)
}

// escapable ends at ^].
type escapable struct {
	r     io.Reader
	leave func()
}

func (e *escapable) Read(b []byte) (int, error) {
	n, err := e.r.Read(b)
	if i := bytes.IndexByte(b[:n], escape); i >= 0 {
		e.leave()
		return i, io.EOF
	}
	return n, err
}

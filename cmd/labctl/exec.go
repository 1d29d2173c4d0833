package main

import (
	"bytes"
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/labctl-dev/labctl/access"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
)

func (c *cli) execCommand() *cobra.Command {
	var f labFlags
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "exec [LAB] MACHINE -- COMMAND...",
		Short: "Run a command in a machine",
		Long: `Run a command in a machine as its administrator, with this process's stdin, stdout and stderr and no terminal.
Several words are run as they are; a single one is a line for the shell. Exit code: the command's; 1 if the machine
cannot be reached.`,
		Args: between(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			args, words := atDash(cmd, args)
			if len(words) == 0 {
				return usage(cmd, "no command after --")
			}
			rest, err := f.before(1, args)
			if err != nil {
				return err
			}
			return c.exec(cmd.Context(), f, rest[0], line(words), timeout)
		},
	}
	f.add(cmd)
	f.addDirect(cmd)
	cmd.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "how long to wait for the machine to let labctl in")
	c.completeMachines(cmd, &f, false)
	return cmd
}

// ran is the result of exec.
type ran struct {
	Machine string `json:"machine"`
	Command string `json:"command"`
	Exit    int    `json:"exit"`
	Stdout  string `json:"stdout"`
	Stderr  string `json:"stderr"`
}

func (c *cli) exec(ctx context.Context, f labFlags, machine, line string, timeout time.Duration) error {
	r, err := c.open(ctx, f)
	if err != nil {
		return err
	}
	defer r.close()
	s, err := r.reach(ctx, machine, timeout, f.direct)
	if err != nil {
		return err
	}
	defer s.Close()
	var out, errs bytes.Buffer
	run := access.Command{Line: line, Stdin: c.in, Stdout: c.out, Stderr: c.err}
	if c.json() {
		run.Stdout, run.Stderr = &out, &errs
	}
	exit, err := s.Run(ctx, run)
	if err != nil {
		return err
	}
	if c.json() {
		if err := view.JSON(c.out, ran{machine, line, exit, out.String(), errs.String()}); err != nil {
			return err
		}
	}
	if exit != 0 {
		return &exitError{exit}
	}
	return nil
}

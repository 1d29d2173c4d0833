package main

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/provider"
)

func (c *cli) logsCommand() *cobra.Command {
	var f labFlags
	var follow bool
	cmd := &cobra.Command{
		Use:   "logs [LAB] MACHINE",
		Short: "Show what a machine's console has printed",
		Long:  `Show what a machine's serial console has printed since it was last started; with -f, also what comes.`,
		Args:  between(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if follow && c.json() {
				return usage(cmd, "-o json with -f: a log that goes on has no end to close the JSON")
			}
			rest, err := f.before(1, args)
			if err != nil {
				return err
			}
			return c.logs(cmd.Context(), f, rest[0], follow)
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "stay and show what comes")
	c.completeMachines(cmd, &f, false)
	return cmd
}

// consoleLog is the result of logs.
type consoleLog struct {
	Machine string `json:"machine"`
	Log     string `json:"log"`
}

func (c *cli) logs(ctx context.Context, f labFlags, machine string, follow bool) error {
	r, console, err := c.consoler(ctx, f, machine)
	if err != nil {
		return err
	}
	defer r.close()
	log, err := console.Log(ctx, r.lab.Within(), machine, follow)
	if err != nil {
		return err
	}
	defer log.Close()
	defer context.AfterFunc(ctx, func() { log.Close() })()
	if c.json() {
		var text strings.Builder
		if _, err := io.Copy(&text, log); err != nil {
			return err
		}
		return view.JSON(c.out, consoleLog{machine, text.String()})
	}
	_, err = io.Copy(c.out, log)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// consoler opens a lab whose target has consoles.
func (c *cli) consoler(ctx context.Context, f labFlags, machine string) (*road, provider.Consoler, error) {
	r, err := c.open(ctx, f)
	if err != nil {
		return nil, nil, err
	}
	p, ok := r.engine.Provider.(provider.Consoler)
	if !ok || !r.engine.Description.Has(provider.Consoles) {
		err = r.cannot(provider.Consoles)
	} else {
		_, err = r.machine(machine)
	}
	if err != nil {
		r.close()
		return nil, nil, err
	}
	return r, p, nil
}

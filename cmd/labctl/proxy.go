package main

import (
	"context"
	"errors"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/labctl-dev/labctl/provider"
)

func (c *cli) proxyCommand() *cobra.Command {
	var f labFlags
	cmd := &cobra.Command{
		Use:   "proxy [LAB] MACHINE [PORT]",
		Short: "Connect stdin and stdout to a port of a machine",
		Long: `Connect stdin and stdout to a TCP port of a machine (by default 22), however isolated its networks are. Made to be an
ssh ProxyCommand. It carries bytes, so there is no -o json.`,
		Args: between(1, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			if c.json() {
				return usage(cmd, "-o json: a byte stream has none")
			}
			n := 1
			port := 22
			if len(args) > 1 {
				if p, err := strconv.Atoi(args[len(args)-1]); err == nil {
					n, port = 2, p
				} else if len(args) == 3 {
					return usage(cmd, "port %q: a number from 1 to 65535", args[2])
				}
			}
			if port < 1 || port > 65535 {
				return usage(cmd, "port %d: a number from 1 to 65535", port)
			}
			rest, err := f.before(n, args)
			if err != nil {
				return err
			}
			c.quiet = true
			return c.proxy(cmd.Context(), f, rest[0], port)
		},
	}
	f.add(cmd)
	c.completeMachines(cmd, &f, false)
	return cmd
}

func (c *cli) proxy(ctx context.Context, f labFlags, machine string, port int) error {
	r, err := c.open(ctx, f)
	if err != nil {
		return err
	}
	defer r.close()
	m, err := r.machine(machine)
	if err != nil {
		return err
	}
	if r.guests.Dialer == nil && !m.External.IsValid() {
		return r.cannot(provider.Dials)
	}
	stream, err := r.guests.Dial(ctx, m, port)
	if err != nil {
		return err
	}
	return c.bridge(ctx, stream)
}

// bridge carries bytes both ways until the machine's side ends; the end of stdin is passed on.
func (c *cli) bridge(ctx context.Context, stream io.ReadWriteCloser) error {
	defer context.AfterFunc(ctx, func() { stream.Close() })()
	defer stream.Close()
	go func() { // ends with the process if stdin does not
		_, err := io.Copy(stream, c.in)
		if half, ok := stream.(interface{ CloseWrite() error }); ok && err == nil {
			_ = half.CloseWrite()
		}
	}()
	_, err := io.Copy(c.out, stream)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, io.ErrClosedPipe) {
		return nil
	}
	return err
}

package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/labctl-dev/labctl/access"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
)

func (c *cli) sshKeyCommand() *cobra.Command {
	var f labFlags
	cmd := &cobra.Command{
		Use:   "ssh-key [LAB]",
		Short: "Print the lab's public key",
		Long: `Print the public half of the key that labctl logs in with, as a line for the authorized_keys of an account in an
external machine. It is made, below $LABCTL_HOME, if the lab has none on this host; 'labctl destroy' forgets it.`,
		Args: between(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.one(args); err != nil {
				return err
			}
			return c.sshKey(f)
		},
	}
	f.add(cmd)
	return cmd
}

func (c *cli) sshKey(f labFlags) error {
	spec, err := f.load()
	if err != nil {
		return err
	}
	dir, err := secretsOf(spec.Lab)
	if err != nil {
		return err
	}
	id, err := access.LoadIdentity(dir)
	if err != nil {
		return err
	}
	key := id.Authorized("labctl@" + spec.Lab.Name)
	return c.show(map[string]string{"lab": spec.Lab.Name, "authorized_key": key}, func(w io.Writer, _ view.Options) error {
		_, err := fmt.Fprintln(w, key)
		return err
	})
}

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/secret"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/lab"
)

func (c *cli) secretCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "secret",
		Short: "Secrets that labctl made or keeps for the lab",
		Long: `What labctl made for a lab (secrets with generate, and the parts of certificates), or took from its machines and keeps
(commands with keep), on this host. The lab need not be running; 'labctl destroy' forgets all of it.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage(cmd, "unknown verb %q; there are 'secret ls' and 'secret show'", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return usage(cmd, "say ls or show") },
	}
	var ls labFlags
	list := &cobra.Command{
		Use:   "ls [LAB]",
		Short: "List their names",
		Args:  between(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := ls.one(args); err != nil {
				return err
			}
			return c.secretNames(ls)
		},
	}
	ls.add(list)
	var sf labFlags
	show := &cobra.Command{
		Use:   "show [LAB] NAME",
		Short: "Print one",
		Args:  between(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			rest, err := sf.before(1, args)
			if err != nil {
				return err
			}
			return c.secretShow(sf, rest[0])
		},
	}
	sf.add(show)
	cmd.AddCommand(list, show)
	return cmd
}

// secretStore is the lab's, on this host.
func secretStore(f labFlags) (lab.Lab, secret.Store, error) {
	spec, err := f.load()
	if err != nil {
		return lab.Lab{}, "", err
	}
	dir, err := secretsOf(spec.Lab)
	return spec.Lab, secret.Store(dir), err
}

func (c *cli) secretNames(f labFlags) error {
	_, store, err := secretStore(f)
	if err != nil {
		return err
	}
	names, err := store.Names()
	if err != nil {
		return err
	}
	return c.show(append([]string{}, names...), func(w io.Writer, _ view.Options) error {
		_, err := io.WriteString(w, strings.Join(append(names, ""), "\n"))
		return err
	})
}

func (c *cli) secretShow(f labFlags, name string) error {
	l, store, err := secretStore(f)
	if err != nil {
		return err
	}
	v, err := store.Value(name)
	if errors.Is(err, fs.ErrNotExist) {
		names, _ := store.Names()
		return fmt.Errorf("lab %s has no secret %q on this host%s", l.Name, name, lab.Meant(name, names))
	}
	if err != nil {
		return fmt.Errorf("cannot read secret %q: %w", name, err)
	}
	return c.show(map[string]string{"name": name, "value": string(v)}, func(w io.Writer, _ view.Options) error {
		_, err := w.Write(v)
		return err
	})
}

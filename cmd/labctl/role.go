package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/schema"
)

func (c *cli) roleCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "role",
		Short: "List and explain roles: services that a machine can have",
		Long: `A role is a service that a machine has by naming it: servers: NAME: roles: ROLE: {...}. labctl brings some, and a lab may
define its own. What is shown is what a role says before any machine has it; what follows from the lab, such as an
address, is shown as it is written. 'labctl vet' says whether a lab uses its roles rightly.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage(cmd, "unknown command %q", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return usage(cmd, "say ls or show") },
	}
	cmd.AddCommand(c.roleLsCommand(), c.roleShowCommand())
	return cmd
}

func (c *cli) roleLsCommand() *cobra.Command {
	var f labFlags
	cmd := &cobra.Command{
		Use:   "ls [LAB]",
		Short: "List roles: labctl's own, and the lab's with the machines that have them",
		Args:  between(0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			all, _, err := rolesOf(f, args)
			if err != nil {
				return err
			}
			return c.show(all, func(w io.Writer, o view.Options) error { return view.Roles(w, all, o) })
		},
	}
	cmd.Flags().StringArrayVarP(&f.tags, "define", "D", nil, "`tag=value` for a field of the lab with @tag(tag); repeatable")
	completeLabs(cmd)
	return cmd
}

func (c *cli) roleShowCommand() *cobra.Command {
	var f labFlags
	cmd := &cobra.Command{
		Use:   "show [LAB] ROLE",
		Short: "Explain a role: what a machine may say about it, and what it is made of",
		Args:  between(1, 2),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 2 && !looksLikeLab(args[0]) && looksLikeLab(args[1]) {
				args[0], args[1] = args[1], args[0]
			}
			name := args[len(args)-1]
			all, path, err := rolesOf(f, args[:len(args)-1])
			if err != nil {
				return err
			}
			var names []string
			for _, r := range all {
				if r.Name == name {
					return c.show(r, func(w io.Writer, o view.Options) error { return view.Role(w, r, o) })
				}
				names = append(names, r.Name)
			}
			where := "labctl has no role"
			if path != "" {
				where = "neither " + path + " nor labctl has a role"
			}
			return fmt.Errorf("%s %q%s; 'labctl role ls' lists them", where, name, lab.Meant(name, names))
		},
	}
	cmd.Flags().StringArrayVarP(&f.tags, "define", "D", nil, "`tag=value` for a field of the lab with @tag(tag); repeatable")
	cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 1 || len(args) == 1 && !looksLikeLab(args[0]) {
			return nil, cobra.ShellCompDirectiveDefault
		}
		all, _, err := rolesOf(f, args)
		var names []string
		for _, r := range all {
			names = append(names, r.Name+"\t"+r.Summary)
		}
		if err != nil || len(args) == 1 {
			return names, cobra.ShellCompDirectiveNoFileComp
		}
		return names, cobra.ShellCompDirectiveDefault
	}
	return cmd
}

// rolesOf are the roles of the lab that args or else the surroundings name, and its path; without any lab, labctl's own.
func rolesOf(f labFlags, args []string) ([]schema.RoleInfo, string, error) {
	o := schema.Options{Tags: f.tags}
	path := ""
	if len(args) > 0 {
		path = args[0]
	} else if found, err := findLab(""); err == nil {
		path = found
	}
	if path != "" {
		o.Args = []string{path}
	}
	all, err := schema.Roles(o)
	return all, path, err
}

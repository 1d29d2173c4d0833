package main

import (
	"bytes"
	"strings"

	"github.com/spf13/cobra"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
)

// explain makes help fit the terminal, say of every verb what it returns, and refuse verbs that there are not.
func (c *cli) explain(root *cobra.Command) {
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		var b bytes.Buffer
		cmd.SetOut(&b)
		help(cmd, args)
		cmd.SetOut(nil)
		_ = view.Fold(c.out, b.String(), screen(c.out)) // who reads no help is told nothing more
	})
	command := helpCommand()
	command.GroupID = root.Commands()[len(root.Commands())-1].GroupID // with the verbs for this host
	root.SetHelpCommand(command)
	sayExit(root)
}

func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [VERB]...",
		Short: "Explain a verb, or list all of them",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			of, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []string
			for _, sub := range of.Commands() {
				if sub.IsAvailableCommand() {
					names = append(names, sub.Name()+"\t"+sub.Short)
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			of, rest, err := cmd.Root().Find(args)
			if err == nil && len(rest) == 0 {
				return of.Help()
			}
			if near := cmd.Root().SuggestionsFor(args[0]); of == cmd.Root() && len(near) > 0 {
				return usage(cmd.Root(), "there is no verb %q; did you mean %s?", args[0], strings.Join(near, " or "))
			}
			return usage(cmd.Root(), "there is no verb %q", strings.Join(args, " "))
		},
	}
}

// sayExit ends the text of every verb that says nothing about its exit code with what holds for all.
func sayExit(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		sayExit(sub)
	}
	if cmd.HasSubCommands() || strings.Contains(cmd.Long, "Exit code") {
		return
	}
	if cmd.Long == "" {
		cmd.Long = cmd.Short + "."
	}
	cmd.Long += "\n\nExit code: 0, or 1 after an error."
}

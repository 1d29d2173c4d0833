package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// tasks say what verbs are for: the help of labctl lists them so.
func tasks() []struct{ title, verbs string } {
	return []struct{ title, verbs string }{
		{"Write a lab:", "init vet fmt targets hook schema role policy reach graph diff"},
		{"Make it, and keep it so:", "plan apply reinstall drift test destroy gc adopt"},
		{"Look at what runs:", "status watch logs console"},
		{"Go in:", "ssh exec cp proxy ssh-config ssh-key secret"},
		{"Hold, start and stop machines:", "start stop boot suspend resume save restore snapshot"},
		{"This host, and other tools:", "doctor system image env export completion man version help"},
	}
}

// byTask sorts root's verbs into groups, in the order of tasks. A verb without a task stands below the others.
func byTask(root *cobra.Command) {
	cobra.EnableCommandSorting = false // cobra's own switch, set once before anything runs
	order := map[string]int{}
	for i, t := range tasks() {
		root.AddGroup(&cobra.Group{ID: t.title, Title: t.title})
		for j, verb := range strings.Fields(t.verbs) {
			order[verb] = i*100 + j + 1
			if cmd, _, err := root.Find([]string{verb}); err == nil && cmd != root {
				cmd.GroupID = t.title
			}
		}
	}
	all := root.Commands()
	slices.SortStableFunc(all, func(a, b *cobra.Command) int { return order[a.Name()] - order[b.Name()] })
	root.SetHelpCommandGroupID(tasks()[len(tasks())-1].title)
	root.ResetCommands()
	root.AddCommand(all...)
}

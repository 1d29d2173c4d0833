package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/manual"
)

// TestVerbs: every verb, the newest too, stands in the help by task, has a page of the manual, says what it returns, and
// is completed, its arguments and its flags.
func TestVerbs(t *testing.T) {
	root := (&cli{}).rootCommand()
	for _, verb := range root.Commands() {
		if verb.GroupID == "" && verb.Name() != "help" {
			t.Errorf("%s stands in no group of the help: tasks.go", verb.CommandPath())
		}
	}
	for _, task := range tasks() {
		for _, verb := range strings.Fields(task.verbs) {
			if cmd, _, err := root.Find([]string{verb}); err != nil || cmd == root && verb != "help" {
				t.Errorf("tasks.go lists %s, which is no verb", verb)
			}
		}
	}
	pages := manual.Pages(root)
	walk(root, func(cmd *cobra.Command) {
		name := strings.ReplaceAll(cmd.CommandPath(), " ", "-") + ".1"
		if !slices.ContainsFunc(pages, func(p manual.Page) bool { return p.Name == name }) && cmd.Name() != "help" {
			t.Errorf("there is no page %s", name)
		}
		if cmd.HasSubCommands() {
			return
		}
		if !strings.Contains(cmd.Long, "Exit code") && cmd.Name() != "help" {
			t.Errorf("%s does not say what it returns", cmd.CommandPath())
		}
		if _, args, _ := strings.Cut(strings.TrimSuffix(cmd.Use, "[flags]"), " "); args != "" && cmd.ValidArgs == nil && cmd.ValidArgsFunction == nil {
			t.Errorf("the arguments of %s are not completed", cmd.CommandPath())
		}
		cmd.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
			if _, ok := cmd.GetFlagCompletionFunc(f.Name); !ok && completes(f) {
				t.Errorf("%s --%s is not completed", cmd.CommandPath(), f.Name)
			}
		})
	})
}

func walk(cmd *cobra.Command, see func(*cobra.Command)) {
	see(cmd)
	for _, sub := range cmd.Commands() {
		walk(sub, see)
	}
}

// completes says whether the value of a flag is one of some: not a number, a time, a text of the user's own, or a file,
// which shells complete by themselves.
func completes(f *pflag.Flag) bool {
	if f.Value.Type() != "string" && !strings.HasPrefix(f.Value.Type(), "string") {
		return false
	}
	what, _ := pflag.UnquoteUsage(f)
	return !slices.Contains([]string{"file", "text", "tag=value"}, what)
}

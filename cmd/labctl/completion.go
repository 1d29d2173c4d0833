package main

import (
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
)

func (c *cli) completionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print a script that makes a shell complete labctl's command line",
		Long: `Print a script that makes a shell complete labctl's command line, the names of machines included.

  bash:  source <(labctl completion bash)      (with the package bash-completion)
  zsh:   labctl completion zsh > "${fpath[1]}/_labctl"
  fish:  labctl completion fish > ~/.config/fish/completions/labctl.fish

Completed are verbs, flags and their values, labs, and the machines, targets and roles of the lab that is on the line, or
else is meant.`,
		ValidArgs: []string{"bash", "zsh", "fish"},
		Args:      between(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var text strings.Builder
			var err error
			switch args[0] {
			case "bash":
				err = cmd.Root().GenBashCompletionV2(&text, true)
			case "zsh":
				err = cmd.Root().GenZshCompletion(&text)
			case "fish":
				err = cmd.Root().GenFishCompletion(&text, true)
			default:
				return usage(cmd, "%q is none of bash, zsh, fish", args[0])
			}
			if err != nil {
				return err
			}
			return c.show(map[string]string{"shell": args[0], "script": text.String()}, func(w io.Writer, _ view.Options) error {
				_, err := io.WriteString(w, text.String())
				return err
			})
		},
	}
}

// completeLabs completes arguments that are labs: files of CUE and folders.
func completeLabs(cmd *cobra.Command) {
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{"cue"}, cobra.ShellCompDirectiveFilterFileExt
	}
}

// completeFolders completes arguments that are folders.
func completeFolders(cmd *cobra.Command) {
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
}

// completeImages completes names of images: those that the lab of f has, too, if it names one.
func completeImages(f *labFlags) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		known, err := knownImages(f)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for _, i := range known {
			names = append(names, i.Name)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// completePlugins completes names of providers: those that are found.
func completePlugins(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	dir, _ := home()
	return pluginNames(dir), cobra.ShellCompDirectiveNoFileComp
}

// completeMachineFlags completes flags that name machines.
func completeMachineFlags(cmd *cobra.Command, flags ...string) {
	for _, name := range flags {
		must(cmd.RegisterFlagCompletionFunc(name, (&labFlags{}).completeNames(func(f labFlags) []string { return machineNames(f, f.path) })))
	}
}

// completeNames completes a flag with names that a lab has: the one on the line, or else the one that is meant.
func (f *labFlags) completeNames(list func(labFlags) []string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		given := labFlags{tags: f.tags}
		var err error
		if given.path, err = findLab(labAmong(args)); err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return list(given), cobra.ShellCompDirectiveNoFileComp
	}
}

// labAmong is the lab that args name, or nothing.
func labAmong(args []string) string {
	for _, a := range args {
		if looksLikeLab(a) {
			return a
		}
	}
	return ""
}

// targetNames are for completion, each with its provider.
func targetNames(f labFlags) []string {
	spec, err := f.load()
	if err != nil {
		return nil
	}
	var names []string
	for _, t := range spec.Lab.Targets {
		names = append(names, t.Name+"\t"+t.Provider)
	}
	return names
}

// networkNames are for completion.
func networkNames(f labFlags) []string {
	spec, err := f.load()
	if err != nil {
		return nil
	}
	var names []string
	for _, n := range spec.Lab.Networks {
		names = append(names, n.Name)
	}
	return names
}

// endNames are what a way can begin or end at: machines, networks, the world.
func endNames(f labFlags) []string {
	return append(append(machineNames(f, f.path), networkNames(f)...), "world")
}

// completeMachines completes a LAB and the names of its machines; with many, any number of them.
func (c *cli) completeMachines(cmd *cobra.Command, f *labFlags, many bool) {
	completeAmong(cmd, f, many, func(f labFlags) []string { return machineNames(f, f.path) })
}

// completeAmong completes a LAB and names that list finds in it.
func completeAmong(cmd *cobra.Command, f *labFlags, many bool, list func(labFlags) []string) {
	cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		given := 0
		path := ""
		for _, a := range args {
			if given == 0 && path == "" && looksLikeLab(a) {
				path = a
				continue
			}
			given++
		}
		if given > 0 && !many {
			return nil, cobra.ShellCompDirectiveDefault
		}
		files := cobra.ShellCompDirectiveDefault
		if path != "" {
			files = cobra.ShellCompDirectiveNoFileComp
		}
		return list(labFlags{tags: f.tags, path: path}), files
	}
}

// machineNames are for completion: a lab that cannot be read has none.
func machineNames(f labFlags, path string) []string {
	var err error
	if f.path, err = findLab(path); err != nil {
		return nil
	}
	spec, err := f.load()
	if err != nil {
		return nil
	}
	var names []string
	for _, m := range spec.Lab.Machines {
		names = append(names, m.Name)
	}
	return names
}

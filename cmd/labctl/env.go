package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
)

// variable is one of the environment that labctl goes by.
type variable struct {
	Name  string `json:"name"`
	Value string `json:"value"` // "" is not set, and has no default that could be said
	About string `json:"about"`
}

func (c *cli) envCommand() *cobra.Command {
	var shell string
	cmd := &cobra.Command{
		Use:   "env [LAB]",
		Short: "Print the environment that labctl goes by, for a shell to take over",
		Long: `Print the variables of the environment that labctl goes by, with their values or defaults, as a shell reads them. With
LAB, that is the lab that all verbs mean from then on, in whatever folder:

  bash, zsh:  eval "$(labctl env labs/deploy3.cue)"
  fish:       labctl env labs/deploy3.cue | source`,
		Args: between(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if shell != "sh" && shell != "fish" {
				return usage(cmd, "--shell %s: it is sh or fish", shell)
			}
			all, err := environment(strings.Join(args, ""))
			if err != nil {
				return err
			}
			return c.show(all, func(w io.Writer, _ view.Options) error {
				for _, v := range all {
					if _, err := fmt.Fprintln(w, v.line(shell)); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	usual := "sh"
	if filepath.Base(os.Getenv("SHELL")) == "fish" {
		usual = "fish"
	}
	cmd.Flags().StringVar(&shell, "shell", usual, "whose words: sh (bash, zsh) or fish; by default what $SHELL says")
	must(cmd.RegisterFlagCompletionFunc("shell", cobra.FixedCompletions([]string{"sh", "fish"}, cobra.ShellCompDirectiveNoFileComp)))
	completeLabs(cmd)
	return cmd
}

// line is a variable in a shell's words.
func (v variable) line(shell string) string {
	switch {
	case v.Value == "":
		return fmt.Sprintf("# %s is not set: %s", v.Name, v.About)
	case shell == "fish":
		return fmt.Sprintf("set -gx %s '%s' # %s", v.Name, strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(v.Value), v.About)
	}
	return fmt.Sprintf("export %s=%s # %s", v.Name, shellWord(v.Value), v.About)
}

// environment is all that labctl goes by; lab is the one that shall be meant, "" the one that is.
func environment(lab string) ([]variable, error) {
	dir, err := home()
	if err != nil {
		return nil, err
	}
	if lab == "" {
		lab = os.Getenv("LABCTL_LAB")
	} else if _, err := os.Stat(lab); err != nil {
		return nil, fmt.Errorf("cannot read %s: no such file or folder", lab)
	}
	if lab != "" {
		if lab, err = filepath.Abs(lab); err != nil {
			return nil, err
		}
	}
	return []variable{
		{"LABCTL_HOME", dir, "images, keys, disks: all that labctl keeps"},
		{"LABCTL_LAB", lab, "the lab that is meant where none is named; else lab.cue"},
		{"LABCTL_ACCEL", os.Getenv("LABCTL_ACCEL"), "tcg, kvm or hvf: what QEMU uses; else it is tried out"},
		{"NO_COLOR", os.Getenv("NO_COLOR"), "anything: no colours on terminals"},
		{"CLICOLOR", os.Getenv("CLICOLOR"), "0: no colours on terminals"},
		{"CLICOLOR_FORCE", os.Getenv("CLICOLOR_FORCE"), "anything but 0: colours where there is no terminal, too, unless NO_COLOR is set"},
	}, nil
}

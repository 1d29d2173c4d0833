package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/provider/vmnet"
)

func (c *cli) systemCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "system",
		Short: "What a host needs that only its owner can give it",
		Args:  between(0, 0),
		RunE:  func(cmd *cobra.Command, _ []string) error { return usage(cmd, "say install-helper") },
	}
	cmd.AddCommand(c.installHelperCommand())
	return cmd
}

// helpers is the result of system install-helper.
type helpers struct {
	Helpers []vmnet.Helper `json:"helpers"`
	Script  string         `json:"script"`
}

func (c *cli) installHelperCommand() *cobra.Command {
	var segments []string
	var printed, plist bool
	cmd := &cobra.Command{
		Use:   "install-helper",
		Short: "Print what makes networks of macOS usable by QEMU without root",
		Long: `Print a shell script for root that installs socket_vmnet as a service of launchd, so that networks of a QEMU lab can be
networks of macOS (the target's option vmnet). Nothing is changed by labctl itself: read it, then

  labctl system install-helper --print | sudo sh

socket_vmnet comes from Homebrew (brew install socket_vmnet); the script keeps a copy that only root can write.`,
		Args: between(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !printed {
				return usage(cmd, "say --print: labctl changes nothing that is root's")
			}
			var h helpers
			for _, text := range segments {
				s, err := vmnet.Parse(text)
				if err != nil {
					return usage(cmd, "--segment: %v", err)
				}
				h.Helpers = append(h.Helpers, vmnet.NewHelper(s))
			}
			h.Script = vmnet.Script(h.Helpers)
			return c.show(h, func(w io.Writer, _ view.Options) error {
				text := h.Script
				if plist {
					text = ""
					for _, x := range h.Helpers {
						text += x.Plist()
					}
				}
				_, err := io.WriteString(w, text)
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&printed, "print", false, "print it")
	cmd.Flags().BoolVar(&plist, "plist", false, "the property lists alone")
	cmd.Flags().StringSliceVar(&segments, "segment", []string{string(vmnet.Shared)}, "`network` of macOS: shared, host or bridged:en0; repeatable")
	must(cmd.RegisterFlagCompletionFunc("segment", cobra.FixedCompletions([]string{"shared", "host", "bridged:"}, cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveNoSpace)))
	return cmd
}

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/manual"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
)

func (c *cli) manCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "man FOLDER",
		Short: "Write manual pages, one for each verb",
		Long: `Write the help of labctl and of each verb as pages of the manual, section 1, into a folder; 'man -l FOLDER/labctl.1' shows
one, and in a folder man1 of $MANPATH 'man labctl-apply' finds it.`,
		Args: between(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("cannot make the folder: %w", err)
			}
			files := []string{}
			for _, p := range manual.Pages(cmd.Root()) {
				name := filepath.Join(args[0], p.Name)
				if err := replaceFile(name, p.Text); err != nil {
					return fmt.Errorf("cannot write the page: %w", err)
				}
				files = append(files, name)
			}
			return c.show(files, func(w io.Writer, _ view.Options) error {
				_, err := fmt.Fprintf(w, "%d pages in %s; man -l %s shows the first.\n", len(files), args[0], files[0])
				return err
			})
		},
	}
	completeFolders(cmd)
	return cmd
}

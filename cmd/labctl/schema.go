package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/schema"
)

func (c *cli) schemaCommand() *cobra.Command {
	var pkg string
	cmd := &cobra.Command{
		Use:   "schema",
		Short: "Print the definition of a lab, for editors and cue vet",
		Long: `Print the definition of a lab as CUE. Written beside a lab (labctl schema > schema.cue) it makes editors with the CUE
language server complete and explain fields, and 'cue vet lab.cue schema.cue' works. labctl itself does not need it.
For a lab with a package clause, give its name: labctl schema --package NAME.`,
		Args: between(0, 0),
		RunE: func(*cobra.Command, []string) error {
			text := schema.DefinitionIn(pkg)
			return c.show(map[string]string{"definition": string(text)}, func(w io.Writer, _ view.Options) error {
				_, err := w.Write(text)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&pkg, "package", "", "`text`: the name of the package that the definition joins")
	return cmd
}

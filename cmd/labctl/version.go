package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/provider"
)

func (c *cli) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the versions of labctl and of the plugins it finds",
		Args:  between(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := home()
			if err != nil {
				return err
			}
			own := provider.ThisProgram()
			vs := []view.Version{{Name: "labctl", Version: own.Version, Built: own, Protocol: provider.Protocol, Path: executable()}}
			for _, name := range pluginNames(dir) {
				vs = append(vs, c.pluginVersion(cmd.Context(), dir, name))
			}
			return c.show(vs, func(w io.Writer, o view.Options) error { return view.Versions(w, vs, o) })
		},
	}
}

func executable() string {
	exe, err := os.Executable()
	if err != nil {
		return ""
	}
	return exe
}

// pluginNames lists the providers for which there is a program where plugins are looked for; the first one wins.
func pluginNames(home string) []string {
	var names []string
	seen := map[string]bool{}
	for _, dir := range append(pluginDirs(home), filepath.SplitList(os.Getenv("PATH"))...) {
		found, err := filepath.Glob(filepath.Join(dir, "labctl-provider-*"))
		if err != nil {
			continue // a folder whose name is a bad pattern holds no plugin that could be named
		}
		for _, path := range found {
			name := strings.TrimPrefix(filepath.Base(path), "labctl-provider-")
			if info, err := os.Stat(path); err == nil && !info.IsDir() && !seen[name] {
				seen[name] = true
				names = append(names, name)
			}
		}
	}
	return names
}

// pluginVersion asks a plugin who it is.
func (c *cli) pluginVersion(ctx context.Context, home, name string) view.Version {
	v := view.Version{Name: "labctl-provider-" + name}
	client, err := launch(ctx, c, home, name)
	if err != nil {
		v.Problem = err.Error()
		return v
	}
	defer client.Close()
	d := client.Description
	v.Version, v.Built, v.Protocol, v.Path = d.Version, d.Built, provider.Protocol, client.Path
	if own := provider.ThisProgram(); d.Built.Module == own.Module && d.Built.Commit != own.Commit {
		v.Problem = v.Path + " is of another commit than labctl: put both of one build in their places"
	}
	return v
}

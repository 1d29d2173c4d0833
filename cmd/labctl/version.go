package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
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
			vs := []view.Version{{Name: "labctl", Version: buildVersion(), Protocol: provider.Protocol, Path: executable()}}
			for _, name := range pluginNames(dir) {
				vs = append(vs, c.pluginVersion(cmd.Context(), dir, name))
			}
			return c.show(vs, func(w io.Writer, o view.Options) error { return view.Versions(w, vs, o) })
		},
	}
}

// release is the version that a release was built as (build/release.sh sets it); "" of other builds.
var release string

// buildVersion is this program's version as it was released or the go command recorded it:
// "v0.1.0 (commit 1a2b3c4d, go1.26.0)".
func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown (" + runtime.Version() + ")"
	}
	commit, changed := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = "commit " + s.Value[:min(len(s.Value), 12)]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = " with changes"
		}
	}
	version := cmp.Or(release, info.Main.Version, "(devel)")
	if commit == "" {
		return fmt.Sprintf("%s (%s)", version, info.GoVersion)
	}
	return fmt.Sprintf("%s (%s%s, %s)", version, commit, changed, info.GoVersion)
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
	v.Version, v.Protocol, v.Path = client.Description.Version, provider.Protocol, client.Path
	return v
}

package provider

import (
	"cmp"
	"runtime"
	"runtime/debug"
)

// Built is what a program was built from.
type Built struct {
	Module  string `json:"module,omitempty"`  // of the program's main package
	Version string `json:"version"`           // the module's, "v1.2.3", as it was released; "(devel)" if nobody knows
	Commit  string `json:"commit,omitempty"`  // twelve digits of git's
	Changed bool   `json:"changed,omitempty"` // there were changes that the commit does not have
	Go      string `json:"go"`
}

// release is the version that a release was built as (build/release.sh sets it); "" of other builds.
var release string

// ThisProgram is what the running program was built from, as the go command recorded it in the program.
func ThisProgram() Built {
	b := Built{Version: cmp.Or(release, "(devel)"), Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Module, b.Version = info.Main.Path, cmp.Or(release, info.Main.Version, "(devel)")
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value[:min(len(s.Value), 12)]
		case "vcs.modified":
			b.Changed = s.Value == "true"
		}
	}
	return b
}

// Source is the commit and the Go, e.g. "commit 1a2b3c4d5e6f with changes, go1.26.8".
func (b Built) Source() string {
	switch {
	case b.Commit == "":
		return b.Go
	case b.Changed:
		return "commit " + b.Commit + " with changes, " + b.Go
	}
	return "commit " + b.Commit + ", " + b.Go
}

// String is all of it in a line, e.g. "v0.1.0 (commit 1a2b3c4d5e6f, go1.26.8)".
func (b Built) String() string { return b.Version + " (" + b.Source() + ")" }

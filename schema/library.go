package schema

import (
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/errors"
)

//go:embed roles/*.cue
var roleSources embed.FS

// roles are all roles that a lab may use: labctl's own, and the lab's.
type roles struct {
	lab, ours cue.Value // a struct of them by name; the lab's need not exist
	rule      cue.Value // #Role
	library   cue.Value // labctl's files, with what their roles refer to
}

// theRoles compiles labctl's own roles and finds the lab's. def is the definition of a lab, user the lab. Of labctl's own
// those that only names are enough, which stand in files of their names; nil is all of them.
func theRoles(ctx *cue.Context, def, user cue.Value, only []string) (roles, error) {
	inst := build.NewContext().NewInstance("roles", nil)
	names, err := roleSources.ReadDir("roles")
	if err != nil {
		return roles{}, fmt.Errorf("cannot read the embedded roles: %w", err)
	}
	for _, n := range names {
		if own := strings.TrimSuffix(n.Name(), ".cue"); only != nil && own != "roles" && !slices.Contains(only, own) {
			continue
		}
		file := path.Join("roles", n.Name())
		text, err := roleSources.ReadFile(file)
		if err == nil {
			err = inst.AddFile(file, text)
		}
		if err != nil {
			return roles{}, fmt.Errorf("cannot read the embedded %s: %w", file, err)
		}
	}
	if err := inst.Complete(); err != nil {
		return roles{}, fmt.Errorf("cannot read the embedded roles: %w", err)
	}
	at := cue.ParsePath("#Roles")
	library := ctx.BuildInstance(inst, cue.Scope(def))
	out := roles{rule: def.LookupPath(cue.ParsePath("#Role")), lab: user.LookupPath(at), ours: library.LookupPath(at), library: library}
	if only != nil && slices.ContainsFunc(only, func(name string) bool { v, _ := out.find(name); return !v.Exists() }) {
		return theRoles(ctx, def, user, nil) // one that refers to another file, or that there is not
	}
	if !out.ours.Exists() { // other errors are none: without a lab a role may be wrong, as where it speaks of the first machine of all
		return roles{}, fmt.Errorf("cannot read the embedded roles: %s", errors.Details(library.Err(), nil))
	}
	return out, nil
}

// names are those of all roles, sorted.
func (r roles) names() []string {
	var out []string
	for _, v := range []cue.Value{r.lab, r.ours} {
		fields, err := v.Fields()
		for err == nil && fields.Next() {
			out = append(out, fields.Selector().Unquoted())
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// find is the role called name, and where it stands: the lab's own is in one of its own files.
func (r roles) find(name string) (v cue.Value, own bool) {
	at := cue.MakePath(cue.Str(name))
	if v = r.lab.LookupPath(at); v.Exists() {
		return v.Unify(r.rule), true
	}
	return r.ours.LookupPath(at), false
}

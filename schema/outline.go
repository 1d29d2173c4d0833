package schema

import (
	"slices"
	"strconv"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
)

// Outline is what one CUE file says of itself, without anything else being read: what other files it is read with, and
// whether it may be a lab.
type Outline struct {
	Package string   // of its package clause; "" without one
	Imports []string // as they are written, e.g. "example.com/shared:machines"; sorted
	Name    bool     // it has a field "name", as a lab has
	Embeds  bool     // it embeds something, which may have one
	Module  string   // of cue.mod/module.cue: the module's path without a version
	Written bool     // `labctl schema` wrote it
}

// OutlineOf reads one file. What cannot be read is an Errors, whose positions are in name.
func OutlineOf(name string, text []byte) (Outline, error) {
	f, err := syntax(name, text)
	if err != nil {
		return Outline{}, err
	}
	o := Outline{Package: f.PackageName()}
	for s := range f.ImportSpecs() {
		if path, err := strconv.Unquote(s.Path.Value); err == nil {
			o.Imports = append(o.Imports, path)
		}
	}
	slices.Sort(o.Imports)
	for _, d := range f.Decls {
		switch x := d.(type) {
		case *ast.EmbedDecl, *ast.Comprehension:
			o.Embeds = true
		case *ast.Attribute:
			o.Written = o.Written || x.Text == generated
		case *ast.Field:
			label, _, err := ast.LabelName(x.Label)
			if err != nil {
				continue
			}
			o.Name = o.Name || label == "name"
			if lit, ok := x.Value.(*ast.BasicLit); ok && label == "module" {
				path, _ := strconv.Unquote(lit.Value)
				o.Module, _, _ = strings.Cut(path, "@")
			}
		}
	}
	return o, nil
}

// Named says whether the user's own files, all together, have a name for a lab: what has none was not meant to be one. An
// error says that they cannot be put together.
func Named(o Options) (bool, error) {
	inst, _, err := read(o)
	if err != nil {
		return false, err
	}
	ctx, def, err := compiled()
	if err != nil {
		return false, err
	}
	v := ctx.BuildInstance(inst, cue.Scope(def))
	return v.LookupPath(cue.ParsePath("name")).Exists(), v.Err()
}

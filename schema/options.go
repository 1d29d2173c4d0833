package schema

import (
	"encoding/json"
	"fmt"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/parser"

	"github.com/labctl-dev/labctl/lab"
)

// CheckOptions unifies the options of t with the provider's own definition and returns them with defaults filled in,
// as the values that encoding/json makes. The definition (provider.Description.Options) is CUE text: imports, if any,
// and the fields of a struct, which is closed. What is wrong with the options is an Errors with paths such as
// "targets.local.accelerator", for Spec.Locate to find; anything else is the provider's mistake.
func CheckOptions(definition string, t lab.Target) (map[string]any, error) {
	file := t.Provider + " options"
	ctx := cuecontext.New()
	f, err := parser.ParseFile(file, definition, parser.ParseComments)
	if err != nil {
		return nil, fmt.Errorf("cannot read the definition that provider %s brings for its options: %w", t.Provider, err)
	}
	rules := ctx.BuildFile(closed(f))
	if err := rules.Err(); err != nil {
		return nil, fmt.Errorf("cannot read the definition that provider %s brings for its options: %w", t.Provider, err)
	}
	text := t.Options
	if len(text) == 0 {
		text = json.RawMessage("{}")
	}
	user := ctx.CompileBytes(text, cue.Filename(t.Name))
	if err := user.Err(); err != nil {
		return nil, fmt.Errorf("cannot read the options of target %s: %w", t.Name, err)
	}
	path := []string{"targets", t.Name}
	spec := &Spec{user: ctx.CompileString("{}").FillPath(cue.MakePath(cue.Str("targets"), cue.Str(t.Name)), user)}
	x := explainer{spec: spec, rules: rules, name: "#Options", file: file, under: path}
	all := x.def().Unify(user)
	if err := all.Validate(cue.Concrete(true)); err != nil {
		es := x.all(err, user)
		for i := range es {
			es[i].Positions = nil // places in JSON that no user wrote
		}
		return nil, es.sorted()
	}
	out := map[string]any{}
	text, err = all.MarshalJSON()
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the options of target %s: %w", t.Name, err)
	}
	return out, nil
}

// closed wraps what follows the imports into a definition, so that an option that is not in it is an error.
func closed(f *ast.File) *ast.File {
	head := f.Preamble()
	body := &ast.StructLit{Elts: f.Decls[len(head):]}
	out := *f
	out.Decls = append(append([]ast.Decl{}, head...), &ast.Field{Label: ast.NewIdent("#Options"), Value: body})
	return &out
}

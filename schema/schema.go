// Package schema reads a lab.cue: it holds the definition of a lab and the well-known images as CUE, unifies the
// user's files with them, and says in the user's own file:line:column what is wrong. It is the only code that reads
// CUE.
//
// It must not know whether a lab makes sense as a whole (check.Vet does), nor any hypervisor: a target's options are
// checked by CUE text that the provider brings.
package schema

import (
	"bytes"
	"embed"
	"fmt"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/parser"
)

//go:embed *.cue
var sources embed.FS

// The embedded files in the order in which a reader wants them.
const order = "lab.cue network.cue machine.cue parts.cue role.cue router.cue policy.cue check.cue image.cue images.cue installer.cue"

// ruleFile names the definition in positions: it is the text that Definition returns.
const ruleFile = "schema.cue"

// generated marks a file that `labctl schema` wrote; Load leaves such a file out, whatever version it is of.
const generated = "@labctl(schema)"

// Definition is the definition of a lab as one CUE file without a package clause, for editors and for
// `cue vet lab.cue schema.cue`: it applies itself to the lab it is read with.
func Definition() []byte { return DefinitionIn("") }

// DefinitionIn is Definition as a file of the package called pkg, for a lab that has a package clause. Its lines have
// the same numbers.
func DefinitionIn(pkg string) []byte {
	return slices.Concat(definition(pkg), []byte("\n// What the files beside this one say is a lab.\n#Lab\n"))
}

// definition joins the embedded files: one header, all imports, then every file's body.
func definition(pkg string) []byte {
	var head, body bytes.Buffer
	imports := map[string]bool{}
	for i, name := range strings.Fields(order) {
		text, err := sources.ReadFile(name)
		if err != nil {
			panic(err) // the file is part of this program
		}
		f, err := parser.ParseFile(name, text, parser.ImportsOnly)
		if err != nil {
			panic(err)
		}
		start := 0
		for _, d := range f.Preamble() {
			if i == 0 && start == 0 {
				head.Write(text[:d.Pos().Offset()])
			}
			start = d.End().Offset()
		}
		for s := range f.ImportSpecs() {
			imports[s.Path.Value] = true
		}
		body.WriteString("\n" + strings.TrimLeft(string(text[start:]), "\n"))
	}
	clause := "// (no package clause: for labs without one)"
	if pkg != "" {
		clause = "package " + pkg
	}
	fmt.Fprintf(&head, "%s\n%s\n\nimport (\n", generated, clause)
	paths := make([]string, 0, len(imports))
	for p := range imports {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	for _, p := range paths {
		fmt.Fprintf(&head, "\t%s\n", p)
	}
	head.WriteString(")\n")
	return append(head.Bytes(), body.Bytes()...)
}

// compiled is the definition in a CUE context of its own: contexts grow with every value made in them, so each Load
// has one.
func compiled() (*cue.Context, cue.Value, error) {
	ctx := cuecontext.New()
	v := ctx.CompileBytes(definition(""), cue.Filename(ruleFile))
	if err := v.Err(); err != nil {
		return nil, cue.Value{}, fmt.Errorf("cannot read the embedded definition: %w", err)
	}
	return ctx, v, nil
}

package schema_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/parser"

	"github.com/labctl-dev/labctl/internal/goldentest"
	"github.com/labctl-dev/labctl/schema"
)

// trailing are blanks at the end of lines.
var trailing = regexp.MustCompile(` +\n`)

// TestSpecReference: docs/spec.md is the definition's own comments, field by field, and nothing else.
func TestSpecReference(t *testing.T) {
	f, err := parser.ParseFile("schema.cue", schema.Definition(), parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	got := trailing.ReplaceAllString(reference(t, f), "\n")
	const path = "../docs/spec.md"
	goldentest.File(t, path, got)
}

// reference is the definition as a page: a heading for each named part, and a line for each of its fields.
func reference(t *testing.T, f *ast.File) string {
	var b strings.Builder
	b.WriteString("# What a lab may say\n\nMade from the definition's own comments by a test; `labctl schema` prints the definition itself.\n" +
		"Types are CUE's: `*x | T` is of type T and x where it is left out; `name!` must be said, `name?` may be left out.\n")
	for _, d := range f.Decls {
		field, ok := d.(*ast.Field)
		if !ok {
			continue
		}
		name, _, err := ast.LabelName(field.Label)
		if err != nil || !strings.HasPrefix(name, "#") {
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n\n", name)
		if doc := comment(field); doc != "" {
			b.WriteString(doc + "\n")
		}
		s := fields(field.Value)
		if s == nil {
			fmt.Fprintf(&b, "\n    %s\n", strings.ReplaceAll(source(t, field.Value), "\n", "\n    "))
			continue
		}
		b.WriteString("\n")
		list(t, &b, s, "")
	}
	return b.String()
}

// fields are those of a struct, or of the struct among the parts of a conjunction or disjunction; nil if there is none.
func fields(x ast.Expr) *ast.StructLit {
	switch x := x.(type) {
	case *ast.StructLit:
		return x
	case *ast.BinaryExpr:
		if s := fields(x.X); s != nil {
			return s
		}
		return fields(x.Y)
	}
	return nil
}

// list writes the fields of a struct, those of structs within below them.
func list(t *testing.T, b *strings.Builder, s *ast.StructLit, indent string) {
	for _, d := range s.Elts {
		f, ok := d.(*ast.Field)
		if !ok {
			continue
		}
		label := source(t, f.Label)
		if strings.HasPrefix(label, "_") || strings.HasPrefix(label, "#") {
			continue // the definition's own business
		}
		switch f.Constraint.String() {
		case "!", "?":
			label += f.Constraint.String()
		}
		inner, isStruct := f.Value.(*ast.StructLit)
		doc := strings.ReplaceAll(comment(f), "\n", " ")
		switch {
		case isStruct:
			fmt.Fprintf(b, "%s- `%s`: %s\n", indent, label, doc)
			list(t, b, inner, indent+"  ")
		default:
			fmt.Fprintf(b, "%s- `%s: %s` %s\n", indent, label, strings.Join(strings.Fields(source(t, f.Value)), " "), doc)
		}
	}
}

// comment is what stands above a field.
func comment(n ast.Node) string {
	var lines []string
	for _, g := range ast.Comments(n) {
		if g.Doc {
			for _, c := range g.List {
				lines = append(lines, strings.TrimPrefix(strings.TrimPrefix(c.Text, "//"), " "))
			}
		}
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}

// source is an expression as it is written, without its comments.
func source(t *testing.T, n ast.Node) string {
	b, err := format.Node(n)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, l := range strings.Split(string(b), "\n") {
		if s := strings.TrimSpace(l); !strings.HasPrefix(s, "//") {
			if at := strings.Index(l, " // "); at >= 0 {
				l = l[:at]
			}
			out = append(out, l)
		}
	}
	return strings.TrimSpace(strings.Join(out, "\n"))
}

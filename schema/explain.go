package schema

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/literal"
	"cuelang.org/go/cue/token"

	"github.com/labctl-dev/labctl/lab"
)

// explainer turns CUE's errors, of which there are several for one mistake, into one readable Error per place.
type explainer struct {
	spec  *Spec     // the user's side
	rules cue.Value // all definitions of the rules' side
	name  string    // the one that the user's side must satisfy: "#Lab"
	above []string  // where the rules stand, if that is not at the top: CUE puts it, and name, in front of paths
	file  string    // the name of the rules' text in positions
	// Which fields that CUE does not allow are said; none at first, since unknown finds those that labctl does not know.
	closed closedness
	under  []string // where the user's side stands in the spec: "targets", "local"; nil for the whole spec
}

// def is the definition that the user's side must satisfy.
func (x explainer) def() cue.Value { return x.rules.LookupPath(cue.ParsePath(x.name)) }

// all is everything that is wrong with v, the user's side, for which CUE says err: never nothing.
func (x explainer) all(err error, v cue.Value) Errors {
	es := append(unknown(x.spec, x.def(), v, x.under), x.explain(err)...)
	for x.closed = users; len(es) == 0 && x.closed <= added; x.closed++ {
		es = x.explain(err)
	}
	return es
}

// group is what CUE says about one path.
type group struct {
	names []string
	errs  []errors.Error
}

// required says whether the group is about a field that must be there and is not.
func (g *group) required() bool {
	format, _ := g.errs[0].Msg()
	return strings.Contains(format, "field is required but not present")
}

func (x explainer) explain(err error) Errors {
	var groups []*group
	for _, e := range errors.Errors(err) {
		names := unquote(e.Path())
		if top := append(slices.Clone(x.above), x.name); len(names) >= len(top) && slices.Equal(names[:len(top)], top) {
			names = names[len(top):]
		}
		i := slices.IndexFunc(groups, func(g *group) bool { return slices.Equal(g.names, names) })
		if i < 0 || len(names) == 0 {
			groups, i = append(groups, &group{names: names}), len(groups)
		}
		groups[i].errs = append(groups[i].errs, e)
	}
	var out, derived Errors
	for _, g := range groups {
		if x.alternative(g, groups) {
			continue
		}
		e, ok := x.one(g)
		switch {
		case !ok:
		case len(e.Positions) == 0 && !g.required():
			derived = append(derived, e)
		default:
			out = append(out, e)
		}
	}
	// What the user did not write has no value because something else is missing: that is enough to say.
	if len(out) == 0 {
		out = derived
	}
	for i := range out {
		if len(out[i].Positions) == 0 {
			out[i].Positions = x.spec.Start()
		}
	}
	return out
}

// one is the Error for a group; false for unknown fields, which the caller has found already and more of them.
func (x explainer) one(g *group) (Error, bool) {
	g = x.element(g)
	path := slices.Concat(x.under, g.names)
	out := Error{Path: lab.Path(path...)}
	if format, _ := g.errs[0].Msg(); format == "field not allowed" {
		return x.shut(g, path)
	}
	value := lookup(x.spec.user, path)
	if text := describe(value); text != "" && value.IsConcrete() {
		if want, rule := x.wanted(g, value); want != "" {
			out.Message, out.Rules = text+" is not "+want, rule
			out.Positions = firstOf(x.spec.Pos(out.Path))
			return out, true
		}
	}
	e := telling(g.errs, x.file)
	if out.Message = choice(g.errs); out.Message == "" {
		out.Message = x.plain(e, g)
	}
	for _, p := range errors.Positions(e) {
		if q, ok := x.spec.files.position(p); ok && p.Filename() != x.file && !slices.Contains(out.Positions, q) {
			out.Positions = append(out.Positions, q)
		}
	}
	slices.SortFunc(out.Positions, Position.compare)
	if len(out.Positions) == 0 {
		out.Positions = firstOf(x.spec.Pos(out.Path))
	}
	return out, true
}

// telling is the error that says most: one that is about the user's files alone, else the first that says anything.
func telling(errs []errors.Error, ruleFile string) errors.Error {
	var best errors.Error
	for _, e := range errs {
		if format, _ := e.Msg(); strings.Contains(format, "errors in empty disjunction") {
			continue
		}
		if !slices.ContainsFunc(errors.Positions(e), func(p token.Pos) bool { return p.Filename() == ruleFile }) {
			return e
		}
		if best == nil {
			best = e
		}
	}
	if best == nil {
		return errs[0]
	}
	return best
}

// choice is the message for a value that is none of those which a disjunction of the user's own allows: CUE has an
// error for each, "conflicting values A and B", of which one is the value every time. "" if that is not the case.
func choice(errs []errors.Error) string {
	count := map[string]int{}
	var pairs [][2]string
	for _, e := range errs {
		format, args := e.Msg()
		if strings.HasPrefix(format, "conflicting values") && len(args) >= 2 {
			pair := [2]string{fmt.Sprint(args[0]), fmt.Sprint(args[1])}
			pairs = append(pairs, pair)
			count[pair[0]]++
			count[pair[1]]++
		}
	}
	if len(pairs) < 2 {
		return ""
	}
	value := pairs[0][0]
	if count[value] < count[pairs[0][1]] {
		value = pairs[0][1]
	}
	var allowed []string
	for _, p := range pairs {
		other := p[0]
		if other == value {
			other = p[1]
		}
		if p[0] != value && p[1] != value {
			return ""
		}
		if !slices.Contains(allowed, other) {
			allowed = append(allowed, other)
		}
	}
	slices.Sort(allowed)
	return value + " is not " + strings.Join(allowed, " or ")
}

// plain is what CUE says, in better words where there are any.
func (x explainer) plain(e errors.Error, g *group) string {
	format, args := e.Msg()
	switch {
	case g.required():
		return "is required" + x.hint(g.names)
	case strings.HasPrefix(format, "incomplete value") && len(args) == 1:
		return fmt.Sprintf("has no value yet, only %v%s", args[0], x.tagHint())
	case format == "invalid interpolation":
		return message(e) + x.tagHint()
	}
	return message(e)
}

// tagHint names the tags that were not given, when something has no value.
func (x explainer) tagHint() string {
	if len(x.spec.unset) == 0 {
		return ""
	}
	return "; not given: -D " + strings.Join(x.spec.unset, "=..., -D ") + "=..."
}

// hint is the first sentence of a definition's comment.
func (x explainer) hint(names []string) string {
	for _, doc := range ruleAt(x.def(), names).Doc() {
		text, _, _ := strings.Cut(strings.Join(strings.Fields(doc.Text()), " "), ". ")
		return ": " + strings.TrimSuffix(text, ".")
	}
	return ""
}

// wanted is what the broken rule asks of value, and where it stands: the words of the @want attribute of the rule's
// field, or of a definition it refers to, else the kind of value.
func (x explainer) wanted(g *group, value cue.Value) (string, []Position) {
	rule := ruleAt(x.def(), g.names)
	fields := x.referred(rule.Source())
	if field, ok := rule.Source().(*ast.Field); ok {
		fields = append([]*ast.Field{field}, fields...)
	}
	for _, f := range fields {
		if text, ok := wantOf(f); ok {
			return text, x.at(f.Value.Pos())
		}
	}
	for _, e := range g.errs {
		if _, args := e.Msg(); len(args) == 4 && rule.Exists() {
			return otherKind(value, fmt.Sprint(args[2]), fmt.Sprint(args[3])), x.at(rule.Pos())
		}
	}
	return "", nil
}

func (x explainer) at(p token.Pos) []Position {
	if !p.IsValid() {
		return nil
	}
	if q, ok := x.spec.files.position(p); ok { // a rule of the lab's own
		return []Position{q}
	}
	return []Position{{File: p.Filename(), Line: p.Line(), Column: p.Column()}}
}

// referred are the definitions that a field's value, or the place of a list's elements, names; not those of its parts.
func (x explainer) referred(n ast.Node) []*ast.Field {
	var out []*ast.Field
	if n == nil {
		return nil
	}
	ast.Walk(n, func(n ast.Node) bool {
		switch n.(type) {
		case *ast.ListLit, *ast.StructLit:
			return false
		}
		if id, ok := n.(*ast.Ident); ok && strings.HasPrefix(id.Name, "#") {
			if d, ok := x.rules.LookupPath(cue.MakePath(cue.Def(id.Name))).Source().(*ast.Field); ok {
				out = append(out, d)
			}
		}
		return true
	}, nil)
	return out
}

func wantOf(f *ast.Field) (string, bool) {
	for _, a := range f.Attrs {
		if key, body := a.Split(); key == "want" {
			text, err := literal.Unquote(body)
			return text, err == nil
		}
	}
	return "", false
}

// message is CUE's own text without path and positions, on one line.
func message(e errors.Error) string {
	format, args := e.Msg()
	text := fmt.Sprintf(format, args...)
	if inner := errors.Unwrap(e); inner != nil {
		more := inner.Error()
		var typed errors.Error
		if errors.As(inner, &typed) {
			more = message(typed)
		}
		if more != text {
			text = strings.TrimPrefix(text+": "+more, ": ")
		}
	}
	return strings.Join(strings.Fields(text), " ")
}

// describe is a value for a message: itself if it is short, else its kind.
func describe(v cue.Value) string {
	switch v.IncompleteKind() {
	case cue.StructKind:
		return "a struct"
	case cue.ListKind:
		return "a list"
	case cue.StringKind, cue.IntKind, cue.FloatKind, cue.NumberKind, cue.BoolKind, cue.NullKind:
		text := fmt.Sprint(v)
		if r := []rune(text); len(r) > 60 {
			text = string(r[:57]) + "..."
		}
		return text
	}
	return ""
}

// otherKind is, of the two kinds that do not match, the one that v is not of, in words.
func otherKind(v cue.Value, a, b string) string {
	if a == v.IncompleteKind().String() {
		a = b
	}
	switch a {
	case "int":
		return "a whole number"
	case "":
		return ""
	case "struct":
		return "a struct { ... }"
	}
	return "a " + strings.Trim(a, "()")
}

func unquote(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = n
		if name, err := strconv.Unquote(n); err == nil {
			out[i] = name
		}
	}
	return out
}

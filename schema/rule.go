package schema

import (
	"slices"
	"strconv"

	"cuelang.org/go/cue"
)

// alternatives are the parts of a disjunction, or v alone.
func alternatives(v cue.Value) []cue.Value {
	v = cue.Dereference(v)
	op, parts := v.Expr()
	if op != cue.OrOp {
		return []cue.Value{v}
	}
	var out []cue.Value
	for _, p := range parts {
		out = append(out, alternatives(p)...)
	}
	return out
}

// ruleAt is the part of a definition that a value at names must satisfy.
func ruleAt(def cue.Value, names []string) cue.Value {
	for _, n := range names {
		def = ruleOf(def, n)
	}
	return def
}

func ruleOf(def cue.Value, name string) cue.Value {
	selectors := []cue.Selector{cue.Str(name), cue.Str(name).Optional(), cue.Str(name).Required(), cue.AnyString, cue.AnyIndex}
	for _, sel := range selectors {
		if v := def.LookupPath(cue.MakePath(sel)); v.Exists() {
			return v
		}
	}
	if parts := alternatives(def); len(parts) > 1 {
		for _, p := range parts {
			if v := ruleOf(p, name); v.Exists() {
				return v
			}
		}
	}
	return cue.Value{}
}

// alternative says whether a group is only about the other kinds of value that the user could have written in place of
// what another group is about.
func (x explainer) alternative(g *group, all []*group) bool {
	deeper := func(h *group) bool {
		return len(h.names) > len(g.names) && slices.Equal(h.names[:len(g.names)], g.names)
	}
	return slices.ContainsFunc(all, deeper) && len(alternatives(ruleAt(x.def(), g.names))) > 1
}

// element leads a group about a list, which could be something else as well, to the element that is of the wrong kind:
// CUE has errors about the whole.
func (x explainer) element(g *group) *group {
	v, rule := lookup(x.spec.user, slices.Concat(x.under, g.names)), ruleAt(x.def(), g.names)
	if v.IncompleteKind() != cue.ListKind || len(alternatives(rule)) < 2 {
		return g
	}
	elements, _ := v.List()
	for i := 0; elements.Next(); i++ {
		name := strconv.Itoa(i)
		if r := ruleOf(rule, name); r.Exists() && r.IncompleteKind()&elements.Value().IncompleteKind() == 0 {
			return &group{names: append(slices.Clone(g.names), name), errs: g.errs}
		}
	}
	return g
}

package schema

import (
	"slices"
	"strconv"

	"cuelang.org/go/cue"

	"github.com/labctl-dev/labctl/lab"
)

// unknown finds every field of v that def has no place for. CUE reports such fields too, but only where nothing else
// is wrong, and at their deepest part.
func unknown(s *Spec, def, v cue.Value, path []string) Errors {
	fields, err := v.Fields()
	if err != nil {
		return nil
	}
	var out Errors
	for fields.Next() {
		name := fields.Selector().Unquoted()
		here := append(slices.Clone(path), name)
		rule := ruleAt(def, []string{name})
		switch {
		case !rule.Exists() && !def.Allows(cue.Str(name)):
			out = append(out, Error{Path: lab.Path(here...), Message: "unknown field" + meant(name, def), Positions: s.label(here)})
		case rule.Exists():
			out = append(out, within(s, rule, fields.Value(), here)...)
		}
	}
	return out
}

// within is unknown for what a field or an element of a list holds.
func within(s *Spec, rule, v cue.Value, path []string) Errors {
	var out Errors
	kind := v.IncompleteKind()
	for _, rule := range alternatives(rule) {
		switch {
		case rule.IncompleteKind()&kind == 0:
		case kind == cue.StructKind:
			return unknown(s, rule, v, path)
		case kind == cue.ListKind:
			elements, _ := v.List()
			for i := 0; elements.Next(); i++ {
				here := append(slices.Clone(path), strconv.Itoa(i))
				out = append(out, within(s, ruleAt(rule, here[len(path):]), elements.Value(), here)...)
			}
			return out
		}
	}
	return out
}

// meant asks whether a field of def was meant by name; "" if none is near.
func meant(name string, def cue.Value) string {
	fields, err := def.Fields(cue.Optional(true))
	if err != nil {
		return ""
	}
	var known []string
	for fields.Next() {
		known = append(known, fields.Selector().Unquoted())
	}
	return lab.Meant(name, known)
}

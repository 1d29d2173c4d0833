package schema

import (
	"fmt"
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
			e := Error{Path: lab.Path(here...), Message: "unknown field", Positions: s.label(here)}
			if near := nearest(name, def); near != "" {
				e.Message = fmt.Sprintf("unknown field, did you mean %q?", near)
			}
			out = append(out, e)
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

// nearest is the field of def whose name is most like name; "" if none is.
func nearest(name string, def cue.Value) string {
	fields, err := def.Fields(cue.Optional(true))
	if err != nil {
		return ""
	}
	best, least := "", max(2, len(name)/3)+1
	for fields.Next() {
		known := fields.Selector().Unquoted()
		if d := distance(name, known); d < least && d < len(known) {
			best, least = known, d
		}
	}
	return best
}

// distance is the number of letters to insert, delete or replace between two names (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

package gcetest

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
)

// check is v in the form that the API keeps: int64 as text, what is output only left out. kind is as in api.json, field
// is where v stands in the request. A null stays: in a PATCH it empties a field.
func (a *api) check(kind any, v any, field string) (any, *apiError) {
	if v == nil {
		return nil, nil
	}
	switch k := kind.(type) {
	case []any:
		return a.checkList(k[0], v, field)
	case object:
		return a.checkObject(k, v, field)
	}
	text, _ := kind.(string)
	if ref, ok := strings.CutPrefix(text, "@"); ok {
		return a.checkObject(a.schemas[ref], v, field)
	}
	return checkScalar(text, v, field)
}

func (a *api) checkList(kind, v any, field string) (any, *apiError) {
	l, ok := v.([]any)
	if !ok {
		return nil, badType(field, "list", v)
	}
	out := make([]any, len(l))
	for i, x := range l {
		var e *apiError
		if out[i], e = a.check(kind, x, field+"["+strconv.Itoa(i)+"]"); e != nil {
			return nil, e
		}
	}
	return out, nil
}

func (a *api) checkObject(fields object, v any, field string) (any, *apiError) {
	o, ok := v.(object)
	if !ok {
		return nil, badType(field, "message", v)
	}
	out := object{}
	names := make([]string, 0, len(o))
	for name := range o {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		kind, ok := fields[name]
		if !ok {
			kind, ok = fields["*"]
		}
		if !ok {
			return nil, badRequest("Invalid JSON payload received. Unknown name %q at '%s': Cannot find field.", name, field)
		}
		if text, _ := kind.(string); strings.HasPrefix(text, "out ") {
			continue // ignored, as the real one does
		}
		x, e := a.check(kind, o[name], field+"."+name)
		if e != nil {
			return nil, e
		}
		out[name] = x
	}
	return out, nil
}

func checkScalar(kind string, v any, field string) (any, *apiError) {
	if values, ok := strings.CutPrefix(kind, "enum "); ok {
		s, _ := v.(string)
		if !slices.Contains(strings.Split(values, "|"), s) {
			return nil, invalid(field, v, "Must be one of [%s].", strings.ReplaceAll(values, "|", ", "))
		}
		return v, nil
	}
	switch kind {
	case "string", "byte", "google-datetime":
		if s, ok := v.(string); ok {
			return s, nil
		}
	case "boolean":
		if b, ok := v.(bool); ok {
			return b, nil
		}
	case "int32", "uint32", "integer":
		if f, ok := v.(float64); ok && f == math.Trunc(f) && math.Abs(f) < 1<<32 {
			return f, nil
		}
	case "int64", "uint64":
		if f, ok := v.(float64); ok && f == math.Trunc(f) {
			return strconv.FormatInt(int64(f), 10), nil
		}
		if s, ok := v.(string); ok {
			if _, err := strconv.ParseInt(s, 10, 64); err == nil {
				return s, nil
			}
		}
	default:
		return v, nil // numbers that gcetest does nothing with
	}
	return nil, badType(field, kind, v)
}

func badType(field, kind string, v any) *apiError {
	text, _ := json.Marshal(v) // it came from JSON
	return badRequest("Invalid value at '%s' (TYPE_%s), %s", field, strings.ToUpper(kind), text)
}

// Reading objects: what is absent is the zero value.

func text(o object, name string) string { s, _ := o[name].(string); return s }
func yes(o object, name string) bool    { b, _ := o[name].(bool); return b }
func list(o object, name string) []any  { l, _ := o[name].([]any); return l }
func sub(o object, name string) object  { s, _ := o[name].(object); return s }

func number(o object, name string) int {
	switch n := o[name].(type) {
	case float64:
		return int(n)
	case string:
		i, _ := strconv.Atoi(n)
		return i
	}
	return 0
}

func objects(o object, name string) []object {
	var out []object
	for _, x := range list(o, name) {
		if s, ok := x.(object); ok {
			out = append(out, s)
		}
	}
	return out
}

func texts(o object, name string) []string {
	var out []string
	for _, x := range list(o, name) {
		s, _ := x.(string)
		out = append(out, s)
	}
	return out
}

// fill sets what is absent.
func fill(o object, name string, v any) {
	if x, ok := o[name]; !ok || x == nil || x == "" {
		o[name] = v
	}
}

// clone is a deep copy without what an answer leaves out: empty lists and nulls.
func clone(v any) any {
	switch x := v.(type) {
	case object:
		out := object{}
		for name, y := range x {
			if l, ok := y.([]any); y == nil || ok && len(l) == 0 {
				continue
			}
			out[name] = clone(y)
		}
		return out
	case []any:
		out := make([]any, len(x))
		for i, y := range x {
			out[i] = clone(y)
		}
		return out
	}
	return v
}

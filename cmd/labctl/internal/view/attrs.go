package view

import (
	"encoding/json"
	"math"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

func number(n int) string { return strconv.Itoa(n) }

var (
	digest = regexp.MustCompile(`\b(sha(?:256|512):[0-9a-f]{8})[0-9a-f]{24,}`)
	bytesy = regexp.MustCompile(`(?i)(^|_|\.)(memory|size|bytes|capacity|min_disk)$|_(memory|size|bytes)(_|$)`)
)

// longest is how many characters of one string value are shown.
const longest = 160

// value is v, the value of the attribute called name, in one line.
func value(name string, v any) string {
	switch x := v.(type) {
	case nil:
		return "(none)"
	case float64:
		if x == math.Trunc(x) && math.Abs(x) < 1<<63 {
			if bytesy.MatchString(name) && x >= 0 {
				return lab.Bytes(x).String()
			}
			return strconv.FormatInt(int64(x), 10)
		}
		return strconv.FormatFloat(x, 'g', -1, 64)
	case string:
		return str(x)
	case []any:
		parts := make([]string, len(x))
		for i, e := range x {
			parts[i] = value(name, e)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case map[string]any:
		return "{" + fields(x, "") + "}"
	}
	b, err := json.Marshal(v)
	if err != nil {
		return "(unprintable)"
	}
	return string(b)
}

// str shows a string bare where that is clear, else quoted; digests and long texts are cut.
func str(s string) string {
	s = digest.ReplaceAllString(s, "$1…")
	if text := strings.Split(strings.TrimRight(s, "\n"), "\n"); len(text) > 1 {
		return strconv.Quote(shorten(text[0], longest)) + " and " + plural(len(text)-1, "more line")
	}
	short := shorten(s, longest)
	if short == "" || strings.ContainsAny(short, " \t\n\"',[]{}") || clean(short) != short || short == "(none)" {
		return strconv.Quote(short)
	}
	return short
}

// fields shows the entries of m, sorted, without the one called skip.
func fields(m map[string]any, skip string) string {
	var parts []string
	for _, k := range keys(m) {
		if k != skip {
			parts = append(parts, k+" "+value(k, m[k]))
		}
	}
	return strings.Join(parts, ", ")
}

func keys(m map[string]any) []string {
	ks := make([]string, 0, len(m))
	for k := range m {
		ks = append(ks, k)
	}
	sort.Strings(ks)
	return ks
}

// delta is one line of what differs in an attribute: an element that came, went or changed, or the whole value.
type delta struct {
	sign          string // "+", "-", "~", or "" for a plain value
	name          string // of the attribute, or of the element within it
	before, after string // one of them is empty for what came or went
}

// deltas says what differs between two values of the attribute called name.
func deltas(name string, before, after any) []delta {
	bm, isB := before.(map[string]any)
	am, isA := after.(map[string]any)
	if isB && isA || isB && after == nil || isA && before == nil {
		return mapDeltas(name, bm, am)
	}
	bl, isB := before.([]any)
	al, isA := after.([]any)
	if isB && isA || isB && after == nil || isA && before == nil {
		if key := keyOf(bl, al); key != "" {
			return elementDeltas(name, key, bl, al)
		}
		if len(bl)+len(al) > 4 {
			return setDeltas(name, bl, al)
		}
	}
	return []delta{{name: name, before: value(name, before), after: value(name, after)}}
}

// mapDeltas says what differs between two maps, entry by entry.
func mapDeltas(name string, before, after map[string]any) []delta {
	names := keys(before)
	for _, k := range keys(after) {
		if _, ok := before[k]; !ok {
			names = append(names, k)
		}
	}
	sort.Strings(names)
	var ds []delta
	for _, k := range names {
		if !reflect.DeepEqual(before[k], after[k]) {
			ds = append(ds, deltas(name+"."+k, before[k], after[k])...)
		}
	}
	return ds
}

// keyOf is the field that names the elements of two lists of maps, or "" if there is none.
func keyOf(before, after []any) string {
	for _, k := range []string{"name", "network", "path", "machine", "mac", "id", "addr", "address"} {
		if unique(before, k) && unique(after, k) {
			return k
		}
	}
	return ""
}

// unique says whether every element is a map whose string k no other element has.
func unique(list []any, k string) bool {
	seen := map[string]bool{}
	for _, e := range list {
		m, _ := e.(map[string]any)
		name, _ := m[k].(string)
		if name == "" || seen[name] {
			return false
		}
		seen[name] = true
	}
	return true
}

// elementDeltas says which elements of a list came, went and changed, by the field that names them.
func elementDeltas(name, key string, before, after []any) []delta {
	was, is := byKey(before, key), byKey(after, key)
	var ds []delta
	var orderB, orderA []string
	for _, e := range before {
		m := e.(map[string]any)
		id := m[key].(string)
		if now, ok := is[id]; !ok {
			ds = append(ds, delta{sign: "-", name: name + " " + str(id), before: fields(m, key)})
		} else {
			orderB = append(orderB, id)
			for _, d := range mapDeltas("", m, now) {
				d.sign, d.name = "~", name+" "+str(id)+" "+strings.TrimPrefix(d.name, ".")
				ds = append(ds, d)
			}
		}
	}
	for _, e := range after {
		m := e.(map[string]any)
		id := m[key].(string)
		if _, ok := was[id]; !ok {
			ds = append(ds, delta{sign: "+", name: name + " " + str(id), after: fields(m, key)})
		} else {
			orderA = append(orderA, id)
		}
	}
	if !slices.Equal(orderB, orderA) {
		ds = append(ds, delta{sign: "~", name: name + " order", before: strings.Join(orderB, ", "), after: strings.Join(orderA, ", ")})
	}
	return ds
}

func byKey(list []any, key string) map[string]map[string]any {
	all := map[string]map[string]any{}
	for _, e := range list {
		m := e.(map[string]any)
		all[m[key].(string)] = m
	}
	return all
}

// setDeltas says which elements of a longer list came and went.
func setDeltas(name string, before, after []any) []delta {
	left := map[string]int{}
	for _, e := range after {
		left[value(name, e)]++
	}
	var gone, come []delta
	for _, e := range before {
		v := value(name, e)
		if left[v]--; left[v] < 0 {
			gone = append(gone, delta{sign: "-", name: name, before: v})
		}
	}
	for _, e := range after {
		v := value(name, e)
		if left[v] > 0 {
			left[v]--
			come = append(come, delta{sign: "+", name: name, after: v})
		}
	}
	if len(gone)+len(come) == 0 {
		return []delta{{name: name, before: value(name, before), after: value(name, after)}}
	}
	return append(gone, come...)
}

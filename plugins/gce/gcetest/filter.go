package gcetest

import (
	"fmt"
	"regexp"
	"strings"
)

var (
	term  = regexp.MustCompile(`^\s*([A-Za-z][\w.-]*)\s*(?:(!=|=|:|<=|>=|<|>)\s*|\s(eq|ne)\s+)("(?:[^"]*)"|'(?:[^']*)'|[^\s()]+)\s*$`)
	group = regexp.MustCompile(`\(([^()]*)\)`)
)

// parseFilter understands what labs need of the two languages of list filters: one or more comparisons, all of which
// hold. "=", "!=" and ":" compare; eq and ne match a regular expression with the whole value, one field per filter. The
// two cannot be mixed.
func parseFilter(text string) (func(object) bool, *apiError) {
	if strings.TrimSpace(text) == "" {
		return func(object) bool { return true }, nil
	}
	var words []string
	rest := text
	if strings.Contains(text, "(") {
		for _, m := range group.FindAllStringSubmatch(text, -1) {
			words = append(words, m[1])
		}
		rest = group.ReplaceAllString(text, "")
		if strings.TrimSpace(strings.ReplaceAll(rest, "AND", "")) != "" {
			return nil, badFilter(text)
		}
	} else {
		words = strings.Split(text, " AND ")
	}
	var tests []func(object) bool
	var regexps, others bool
	for _, word := range words {
		m := term.FindStringSubmatch(word)
		if m == nil {
			return nil, badFilter(text)
		}
		op := m[2] + m[3]
		regexps, others = regexps || m[3] != "", others || m[2] != ""
		test, err := compare(m[1], op, strings.Trim(m[4], `"'`))
		if err != nil {
			return nil, badFilter(text)
		}
		tests = append(tests, test)
	}
	if regexps && others {
		return nil, badFilter(text)
	}
	return func(o object) bool {
		for _, test := range tests {
			if !test(o) {
				return false
			}
		}
		return true
	}, nil
}

func badFilter(text string) *apiError {
	return invalid("filter", text, "Invalid list filter expression.")
}

func compare(path, op, want string) (func(object) bool, error) {
	switch op {
	case "=":
		return func(o object) bool { v, ok := value(o, path); return ok && v == want }, nil
	case "!=":
		return func(o object) bool { v, ok := value(o, path); return !ok || v != want }, nil
	case ":":
		return func(o object) bool {
			v, ok := value(o, path)
			return ok && (want == "*" || strings.Contains(v, want))
		}, nil
	case "eq", "ne":
		re, err := regexp.Compile("^(?:" + want + ")$")
		if err != nil {
			return nil, err
		}
		return func(o object) bool {
			v, ok := value(o, path)
			return (ok && re.MatchString(v)) == (op == "eq")
		}, nil
	}
	return nil, fmt.Errorf("%s compares numbers, of which labs have none", op)
}

// value is the field at path: "labels.labctl-lab".
func value(o object, path string) (string, bool) {
	head, rest, more := strings.Cut(path, ".")
	v, ok := o[head]
	if s, is := v.(object); more && is {
		return value(s, rest)
	}
	if !ok || more {
		return "", false
	}
	return fmt.Sprint(v), true
}

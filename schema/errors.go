package schema

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Position is a place in a file. Lines and columns count from 1; columns count bytes.
type Position struct {
	File   string `json:"file"` // as the user would type it
	Line   int    `json:"line"`
	Column int    `json:"column"`
}

func (p Position) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column) }

func (p Position) compare(q Position) int {
	return cmp.Or(strings.Compare(p.File, q.File), p.Line-q.Line, p.Column-q.Column)
}

// Error is one thing that is wrong with a spec.
type Error struct {
	Message   string     `json:"message"`
	Path      string     `json:"path,omitempty"`      // "servers.web.memory"; "" when it is about a file
	Positions []Position `json:"positions,omitempty"` // in the user's files, the offending value's first
	Rules     []Position `json:"rules,omitempty"`     // in the definition that was broken, as Definition prints it
}

// Error prints on one line: file:line:column: path: message (rule at schema.cue:line:column).
func (e Error) Error() string {
	var b strings.Builder
	if len(e.Positions) > 0 {
		b.WriteString(e.Positions[0].String() + ": ")
	}
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Message)
	var more []string
	if len(e.Positions) > 1 {
		more = append(more, "also "+join(e.Positions[1:]))
	}
	if len(e.Rules) > 0 {
		more = append(more, "rule at "+join(e.Rules))
	}
	if len(more) > 0 {
		b.WriteString(" (" + strings.Join(more, "; ") + ")")
	}
	return strings.ReplaceAll(b.String(), "\n", " ")
}

func join(ps []Position) string {
	words := make([]string, len(ps))
	for i, p := range ps {
		words[i] = p.String()
	}
	return strings.Join(words, ", ")
}

// Errors is everything that is wrong with a spec, sorted by position, nothing twice.
type Errors []Error

// Error prints one line each.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// sorted is es in order of position without doubles, as an error; nil if it is empty.
func (es Errors) sorted() error {
	if len(es) == 0 {
		return nil
	}
	es = slices.Clone(es)
	slices.SortStableFunc(es, func(a, b Error) int {
		return cmp.Or(first(a).compare(first(b)), strings.Compare(a.Path, b.Path), strings.Compare(a.Message, b.Message))
	})
	return slices.CompactFunc(es, func(a, b Error) bool { return a.Error() == b.Error() })
}

func first(e Error) Position {
	if len(e.Positions) == 0 {
		return Position{}
	}
	return e.Positions[0]
}

package schema

import (
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"

	"github.com/labctl-dev/labctl/lab"
)

// Pos is where the user's files say what is at path, e.g. "servers.web.nics.office.ip"; for what the user left to a
// default, where its nearest parent stands, and for what a role made, where the machine has that role. The main place is
// first; nil if no parent stands in a file.
func (s *Spec) Pos(path string) []Position {
	names := splitPath(path)
	for n := len(names); n > 0; n-- {
		if ps := s.places(names[:n]); len(ps) > 0 {
			return ps
		}
		if role, ok := s.given[lab.Path(names[:n]...)]; ok {
			return s.places(role)
		}
	}
	return nil
}

// Locate gives the Errors in err that have a path but no positions their places in the user's files, and returns
// them sorted. Any other error is returned as it is.
func (s *Spec) Locate(err error) error {
	var es Errors
	if !errors.As(err, &es) {
		return err
	}
	es = slices.Clone(es)
	for i := range es {
		if len(es[i].Positions) == 0 {
			es[i].Positions = firstOf(s.Pos(es[i].Path))
		}
		if len(es[i].Positions) == 0 {
			es[i].Positions = s.Start()
		}
	}
	return es.sorted()
}

func firstOf(ps []Position) []Position { return ps[:min(len(ps), 1)] }

// Start is the beginning of the lab's first file: the place of what is missing there.
func (s *Spec) Start() []Position {
	if s.files.first == "" {
		return nil
	}
	return []Position{{File: s.files.name(s.files.first), Line: 1, Column: 1}}
}

// places are the positions of the user's own value at names.
func (s *Spec) places(names []string) []Position {
	v := lookup(s.user, names)
	if !v.Exists() {
		return nil
	}
	var ps []Position
	add := func(p token.Pos) {
		if q, ok := s.files.position(p); ok && !slices.Contains(ps, q) {
			ps = append(ps, q)
		}
	}
	add(v.Pos())
	if op, parts := v.Expr(); op == cue.AndOp {
		for _, p := range parts {
			add(p.Pos())
		}
	}
	if len(ps) == 0 { // a struct that a function of CUE's gave back, such as list.Concat: where its first field is
		fields, _ := v.Fields()
		for fields != nil && fields.Next() {
			add(fields.Value().Pos())
		}
		slices.SortFunc(ps, Position.compare)
		return firstOf(ps)
	}
	return ps
}

// label is where the field at names is named, rather than where its value stands.
func (s *Spec) label(names []string) []Position {
	v := lookup(s.user, names)
	if f, ok := v.Source().(*ast.Field); ok {
		if p, ok := s.files.position(f.Label.Pos()); ok {
			return []Position{p}
		}
	}
	return firstOf(s.places(names))
}

// lookup is the value at names below v. A name that is a number is an index where v has no field of that name.
func lookup(v cue.Value, names []string) cue.Value {
	for _, n := range names {
		next := v.LookupPath(cue.MakePath(cue.Str(n)))
		if i, err := strconv.Atoi(n); err == nil && i >= 0 && !next.Exists() {
			if e := v.LookupPath(cue.MakePath(cue.Index(i))); e.Exists() {
				next = e
			}
		}
		v = next
	}
	return v
}

// files turns CUE's positions, whose files are absolute, into those the user would type.
type files struct {
	dir      string // absolute
	absolute bool   // the user named files by absolute path
	first    string // the first file of the lab
}

// position is p for the user; false for one in the definition or in no file.
func (f files) position(p token.Pos) (Position, bool) {
	if !p.IsValid() || !filepath.IsAbs(p.Filename()) {
		return Position{}, false
	}
	return Position{File: f.name(p.Filename()), Line: p.Line(), Column: p.Column()}, true
}

func (f files) name(file string) string {
	rel, err := filepath.Rel(f.dir, file)
	if err != nil || f.absolute && strings.HasPrefix(rel, "..") {
		return file
	}
	return rel
}

package schema

import (
	"embed"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/errors"

	"github.com/labctl-dev/labctl/lab"
)

//go:embed roles/*.cue
var roleSources embed.FS

// roles are all roles that a lab may use: labctl's own, and the lab's.
type roles struct {
	lab, ours cue.Value // a struct of them by name; the lab's need not exist
	rule      cue.Value // #Role
}

// roleDoc is a role as CUE exports it once the lab and the machine are filled in.
type roleDoc struct {
	Summary string                     `json:"summary"`
	Needs   []string                   `json:"needs"`
	Ports   map[string]names           `json:"ports"`
	Implied []string                   `json:"implied"`
	Memory  string                     `json:"memory"`
	Disk    string                     `json:"disk"`
	Arches  []lab.Arch                 `json:"arches"`
	Checks  map[string]json.RawMessage `json:"checks"`
	Secrets map[string]secretDoc       `json:"secrets"`
	partsDoc
}

// partsDoc is what a role gives a machine.
type partsDoc struct {
	Packages []string           `json:"packages"`
	Files    map[string]fileDoc `json:"files"`
	Units    map[string]unitDoc `json:"units"`
	Commands ordered            `json:"commands"`
}

// theRoles compiles labctl's own roles and finds the lab's. def is the definition of a lab, user the lab.
func theRoles(ctx *cue.Context, def, user cue.Value) (roles, error) {
	inst := build.NewContext().NewInstance("roles", nil)
	names, err := roleSources.ReadDir("roles")
	if err != nil {
		return roles{}, fmt.Errorf("cannot read the embedded roles: %w", err)
	}
	for _, n := range names {
		file := path.Join("roles", n.Name())
		text, err := roleSources.ReadFile(file)
		if err == nil {
			err = inst.AddFile(file, text)
		}
		if err != nil {
			return roles{}, fmt.Errorf("cannot read the embedded %s: %w", file, err)
		}
	}
	if err := inst.Complete(); err != nil {
		return roles{}, fmt.Errorf("cannot read the embedded roles: %w", err)
	}
	at := cue.ParsePath("#Roles")
	library := ctx.BuildInstance(inst, cue.Scope(def))
	out := roles{rule: def.LookupPath(cue.ParsePath("#Role")), lab: user.LookupPath(at), ours: library.LookupPath(at)}
	if !out.ours.Exists() { // other errors are none: without a lab a role may be wrong, as where it speaks of the first machine of all
		return roles{}, fmt.Errorf("cannot read the embedded roles: %s", errors.Details(library.Err(), nil))
	}
	return out, nil
}

// names are those of all roles, sorted.
func (r roles) names() []string {
	var out []string
	for _, v := range []cue.Value{r.lab, r.ours} {
		fields, err := v.Fields()
		for err == nil && fields.Next() {
			out = append(out, fields.Selector().Unquoted())
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// find is the role called name, and where it stands: the lab's own is in one of its own files.
func (r roles) find(name string) (v cue.Value, own bool) {
	at := cue.MakePath(cue.Str(name))
	if v = r.lab.LookupPath(at); v.Exists() {
		return v.Unify(r.rule), true
	}
	return r.ours.LookupPath(at), false
}

// wants is what a machine says about a role that it has.
type wants struct {
	machine lab.Machine
	name    string
	path    []string // "servers", "web", "roles", "ntp"
	rule    cue.Value
	own     bool // rule is the lab's
	config  cue.Value
}

// equip gives the machines of l what their roles make of them. all is the user's lab with the definition def.
func (s *Spec) equip(ctx *cue.Context, def, all cue.Value, d *decoder, l *lab.Lab) error {
	if !slices.ContainsFunc(l.Machines, func(m lab.Machine) bool {
		fields, err := lookup(all, append(splitPath(m.Path()), "roles")).Fields()
		return err == nil && fields.Next()
	}) {
		return nil
	}
	known, err := theRoles(ctx, def, s.user)
	if err != nil {
		return err
	}
	wanted, es := s.wanted(all, known, *l)
	if len(es) > 0 {
		return s.Locate(es)
	}
	arranged := lab.Arrange(*l)
	configs, es := s.configure(wanted, newFacts(ctx, arranged, nil))
	if len(es) > 0 {
		return s.Locate(es)
	}
	made, es := s.all(wanted, newFacts(ctx, arranged, configs))
	if len(es) > 0 {
		return s.Locate(es)
	}
	d.equip(l, made)
	return nil
}

// all works out all roles of all machines: those that a machine has, and what others' roles give it.
func (s *Spec) all(wanted []wants, f facts) ([]held, Errors) {
	var out []held
	var es Errors
	done := map[string]bool{}
	for _, w := range wanted {
		doc, more := s.make(w, f)
		es = append(es, more...)
		out = append(out, held{wants: w, doc: doc})
		if done[w.name] || !w.gives() {
			continue
		}
		done[w.name] = true
		for _, name := range f.inside {
			if slices.ContainsFunc(wanted, func(o wants) bool { return o.name == w.name && o.machine.Name == name }) {
				continue
			}
			parts, more := s.makeOther(w, f, name)
			es = append(es, more...)
			other := w
			other.machine.Name = name
			out = append(out, held{wants: other, doc: roleDoc{partsDoc: parts}, other: true})
		}
	}
	return out, es
}

// gives says whether the role may have anything for machines that have not got it: whether it says a word about others.
// What comes of it is known only once the lab and each of them are filled in.
func (w wants) gives() bool {
	rule, _ := w.rule.LookupPath(cue.ParsePath("others")).ReferencePath() // #Parts and nothing else
	return !rule.Exists()
}

// wanted are the roles that machines have, in the order of the lab's machines and by name. all is the user's lab with the
// definition.
func (s *Spec) wanted(all cue.Value, r roles, l lab.Lab) ([]wants, Errors) {
	var out []wants
	var es Errors
	for _, m := range l.Machines {
		at := append(splitPath(m.Path()), "roles")
		fields, err := lookup(all, at).Fields()
		for err == nil && fields.Next() {
			w := wants{machine: m, name: fields.Selector().Unquoted(), config: fields.Value()}
			w.path = append(slices.Clone(at), w.name)
			if w.rule, w.own = r.find(w.name); !w.rule.Exists() {
				es = append(es, Error{Path: lab.Path(w.path...), Message: "there is no such role" + lab.Meant(w.name, r.names()), Positions: s.label(w.path)})
				continue
			}
			out = append(out, w)
		}
	}
	slices.SortStableFunc(out, func(a, b wants) int {
		if a.machine.Name != b.machine.Name {
			return strings.Compare(a.machine.Name, b.machine.Name)
		}
		return strings.Compare(a.name, b.name)
	})
	return out, es
}

// configure checks what machines say about their roles and returns it with defaults filled in, by machine and role.
func (s *Spec) configure(all []wants, f facts) (map[string]map[string]json.RawMessage, Errors) {
	configs := map[string]map[string]json.RawMessage{}
	var es Errors
	for i, w := range all {
		w.rule = f.fill(w.rule, "machine", w.machine.Name)
		x := explainer{spec: s, rules: w.rule, name: "config", above: []string{"#Roles", w.name}, under: w.path}
		if !w.own {
			x.file = w.rule.Pos().Filename()
		}
		if x.def().IncompleteKind() == cue.TopKind { // the role has no config at all
			x.rules = x.rules.FillPath(cue.ParsePath(x.name), w.rule.Context().CompileString("close({})"))
		}
		v := x.def().Unify(w.config)
		if err := v.Validate(cue.Concrete(true)); err != nil {
			if v = x.def().Unify(settle(w.config)); v.Validate(cue.Concrete(true)) != nil {
				es = append(es, x.all(err, w.config)...)
				continue
			}
		}
		text, err := v.MarshalJSON()
		if err != nil {
			es = append(es, x.explain(err)...)
			continue
		}
		if configs[w.machine.Name] == nil {
			configs[w.machine.Name] = map[string]json.RawMessage{}
		}
		configs[w.machine.Name][w.name] = text
		all[i].config = v
	}
	return configs, es
}

// The fields of #Role that become a machine's.
var (
	given = []string{"packages", "files", "units", "commands"}
	parts = append([]string{"summary", "needs", "ports", "implied", "memory", "disk", "arches", "checks", "secrets"}, given...)
)

// make works out what a role makes of its machine.
func (s *Spec) make(w wants, f facts) (roleDoc, Errors) {
	var doc roleDoc
	es := s.read(w, f.fill(w.rule, "machine", w.machine.Name).FillPath(cue.ParsePath("config"), w.config), parts, &doc)
	return doc, es
}

// makeOther works out what a role gives a machine that has not got it.
func (s *Spec) makeOther(w wants, f facts, machine string) (partsDoc, Errors) {
	var doc partsDoc
	es := s.read(w, f.fill(w.rule, "other", machine).LookupPath(cue.ParsePath("others")), given, &doc)
	return doc, es
}

// read exports the fields of v that fields names.
func (s *Spec) read(w wants, v cue.Value, fields []string, into any) Errors {
	out := map[string]json.RawMessage{}
	for _, name := range fields {
		part := v.LookupPath(cue.MakePath(cue.Str(name)))
		if !part.Exists() {
			continue
		}
		text, err := part.MarshalJSON()
		if err != nil {
			return s.roleErrors(w, err)
		}
		out[name] = text
	}
	text, err := json.Marshal(out)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		return Errors{{Path: lab.Path(w.path...), Message: "cannot read it as CUE exports it: " + err.Error()}}
	}
	return nil
}

// roleErrors says what is wrong with a role when it is made: in the lab's files where the role or what it is given
// stands there, else where the machine has it.
func (s *Spec) roleErrors(w wants, err error) Errors {
	var out Errors
	for _, e := range errors.Errors(err) {
		one := Error{Path: lab.Path(w.path...), Message: message(e)}
		if at := unquote(e.Path()); len(at) > 2 { // below #Roles.NAME
			one.Message = lab.Path(at[2:]...) + ": " + one.Message
		}
		for _, p := range errors.Positions(e) {
			q, ok := s.files.position(p)
			switch {
			case ok && !slices.Contains(one.Positions, q):
				one.Positions = append(one.Positions, q)
			case !ok && p.IsValid() && p.Filename() != ruleFile && p.Filename() != "":
				one.Rules = append(one.Rules, Position{File: p.Filename(), Line: p.Line(), Column: p.Column()})
			}
		}
		if len(one.Positions) == 0 {
			one.Positions = firstOf(s.Pos(one.Path))
		}
		out = append(out, one)
	}
	return out
}

package schema

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"cuelang.org/go/cue"

	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/lab"
)

// wants is what a machine says about a role that it has.
type wants struct {
	machine string
	name    string
	path    []string // "servers", "web", "roles", "ntp"
	rule    cue.Value
	own     bool // rule is the lab's
	config  cue.Value
	ports   []lab.Port
	implied []string // what of lab.Implied it gives: "dns", "ntp", "jump"
	install bool     // it installs machines from the network
}

// equip gives the machines of l what their roles make of them, and l who may do what, which may name ports of roles and
// which roles may ask about. all is the user's lab with the definition def.
//
// It goes in steps, each of which needs the one before: what machines say about their roles; where these listen; the
// policy; everything else.
func (s *Spec) equip(def, all cue.Value, d *decoder, l *lab.Lab, doc document) error {
	wanted := s.wanted(all, *l)
	if len(wanted) == 0 {
		d.judge(l, doc)
		return nil
	}
	arranged := lab.Arrange(*l)
	f, err := s.tell(def, wanted, arranged, told{})
	if err != nil {
		return err
	}
	configs, es := s.configure(wanted, f)
	if len(es) > 0 {
		return s.Locate(es)
	}
	if f, err = s.tell(def, wanted, arranged, told{configs: configs}); err != nil {
		return err
	}
	if es := s.listen(wanted, f, d); len(es) > 0 {
		return s.Locate(es)
	}
	if d.judge(l, doc); len(d.problems) > 0 {
		return s.Locate(d.problems)
	}
	imply(l, wanted)
	arranged.Policy, arranged.Implied = l.Policy, l.Implied
	for _, w := range wanted { // enough of them to know who installs whom
		for i := range arranged.Machines {
			if m := &arranged.Machines[i]; m.Name == w.machine && w.install {
				m.Roles = append(m.Roles, lab.Role{Name: w.name, Installs: true})
			}
		}
	}
	if f, err = s.tell(def, wanted, arranged, told{configs, clients(wanted, arranged)}); err != nil {
		return err
	}
	made, es := s.all(wanted, f)
	if len(es) > 0 {
		return s.Locate(es)
	}
	d.equip(l, made)
	return nil
}

// wanted are the roles that machines have, sorted by machine and role. all is the user's lab with the definition.
func (s *Spec) wanted(all cue.Value, l lab.Lab) []wants {
	var out []wants
	for i := range l.Machines {
		m := &l.Machines[i]
		at := append(splitPath(m.Path()), "roles")
		fields, err := lookup(all, at).Fields()
		for err == nil && fields.Next() {
			name := fields.Selector().Unquoted()
			out = append(out, wants{machine: m.Name, name: name, config: fields.Value(), path: append(slices.Clone(at), name)})
		}
	}
	slices.SortStableFunc(out, func(a, b wants) int {
		return cmp.Or(strings.Compare(a.machine, b.machine), strings.Compare(a.name, b.name))
	})
	return out
}

// tell works out the facts of a lab and the roles that know them. The facts take the place of #LabFacts, which all roles
// refer to, so that they are there once: told to each role of each machine they would be looked through every time.
func (s *Spec) tell(def cue.Value, wanted []wants, l lab.Lab, t told) (facts, error) {
	ctx := def.Context()
	f := newFacts(ctx, l, t)
	def = def.FillPath(cue.ParsePath("#LabFacts"), f.lab)
	var names []string
	for _, w := range wanted {
		if !slices.Contains(names, w.name) {
			names = append(names, w.name)
		}
	}
	known, err := theRoles(ctx, def, ctx.BuildInstance(s.inst, cue.Scope(def)), names)
	if err != nil {
		return f, err
	}
	if es := s.find(wanted, known); len(es) > 0 {
		return f, s.Locate(es)
	}
	return f, nil
}

// find looks up the roles.
func (s *Spec) find(all []wants, known roles) Errors {
	var es Errors
	found := map[string]wants{}
	for i := range all {
		w := &all[i]
		one, seen := found[w.name]
		if !seen {
			one.rule, one.own = known.find(w.name)
			found[w.name] = one
		}
		if w.rule, w.own = one.rule, one.own; !w.rule.Exists() {
			es = append(es, Error{Path: lab.Path(w.path...), Message: "there is no such role" + lab.Meant(w.name, known.names()), Positions: s.label(w.path)})
		}
	}
	return es
}

// configure checks what machines say about their roles and returns it with defaults filled in, by machine and role.
func (s *Spec) configure(all []wants, f facts) (map[string]map[string]json.RawMessage, Errors) {
	configs := map[string]map[string]json.RawMessage{}
	var es Errors
	for i, w := range all {
		w.rule = f.fill(w, "machine", w.machine)
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
		if configs[w.machine] == nil {
			configs[w.machine] = map[string]json.RawMessage{}
		}
		configs[w.machine][w.name] = text
		all[i].config = v
	}
	return configs, es
}

// listen works out where roles listen.
func (s *Spec) listen(all []wants, f facts, d *decoder) Errors {
	var es Errors
	for i := range all {
		var doc struct {
			Ports    map[string]names `json:"ports"`
			Implied  []string         `json:"implied"`
			Installs bool             `json:"installs"`
		}
		more := s.read(all[i], f.made(all[i]), []string{"ports", "implied", "installs"}, &doc)
		if es = append(es, more...); len(more) == 0 {
			all[i].ports, all[i].implied, all[i].install = d.ports(lab.Path(all[i].path...), doc.Ports), doc.Implied, doc.Installs
		}
	}
	return es
}

// imply names the machines whose roles give what every machine of the lab needs, where the lab itself names none.
func imply(l *lab.Lab, all []wants) {
	by := map[string][]string{} // machines in the lab's order
	for _, w := range all {
		for _, what := range w.implied {
			if !slices.Contains(by[what], w.machine) {
				by[what] = append(by[what], w.machine)
			}
		}
	}
	if len(by) == 0 {
		return
	}
	var implied lab.Implied
	if l.Implied != nil {
		implied = *l.Implied
	}
	if len(implied.DNS) == 0 {
		implied.DNS = by["dns"]
	}
	if len(implied.NTP) == 0 {
		implied.NTP = by["ntp"]
	}
	if len(implied.Jump) == 0 {
		implied.Jump = by["jump"]
	}
	l.Implied = &implied
}

// clients are who may open the ports of roles, and where, by machine and port. A policy that cannot be read lets nobody in
// here: check.Vet says what is wrong with it.
func clients(all []wants, l lab.Lab) map[string]map[string]access {
	out := map[string]map[string]access{}
	k, err := nft.NewClients(l)
	for _, w := range all {
		for _, p := range w.ports {
			a := access{from: []string{}, at: []string{}}
			if err == nil {
				from, at := k.Of(w.machine, p.Services)
				for _, x := range from {
					a.from = append(a.from, x.String())
				}
				for _, x := range at {
					a.at = append(a.at, x.String())
				}
			}
			if out[w.machine] == nil {
				out[w.machine] = map[string]access{}
			}
			out[w.machine][p.Name] = a
		}
	}
	return out
}

// access is who may open a port, and the machine's addresses at which they arrive.
type access struct{ from, at []string }

// all works out all roles of all machines: those that a machine has, and what others' roles give it.
func (s *Spec) all(wanted []wants, f facts) ([]held, Errors) {
	var out []held
	var es Errors
	has := map[string]map[string]bool{} // the machines, by role
	for _, w := range wanted {
		if has[w.name] == nil {
			has[w.name] = map[string]bool{}
		}
		has[w.name][w.machine] = true
	}
	done := map[string]bool{}
	for _, w := range wanted {
		var doc roleDoc
		es = append(es, s.read(w, f.made(w), parts, &doc)...)
		out = append(out, held{wants: w, doc: doc})
		if done[w.name] || !w.gives() {
			continue
		}
		done[w.name] = true
		for _, name := range f.inside {
			if has[w.name][name] {
				continue
			}
			var doc partsDoc
			es = append(es, s.read(w, f.fill(w, "other", name).LookupPath(cue.ParsePath("others")), given, &doc)...)
			other := w
			other.machine = name
			out = append(out, held{wants: other, doc: roleDoc{partsDoc: doc}, other: true})
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

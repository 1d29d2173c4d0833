package schema

import (
	"encoding/json"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/format"
)

// RoleInfo is what a role says of itself before a machine has it. What follows from the lab or from the machine is not
// known then: it is text of CUE, or left out.
type RoleInfo struct {
	Name      string      `json:"name"`
	Summary   string      `json:"summary,omitempty"`
	Own       bool        `json:"own"`                // the lab's, not labctl's
	Where     []Position  `json:"where,omitempty"`    // of the lab's own
	Machines  []string    `json:"machines,omitempty"` // of the lab that have it, sorted
	Config    []RoleField `json:"config,omitempty"`
	Source    string      `json:"source,omitempty"` // config as it is written, comments and all
	Uses      []RoleFact  `json:"uses,omitempty"`   // definitions beside the role that Source names, as they are written
	Ports     []RoleFact  `json:"ports,omitempty"`
	Needs     []string    `json:"needs,omitempty"`
	Waits     []RoleFact  `json:"waits,omitempty"`
	Ready     []RoleFact  `json:"ready,omitempty"`
	Memory    string      `json:"memory,omitempty"`
	Disk      string      `json:"disk,omitempty"`
	Arches    []string    `json:"arches,omitempty"`
	Providers []string    `json:"providers,omitempty"` // that can make its machine; empty for all
	Why       string      `json:"why,omitempty"`       // others cannot
	Packages  []string    `json:"packages,omitempty"`
	Data      []RoleFact  `json:"data,omitempty"` // precious folders, with the size of their disks
	Secrets   []RoleFact  `json:"secrets,omitempty"`
	Checks    []RoleFact  `json:"checks,omitempty"`
	Others    bool        `json:"others,omitempty"` // it has something for machines that have not got it
}

// RoleField is a field of a role's config.
type RoleField struct {
	Name    string `json:"name"`
	Doc     string `json:"doc,omitempty"`
	Type    string `json:"type"`              // as CUE
	Default any    `json:"default,omitempty"` // absent where there is none, or it follows from the lab
	Needed  bool   `json:"needed,omitempty"`  // a machine must say it
}

// RoleFact is a part of a role, by its name.
type RoleFact struct {
	Name string `json:"name"`
	Is   string `json:"is,omitempty"`
}

// Roles are all roles that a lab may use, labctl's own and those of the lab that o names, sorted by name; without
// arguments labctl's own. The lab itself may be wrong or half written.
func Roles(o Options) ([]RoleInfo, error) {
	ctx, def, err := compiled()
	if err != nil {
		return nil, err
	}
	s := &Spec{user: ctx.CompileString("{}")}
	if len(o.Args) > 0 {
		inst, read, err := read(o)
		if err != nil {
			return nil, err
		}
		s = read
		s.user = ctx.BuildInstance(inst, cue.Scope(def))
		if err := s.user.Err(); err != nil && !s.user.Exists() {
			return nil, explainer{spec: s, rules: def, name: "#Lab", file: ruleFile}.explain(err).sorted()
		}
	}
	known, err := theRoles(ctx, def, s.user, nil)
	if err != nil {
		return nil, err
	}
	having := s.having()
	out := []RoleInfo{}
	for _, name := range known.names() {
		v, own := known.find(name)
		one := about(name, v)
		root := known.library
		if own {
			root = s.user
		}
		one.Uses = uses(root, v.LookupPath(cue.ParsePath("config")), nil)
		if one.Own, one.Machines = own, having[name]; own {
			at := cue.MakePath(cue.Def("#Roles"), cue.Str(name))
			if p, ok := s.files.position(s.user.LookupPath(at).Pos()); ok {
				one.Where = []Position{p}
			}
		}
		out = append(out, one)
	}
	return out, nil
}

// uses are the definitions beside a role that the expression of v names, and those that these name; without known ones.
func uses(root, v cue.Value, known []RoleFact) []RoleFact {
	node := nodeOf(v)
	if node == nil {
		return known
	}
	ast.Walk(node, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		if !ok || !strings.HasPrefix(id.Name, "#") || slices.ContainsFunc(known, func(f RoleFact) bool { return f.Name == id.Name }) {
			return true
		}
		if d := root.LookupPath(cue.MakePath(cue.Def(id.Name))); d.Exists() {
			known = uses(root, d, append(known, RoleFact{id.Name, sourceOf(d)}))
		}
		return true
	}, nil)
	return known
}

// having are the machines that have roles, by role, as far as the lab can be read.
func (s *Spec) having() map[string][]string {
	out := map[string][]string{}
	for _, kind := range []string{"servers", "routers"} {
		machines, err := s.user.LookupPath(cue.ParsePath(kind)).Fields()
		for err == nil && machines.Next() {
			roles, err := machines.Value().LookupPath(cue.ParsePath("roles")).Fields()
			for err == nil && roles.Next() {
				name := roles.Selector().Unquoted()
				out[name] = append(out[name], machines.Selector().Unquoted())
			}
		}
	}
	for _, names := range out {
		slices.Sort(names)
	}
	return out
}

func about(name string, v cue.Value) RoleInfo {
	out := RoleInfo{Name: name, Others: wants{rule: v}.gives()}
	for field, into := range map[string]any{"summary": &out.Summary, "needs": &out.Needs, "memory": &out.Memory, "disk": &out.Disk,
		"arches": &out.Arches, "providers": &out.Providers, "why": &out.Why, "packages": &out.Packages} {
		if text, err := v.LookupPath(cue.ParsePath(field)).MarshalJSON(); err == nil {
			_ = json.Unmarshal(text, into) // it is of the definition's type, or is left out
		}
	}
	config := v.LookupPath(cue.ParsePath("config"))
	out.Source = sourceOf(config)
	fields, err := config.Fields(cue.Optional(true))
	for err == nil && fields.Next() {
		out.Config = append(out.Config, configField(fields))
	}
	for field, into := range map[string]*[]RoleFact{"ports": &out.Ports, "waits": &out.Waits, "ready": &out.Ready, "data": &out.Data,
		"secrets": &out.Secrets, "checks": &out.Checks} {
		parts, err := v.LookupPath(cue.ParsePath(field)).Fields()
		for err == nil && parts.Next() {
			*into = append(*into, RoleFact{parts.Selector().Unquoted(), says(parts.Value())})
		}
	}
	return out
}

func configField(f *cue.Iterator) RoleField {
	v := f.Value()
	out := RoleField{Name: f.Selector().Unquoted(), Type: strings.TrimSpace(valueOf(v)), Needed: f.Selector().ConstraintType() == cue.RequiredConstraint}
	var doc []string
	for _, d := range v.Doc() {
		doc = append(doc, strings.Join(strings.Fields(d.Text()), " "))
	}
	out.Doc = strings.Join(doc, " ")
	if d, ok := v.Default(); ok || v.IsConcrete() {
		if text, err := d.MarshalJSON(); err == nil {
			_ = json.Unmarshal(text, &out.Default) // what was marshalled just now
		}
	}
	simple := v.IncompleteKind() != cue.BottomKind && v.IncompleteKind()&(cue.StructKind|cue.ListKind) == 0
	if op, _ := v.Expr(); out.Default == nil && op == cue.NoOp && simple && f.Selector().ConstraintType() == 0 {
		out.Needed = true // a type and nothing else
	}
	return out
}

// says is what a part of a role is, in a few words: the one thing about it that matters.
func says(v cue.Value) string {
	if text, err := v.MarshalJSON(); err == nil {
		var one any
		if json.Unmarshal(text, &one) == nil {
			switch is := one.(type) {
			case string:
				return is
			case []any:
				var all []string
				for _, x := range is {
					if s, ok := x.(string); ok {
						all = append(all, s)
					}
				}
				return strings.Join(all, ", ")
			}
		}
	}
	for _, field := range []string{"tcp", "http", "dns", "command", "port", "size", "generate", "env", "file", "certificate", "authority"} {
		part := v.LookupPath(cue.ParsePath(field))
		if !part.Exists() {
			continue
		}
		if on := v.LookupPath(cue.ParsePath("machine")); field == "port" && on.Exists() {
			return sourceText(part) + " of " + sourceText(on)
		}
		if s, err := part.String(); err == nil && field == "size" {
			return s
		}
		for _, inner := range []string{"url", "name", "run", "port"} {
			if x := part.LookupPath(cue.ParsePath(inner)); x.Exists() {
				part = x
			}
		}
		if part.IncompleteKind() == cue.StructKind {
			return field
		}
		return field + " " + sourceText(part)
	}
	return sourceText(v)
}

// sourceText is a value where it is known, else its expression, on one line.
func sourceText(v cue.Value) string {
	text, err := v.String()
	if err != nil {
		text = valueOf(v)
		if known, err := v.MarshalJSON(); err == nil {
			text = string(known)
		}
	}
	return strings.Join(strings.Fields(text), " ")
}

// sourceOf is the fields of a struct as they are written in a role, "" if it says nothing.
func sourceOf(v cue.Value) string {
	text := strings.TrimSpace(valueOf(v))
	if !strings.HasPrefix(text, "{") {
		return text
	}
	lines := strings.Split(strings.TrimSuffix(strings.TrimPrefix(text, "{"), "}"), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimPrefix(l, "\t")
	}
	return strings.Trim(strings.Join(lines, "\n"), "\n ")
}

// valueOf is the expression of a value as it is written in a role.
func valueOf(v cue.Value) string {
	if node := nodeOf(v); node != nil {
		if text, err := format.Node(node); err == nil {
			return string(text)
		}
	}
	return ""
}

// nodeOf is where a value is written in a role, rather than in the definition; nil if it is not.
func nodeOf(v cue.Value) ast.Node {
	parts := []cue.Value{v}
	if op, all := v.Expr(); op == cue.AndOp {
		parts = append(all, v)
	}
	for _, p := range parts {
		node := p.Source()
		if node == nil || p.Pos().Filename() == ruleFile {
			continue
		}
		if f, ok := node.(*ast.Field); ok {
			return f.Value
		}
		return node
	}
	return nil
}

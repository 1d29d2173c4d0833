package schema

import (
	"encoding/json"
	"slices"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/errors"

	"github.com/labctl-dev/labctl/lab"
)

// roleDoc is a role as CUE exports it once the lab and the machine are filled in.
type roleDoc struct {
	Summary   string                     `json:"summary"`
	Needs     []string                   `json:"needs"`
	Memory    string                     `json:"memory"`
	Disk      string                     `json:"disk"`
	Arches    []lab.Arch                 `json:"arches"`
	Nested    bool                       `json:"nested"`
	Installs  bool                       `json:"installs"`
	Providers []string                   `json:"providers"`
	Why       string                     `json:"why"`
	Checks    map[string]json.RawMessage `json:"checks"`
	Secrets   map[string]secretDoc       `json:"secrets"`
	Ready     map[string]checkDoc        `json:"ready"`
	Waits     map[string]waitDoc         `json:"waits"`
	partsDoc
}

// partsDoc is what a role gives a machine.
type partsDoc struct {
	Sources  map[string]sourceDoc `json:"sources"`
	Data     map[string]dataDoc   `json:"data"`
	Packages []string             `json:"packages"`
	Users    map[string]userDoc   `json:"users"`
	Files    map[string]fileDoc   `json:"files"`
	Units    map[string]unitDoc   `json:"units"`
	Commands ordered              `json:"commands"`
}

// The fields of #Role that become a machine's.
var (
	given = []string{"sources", "data", "packages", "users", "files", "units", "commands"}
	parts = append([]string{"summary", "needs", "memory", "disk", "arches", "nested", "installs", "providers", "why", "checks", "secrets", "ready", "waits"}, given...)
)

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

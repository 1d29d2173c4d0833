package schema

import (
	"cuelang.org/go/cue/errors"

	"github.com/labctl-dev/labctl/lab"
)

// closedness is which fields that CUE does not allow are said, beside those that labctl does not know.
type closedness int

const (
	none  closedness = iota
	users            // those that the user wrote, where a definition of the user's own has no place for them
	added            // those that labctl adds, where a definition of the user's own closes all
)

// shut is the Error for a field that CUE does not allow and that unknown has not found.
func (x explainer) shut(g *group, path []string) (Error, bool) {
	for _, p := range errors.Positions(g.errs[0]) {
		q, ok := x.spec.files.position(p)
		if !ok || p.Filename() == x.file || len(g.names) == 0 {
			continue
		}
		out := Error{Path: lab.Path(path...), Positions: []Position{q}, Message: "a definition (#Name) of the lab closes this, and has no such field"}
		parent, name := ruleAt(x.def(), g.names[:len(g.names)-1]), g.names[len(g.names)-1]
		if near := meant(name, parent); near != "" && !ruleOf(parent, name).Exists() {
			out.Message = "unknown field" + near
		}
		return out, x.closed == users
	}
	out := Error{Path: lab.Path(path[:max(len(path)-1, 0)]...)}
	out.Message = "is closed, so what labctl adds has no place: a definition (#Name) closes all that is in it; use a plain field (Name) for parts of machines"
	out.Positions = firstOf(x.spec.Pos(out.Path))
	return out, x.closed == added
}

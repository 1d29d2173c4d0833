package apply

import (
	"errors"
	"sort"
	"strings"

	"github.com/labctl-dev/labctl/engine/graph"
	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/provider"
)

// step is one call of the worker: a replacement has two, every other change one.
type step struct {
	change plan.Change
	index  int // of the change in the plan
	remove bool
	last   bool // when it is done, so is the change
}

func (s step) op() string {
	switch {
	case s.remove:
		return "delete"
	case s.change.Action == plan.Update:
		return "update"
	}
	return "create"
}

func (s step) event(e Event) Event {
	e.Addr, e.Machine, e.Action, e.Impact = s.change.Addr, s.change.Machine, s.change.Action, s.change.Impact
	return e
}

// steps is the plan as a graph of steps.
type steps struct {
	graph.Graph
	list []step
}

// schedule orders the steps: a thing is made after what it needs, deleted after what held on to it, and made again
// after it was deleted.
func schedule(p plan.Plan) (*steps, error) {
	s := &steps{}
	put, remove := map[provider.Addr]int{}, map[provider.Addr]int{}
	for i, c := range p.Changes {
		if c.Action == plan.Delete || c.Action == plan.Replace {
			remove[c.Addr] = s.Add()
			s.list = append(s.list, step{change: c, index: i, remove: true, last: c.Action == plan.Delete})
		}
		if c.Action != plan.Delete {
			put[c.Addr] = s.Add()
			s.list = append(s.list, step{change: c, index: i, last: true})
		}
	}
	for _, c := range p.Changes {
		putC, puts := put[c.Addr]
		removeC, removes := remove[c.Addr]
		if puts && removes {
			s.Edge(removeC, putC)
		}
		if c.After != nil {
			for _, n := range c.After.Needs {
				if putN, ok := put[n]; ok {
					s.Edge(putN, putC)
				}
			}
		}
		if c.Before != nil {
			for _, n := range c.Before.Needs {
				removeN, ok := remove[n]
				switch {
				case !ok:
				case removes:
					s.Edge(removeC, removeN)
				case !needs(c.After, n): // c lets go of n
					s.Edge(putC, removeN)
				}
			}
		}
	}
	if _, err := s.Order(); err != nil {
		return nil, s.explain(err)
	}
	return s, nil
}

func needs(r *provider.Resource, a provider.Addr) bool {
	for _, n := range r.Needs {
		if n == a {
			return true
		}
	}
	return false
}

// explain names the things of a cycle.
func (s *steps) explain(err error) error {
	var cycle *graph.CycleError
	if !errors.As(err, &cycle) {
		return err
	}
	var names []string
	for _, i := range cycle.Steps {
		names = append(names, s.list[i].op()+" "+s.list[i].change.Addr.String())
	}
	sort.Strings(names)
	return &provider.Error{Op: "order the changes", Code: provider.Internal, Text: "they wait for each other: " + strings.Join(names, ", ")}
}

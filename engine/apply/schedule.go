package apply

import (
	"errors"
	"fmt"
	"slices"
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
	list    []step
	dropped int // wishes that could not be granted, see schedule
}

// schedule orders the steps: a thing is made after what it needs, deleted after what held on to it, and made again
// after it was deleted. That an update lets go of a thing before it is deleted is a wish: where it would make steps
// wait for each other (two machines that change places on two networks that are made again), it is dropped, first for
// what is made again. So is that a change is made after those it follows.
func schedule(p plan.Plan) (*steps, error) {
	s := &steps{}
	put, remove := map[provider.Addr]int{}, map[provider.Addr]int{}
	var deleted, replaced [][2]int // an update, and the removal of what it lets go of
	for i, c := range p.Changes {
		if err := whole(c); err != nil {
			return nil, err
		}
		if c.Action.Removes() {
			remove[c.Addr] = s.Add()
			s.list = append(s.list, step{change: c, index: i, remove: true, last: !c.Action.Puts()})
		}
		if c.Action.Puts() {
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
				case needs(c.After, n):
				case s.list[removeN].last:
					deleted = append(deleted, [2]int{putC, removeN})
				default:
					replaced = append(replaced, [2]int{putC, removeN})
				}
			}
		}
	}
	if _, err := s.Order(); err != nil {
		return nil, s.explain(err)
	}
	for _, c := range p.Changes {
		for _, a := range c.Follows {
			first, ok := put[a]
			then, ok2 := put[c.Addr]
			if ok && ok2 {
				deleted = append(deleted, [2]int{first, then})
			}
		}
	}
	for _, wish := range append(deleted, replaced...) {
		if slices.Contains(s.Behind(wish[1]), wish[0]) {
			s.dropped++
			continue
		}
		s.Edge(wish[0], wish[1])
	}
	return s, nil
}

// whole refuses a change that cannot be made because half of it is missing: a plan may have been read from a file.
func whole(c plan.Change) error {
	before, after := c.Action.Removes() || c.Action == plan.Update, c.Action.Puts()
	known := before || c.Action == plan.Create || c.Action == plan.Adopt
	if !known || before && c.Before == nil || after && c.After == nil {
		return &provider.Error{Op: "apply the plan", Addr: c.Addr, Code: provider.Invalid, Text: fmt.Sprintf("its change %q is not whole", c.Action)}
	}
	return nil
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

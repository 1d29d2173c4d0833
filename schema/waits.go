package schema

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// defaultWait is how long a role waits for one that it needs on another machine: #Wait's default.
const defaultWait = "15m"

// waitDoc is #Wait: a check without from, or a port of a machine.
type waitDoc struct {
	checkDoc
	Machine string `json:"machine"`
	Port    string `json:"port"`
}

// queue is who waits for whom. A step is a role of a machine, by its place among all.
type queue struct {
	all   []held
	after map[int][]int // what must be true before: on the same machine, or waited for
	depth map[int]int   // the longest way of after, once it was asked for; -1 while it is walked
}

// await works out what roles wait for: of a role that they need, every other machine that has it, and what they say
// themselves.
func (d *decoder) await(l lab.Lab, all []held) {
	q := &queue{all: all, after: map[int][]int{}, depth: map[int]int{}}
	by := map[string][]int{} // by role
	for i, h := range all {
		if !h.other {
			by[h.name] = append(by[h.name], i)
		}
	}
	for i := range all {
		h := &all[i]
		for _, need := range h.doc.Needs {
			for _, j := range by[need] {
				if q.after[i] = append(q.after[i], j); all[j].machine != h.machine {
					h.waits = append(h.waits, d.ready(h, &all[j])...)
				}
			}
		}
		for _, name := range slices.Sorted(maps.Keys(h.doc.Waits)) {
			c, services := d.wait(l, h, name, h.doc.Waits[name])
			h.waits = append(h.waits, c)
			q.after[i] = append(q.after[i], q.serving(h.doc.Waits[name].Machine, services)...)
		}
	}
	for i := range all {
		q.walk(i, nil, func(way []int) {
			var names []string
			for _, j := range way {
				names = append(names, all[j].name+" on "+all[j].machine)
			}
			d.problem(lab.Path(all[way[0]].path...), "waits for itself: %s", strings.Join(names, " waits for "))
		})
	}
	for i := range all {
		all[i].late = q.late(i)
	}
}

// ready is what holds once a role answers, asked by another: what the role says, else that it accepts connections at
// its ports.
func (d *decoder) ready(by, h *held) []lab.Check {
	var out []lab.Check
	path := lab.Path(by.path...)
	add := func(doc checkDoc) {
		doc.From = by.machine
		c := d.check(path, doc)
		c.Name = h.name + " on " + h.machine
		out = append(out, c)
	}
	for _, name := range slices.Sorted(maps.Keys(h.doc.Ready)) {
		add(h.doc.Ready[name])
	}
	if len(out) > 0 {
		return out
	}
	for _, p := range h.ports {
		for _, s := range p.Services {
			if s.Proto == lab.TCP && s.From == s.To {
				add(checkDoc{TCP: &lab.TCPCheck{To: h.machine, Port: int(s.From)}, Within: defaultWait})
			}
		}
	}
	return out
}

// wait is what a role says that it waits for, and the services of a machine that this is.
func (d *decoder) wait(l lab.Lab, h *held, name string, w waitDoc) (lab.Check, []lab.Service) {
	path := lab.Path(h.path...)
	w.From = h.machine
	var services []lab.Service
	_, known := l.Machine(w.Machine)
	switch {
	case (w.Machine == "") != (w.Port == ""):
		d.problem(path, "its wait %q needs machine and port together, or one of tcp, http, dns and command", name)
		return lab.Check{}, nil
	case w.Machine != "" && !known:
		d.problem(path, "its wait %q: there is no machine called %q", name, w.Machine)
		return lab.Check{}, nil
	case w.Machine != "":
		if services = d.service(path, w.Port); len(services) == 0 || services[0].Proto != lab.TCP || services[0].From != services[0].To {
			d.problem(path, "its wait %q: %q is not one port of TCP", name, w.Port)
			return lab.Check{}, nil
		}
		w.TCP = &lab.TCPCheck{To: w.Machine, Port: int(services[0].From)}
	}
	c := d.check(path, w.checkDoc)
	if c.Name = name; w.Machine != "" {
		c.Name = fmt.Sprintf("%s on %s", w.Port, w.Machine)
	}
	return c, services
}

// serving are the steps that make services of a machine.
func (q *queue) serving(machine string, services []lab.Service) []int {
	var out []int
	for i, h := range q.all {
		if !h.other && h.machine == machine && slices.ContainsFunc(h.ports, func(p lab.Port) bool {
			return slices.ContainsFunc(p.Services, func(s lab.Service) bool { return slices.Contains(services, s) })
		}) {
			out = append(out, i)
		}
	}
	return out
}

// walk works out the depth of a step, and says every way that leads back to where it began.
func (q *queue) walk(i int, way []int, loop func(way []int)) int {
	if n, seen := q.depth[i]; seen {
		if at := slices.Index(way, i); n < 0 && at >= 0 {
			loop(append(slices.Clone(way[at:]), i))
		}
		return max(n, 0)
	}
	q.depth[i] = -1
	n := 0
	for _, j := range q.after[i] {
		n = max(n, 1+q.walk(j, append(way, i), loop))
	}
	q.depth[i] = n
	return n
}

// late is when in its machine a step comes: 0 before everything that waits, else the deeper the later. So two machines
// whose roles wait for each other's, but not in a ring, do not stand still.
func (q *queue) late(i int) int {
	if len(q.all[i].waits) > 0 {
		return 1 + q.depth[i]
	}
	for _, j := range q.after[i] {
		if q.all[j].machine == q.all[i].machine && q.depth[j] < q.depth[i] && q.late(j) > 0 {
			return 1 + q.depth[i]
		}
	}
	return 0
}

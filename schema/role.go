package schema

import (
	"maps"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// held is a role of a machine, made.
type held struct {
	wants
	doc   roleDoc
	role  lab.Role
	other bool // the machine has not got it, but gets something because others have
	waits []lab.Check
	late  int // see queue
}

// equip gives the machines of l what their roles make of them.
func (d *decoder) equip(l *lab.Lab, all []held) {
	machines := map[string]*lab.Machine{}
	for i := range l.Machines {
		machines[l.Machines[i].Name] = &l.Machines[i]
	}
	needs := map[string][]string{} // of each role that the lab has
	for i := range all {
		h := &all[i]
		if h.other {
			continue
		}
		h.role = lab.Role{Name: h.name, Summary: h.doc.Summary, Needs: h.doc.Needs, Ports: h.ports, Implied: h.implied}
		needs[h.name] = h.doc.Needs
	}
	by := map[string][]*held{}
	for i := range all {
		h := &all[i]
		by[h.machine] = append(by[h.machine], h)
		if h.other {
			continue
		}
		for _, n := range h.doc.Needs {
			if _, has := needs[n]; !has {
				d.problem(lab.Path(h.path...), "needs a machine with the role %q, and the lab has none", n)
			}
		}
		if way := circle(needs, h.name); way != nil {
			d.problem(lab.Path(h.path...), "needs itself: %s", strings.Join(way, " needs "))
		}
	}
	d.secrets(l, all)
	if len(d.problems) == 0 { // else what follows from a circle is said twice
		d.await(*l, all)
	}
	for name, hs := range by {
		d.furnish(machines[name], inOrder(hs))
	}
	for _, h := range all {
		for _, name := range slices.Sorted(maps.Keys(h.doc.Checks)) {
			var doc checkDoc
			path := lab.Path(h.path...)
			d.member(path, member{value: h.doc.Checks[name]}, &doc)
			c := d.check(path, doc)
			c.Name = h.machine + " " + h.name + " " + name
			l.Checks = append(l.Checks, c)
		}
	}
	slices.SortStableFunc(l.Checks, func(a, b lab.Check) int { return strings.Compare(a.Name, b.Name) })
}

// secrets are those that roles bring, beside the lab's own.
func (d *decoder) secrets(l *lab.Lab, all []held) {
	from := map[string]string{} // the role that brought it
	for _, s := range l.Secrets {
		from[s.Name] = ""
	}
	for _, h := range all {
		for _, name := range slices.Sorted(maps.Keys(h.doc.Secrets)) {
			other, has := from[name]
			switch {
			case !has:
				from[name] = h.name
				l.Secrets = append(l.Secrets, d.secret(lab.Path(h.path...), name, h.doc.Secrets[name]))
			case other != "" && other != h.name:
				d.problem(lab.Path(h.path...), "has a secret %q, and so has the role %s: name it in secrets", name, other)
			}
		}
	}
	slices.SortFunc(l.Secrets, func(a, b lab.Secret) int { return strings.Compare(a.Name, b.Name) })
}

// circle is the way by which a role needs itself; nil if it does not.
func circle(needs map[string][]string, role string) []string {
	seen := map[string]bool{}
	var walk func(way []string) []string
	walk = func(way []string) []string {
		for _, n := range needs[way[len(way)-1]] {
			on := append(slices.Clone(way), n)
			if n == role {
				return on
			}
			if !seen[n] {
				seen[n] = true
				if found := walk(on); found != nil {
					return found
				}
			}
		}
		return nil
	}
	return walk([]string{role})
}

// ports are those of the role at path, and names for services from now on.
func (d *decoder) ports(path string, all map[string]names) []lab.Port {
	var out []lab.Port
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if _, err := lab.ParseService(name); err == nil {
			d.problem(path, "its port %q is named as something that means a service already", name)
			continue
		}
		var services []lab.Service
		for _, text := range all[name].all {
			s, err := lab.ParseService(text)
			if err != nil {
				d.problem(path, "its port %q: %v", name, err)
				continue
			}
			services = append(services, s)
		}
		out = append(out, lab.Port{Name: name, Services: services})
		if known, ok := d.services[name]; !ok {
			d.services[name] = services
		} else if _, own := d.own[name]; !own && !slices.Equal(known, services) {
			d.problem(path, "its port %q is not that of the same name elsewhere in the lab; name one of them in services", name)
		}
	}
	return out
}

// inOrder are the roles of a machine, those that others of it need first, and those that wait for other machines last.
func inOrder(all []*held) []*held {
	var out []*held
	placed := map[string]bool{}
	var place func(h *held)
	place = func(h *held) {
		if placed[h.name] {
			return
		}
		placed[h.name] = true // at once: a circle, which is an error, must not be endless
		for _, o := range all {
			if slices.Contains(h.doc.Needs, o.name) {
				place(o)
			}
		}
		out = append(out, h)
	}
	for _, h := range all {
		place(h)
	}
	slices.SortStableFunc(out, func(a, b *held) int { return a.late - b.late })
	return out
}

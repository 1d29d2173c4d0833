package schema

import (
	"slices"

	"github.com/labctl-dev/labctl/lab"
)

// external is a machine that others made and keep; l has the lab's networks. What is refused in it says Spec.external.
func (d *decoder) external(path string, m lab.Machine, doc machineDoc, l lab.Lab) lab.Machine {
	a := d.addr(path+".external", doc.External)
	out := lab.Machine{Name: m.Name, Router: m.Router, Adopted: m.Adopted, Groups: m.Groups, Power: lab.On, Ready: m.Ready,
		External: a, SSH: doc.SSH, NICs: d.nics(path, doc, l)}
	if len(out.NICs) > 0 {
		return out
	}
	for _, n := range l.Networks {
		switch {
		case n.CIDR.IsValid() && n.CIDR.Contains(a):
			return with(out, lab.NIC{Network: n.Name, Addr: a, Given: true, Link: lab.Up})
		case n.CIDR6.IsValid() && n.CIDR6.Contains(a):
			return with(out, lab.NIC{Network: n.Name, Addr6: a, Given6: true, Link: lab.Up})
		}
	}
	return out
}

func with(m lab.Machine, n lab.NIC) lab.Machine {
	m.NICs = []lab.NIC{n}
	return m
}

// external refuses what is said of an external machine although nothing of it is labctl's, and a way in that leads
// nowhere.
func (s *Spec) external(m lab.Machine) Errors {
	var es Errors
	kind := "servers"
	if m.Router {
		kind = "routers"
	}
	path := lab.Path(kind, m.Name)
	if !m.External.IsValid() {
		if lookup(s.user, []string{kind, m.Name, "ssh"}).Exists() {
			es = append(es, Error{Path: path + ".ssh", Message: "only an external machine has it: labctl's way into the others needs none"})
		}
		return es
	}
	switch {
	case m.Router:
		return Errors{{Path: path + ".external", Message: "only servers can be external: a router forwards by what labctl configures inside it"}}
	case m.Adopted != "":
		return Errors{{Path: path + ".external", Message: "a machine is adopted, on the target's host, or external, anywhere: not both"}}
	}
	for _, field := range append(owned(), "cpus", "memory", "power", "protect") {
		if field != "roles" && lookup(s.user, []string{kind, m.Name, field}).Exists() {
			es = append(es, Error{Path: path + "." + field, Message: "machine " + m.Name + " is external: nothing of it is labctl's, so " + field + " cannot be given"})
		}
	}
	return slices.Clip(es)
}

// look gives an external machine roles that only say what is there: their ports, names and checks.
func (d *decoder) look(m *lab.Machine, all []*held) {
	for _, h := range all {
		p := h.doc.partsDoc
		if len(p.Sources)+len(p.Data)+len(p.Packages)+len(p.Users)+len(p.Files)+len(p.Units)+len(p.Commands) > 0 {
			d.problem(lab.Path(h.path...), "would be installed, and %s is external: nothing of it is labctl's", m.Name)
		}
		m.Roles = append(m.Roles, h.role)
	}
}

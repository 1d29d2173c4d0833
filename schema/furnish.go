package schema

import (
	"fmt"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// outfit is what a machine gets of its roles, while it is put together.
type outfit struct {
	*decoder
	m      *lab.Machine
	own    lab.Guest // what the machine says itself, which wins
	g      lab.Guest
	whose  map[string]string // the role that something is of, by kind and name
	ports  []taken
	memory lab.Bytes // what roles need
	disk   lab.Bytes
}

// taken is a port where a role listens.
type taken struct {
	role, name string
	service    lab.Service
}

// furnish gives a machine what its roles want: before its own things, which win.
func (d *decoder) furnish(m *lab.Machine, all []*held) {
	if m.External.IsValid() {
		d.look(m, all)
		return
	}
	o := &outfit{decoder: d, m: m, own: m.Guest, g: lab.Guest{User: m.Guest.User}, whose: map[string]string{}}
	for _, h := range all {
		o.add(h)
	}
	if m.Memory < o.memory {
		d.problem(m.Path()+".memory", "%s is too little: its roles need %s", m.Memory, o.memory)
	}
	if len(m.Disks) > 0 && m.Disks[0].Size < o.disk {
		d.problem(m.Path()+".disk", "%s is too little: its roles need %s", m.Disks[0].Size, o.disk)
	}
	g, own := &o.g, o.own
	g.Sources = append(g.Sources, own.Sources...)
	g.Data = m.Guest.Data
	g.Packages = set(append(g.Packages, own.Packages...))
	g.Users = append(g.Users, own.Users...)
	g.Files = append(g.Files, own.Files...)
	g.Units = append(g.Units, own.Units...)
	g.Commands = append(g.Commands, own.Commands...)
	if w := last(own, g.Waits); len(g.Waits) > 0 && len(w.Units)+len(w.Commands) > 0 {
		g.Waits = append(g.Waits, w)
	}
	m.Guest = *g
}

// add adds what a role makes.
func (o *outfit) add(h *held) {
	path := lab.Path(h.path...)
	made := o.guest(path, machineDoc{Arch: string(o.m.Arch), partsDoc: h.doc.partsDoc})
	o.shares(h, made, o.m, &o.g, o.whose)
	o.g.Packages = append(o.g.Packages, made.Packages...)
	for _, f := range made.Files {
		switch other := o.whose["file "+f.Path]; {
		case slices.ContainsFunc(o.own.Files, func(own lab.File) bool { return own.Path == f.Path }):
		case other != "":
			o.problem(path, "writes %s, which the role %s of the same machine writes, too", f.Path, other)
		default:
			o.whose["file "+f.Path] = h.name
			o.g.Files = append(o.g.Files, f)
			o.given[o.m.Path("files", f.Path)] = h.path
		}
	}
	o.starts(h, made)
	if h.doc.Memory != "" {
		o.memory += o.size(path, h.doc.Memory)
	}
	if h.doc.Disk != "" {
		o.disk += o.size(path, h.doc.Disk)
	}
	if len(h.doc.Arches) > 0 && !slices.Contains(h.doc.Arches, o.m.Arch) {
		o.problem(path, "does not run on %s, only on %s", o.m.Arch, strings.Trim(fmt.Sprint(h.doc.Arches), "[]"))
	}
	if !h.other {
		h.role.Nested, h.role.Installs, h.role.Providers, h.role.Why = h.doc.Nested, h.doc.Installs, h.doc.Providers, h.doc.Why
		o.m.Nested = o.m.Nested || h.doc.Nested
		o.m.Roles = append(o.m.Roles, h.role)
		o.listens(h)
	}
}

// starts adds the units and commands of a role, and what these wait for.
func (o *outfit) starts(h *held, made lab.Guest) {
	w := lab.Wait{Role: h.name, For: h.waits}
	for _, u := range made.Units {
		if o.whose["unit "+u.Name] != "" {
			continue
		}
		o.whose["unit "+u.Name] = h.name
		w.Units = append(w.Units, u.Name)
		if !slices.ContainsFunc(o.own.Units, func(own lab.Unit) bool { return own.Name == u.Name }) {
			o.g.Units = append(o.g.Units, u)
			o.given[o.m.Path("units", u.Name)] = h.path
		}
	}
	for _, c := range made.Commands {
		c.Name = h.name + ": " + c.Name
		o.g.Commands = append(o.g.Commands, c)
		o.given[o.m.Path("commands", c.Name)] = h.path
		w.Commands = append(w.Commands, c.Name)
	}
	if h.late > 0 && len(w.Units)+len(w.Commands) > 0 {
		o.g.Waits = append(o.g.Waits, w)
	}
}

// listens says where a role listens that another one of the machine does.
func (o *outfit) listens(h *held) {
	for _, p := range h.ports {
		for _, s := range p.Services {
			if s.Proto != lab.TCP && s.Proto != lab.UDP {
				continue
			}
			for _, t := range o.ports {
				if t.role != h.name && t.service.Proto == s.Proto && t.service.From <= s.To && s.From <= t.service.To {
					o.problem(lab.Path(h.path...), "its port %q is %s, and so is %q of the role %s of the same machine: %s", p.Name, s, t.name, t.role, t.service)
				}
			}
			o.ports = append(o.ports, taken{h.name, p.Name, s})
		}
	}
}

// last is what a machine has of its own, which comes after all its roles.
func last(own lab.Guest, before []lab.Wait) lab.Wait {
	var out lab.Wait
	for _, u := range own.Units {
		if !slices.ContainsFunc(before, func(w lab.Wait) bool { return slices.Contains(w.Units, u.Name) }) {
			out.Units = append(out.Units, u.Name)
		}
	}
	for _, c := range own.Commands {
		out.Commands = append(out.Commands, c.Name)
	}
	return out
}

package view

import (
	"fmt"
	"io"
	"strings"

	"github.com/labctl-dev/labctl/schema"
)

// Roles writes a line for each role.
func Roles(w io.Writer, rs []schema.RoleInfo, o Options) error {
	pr := &printer{Options: o}
	t := &table{header: []string{"role", "from", "ports", "needs", "machines", "is"}, shrink: true}
	for _, r := range rs {
		var ports []string
		for _, p := range r.Ports {
			ports = append(ports, p.Is)
		}
		t.add(span{r.Name, bold}, span{origin(r), faint}, text(strings.Join(ports, " ")), text(strings.Join(r.Needs, " ")),
			text(strings.Join(r.Machines, " ")), text(r.Summary))
	}
	t.write(pr, 0)
	return pr.flush(w)
}

func origin(r schema.RoleInfo) string {
	switch {
	case len(r.Where) > 0:
		return r.Where[0].String()
	case r.Own:
		return "the lab"
	}
	return "labctl"
}

// Role explains one role.
func Role(w io.Writer, r schema.RoleInfo, o Options) error {
	pr := &printer{Options: o}
	head := []span{{r.Name, bold}}
	if r.Summary != "" {
		head = append(head, text(": "+r.Summary))
	}
	pr.line(0, 2, head...)
	pr.line(0, 2, span{"from " + origin(r), faint})
	pr.blank()
	pr.line(0, 2, text("servers: NAME: roles: "+r.Name+": {"))
	written(pr, r.Source)
	pr.line(0, 2, text("}"))
	for _, d := range r.Uses {
		pr.line(0, 2, text(d.Name+": {"))
		written(pr, d.Is)
		pr.line(0, 2, text("}"))
	}
	pr.blank()
	fact := func(name string, all ...string) {
		for i, one := range all {
			if one == "" {
				continue
			}
			label := name
			if i > 0 {
				label = ""
			}
			pr.line(0, 12, span{pad(label, 12), faint}, text(one))
		}
	}
	fact("machines", strings.Join(r.Machines, ", "))
	fact("needs", strings.Join(r.Needs, ", "))
	fact("waits for", facts(r.Waits)...)
	fact("ports", facts(r.Ports)...)
	fact("ready when", facts(r.Ready)...)
	fact("memory", least(r.Memory))
	fact("disk", least(r.Disk))
	fact("data", facts(r.Data)...)
	fact("runs on", strings.Join(r.Arches, ", "))
	if len(r.Providers) > 0 {
		fact("made by", strings.TrimSuffix(strings.Join(r.Providers, ", ")+": "+r.Why, ": "))
	}
	fact("packages", strings.Join(r.Packages, ", "))
	fact("secrets", facts(r.Secrets)...)
	fact("checks", facts(r.Checks)...)
	if r.Others {
		fact("others", "it has something for machines that have not got it")
	}
	return pr.flush(w)
}

// written writes CUE as it stands in a role, its comments faint.
func written(pr *printer, source string) {
	for _, l := range lines(source) {
		l = strings.ReplaceAll(l, "\t", "    ")
		color := plain
		if strings.HasPrefix(strings.TrimSpace(l), "//") {
			color = faint
		}
		if l == "" {
			pr.blank()
			continue
		}
		pr.line(4, 8, span{l, color})
	}
}

func least(size string) string {
	if size == "" {
		return ""
	}
	return size + " at least"
}

func facts(all []schema.RoleFact) []string {
	var out []string
	for _, f := range all {
		s := f.Name
		if f.Is != "" {
			s = fmt.Sprintf("%s: %s", f.Name, f.Is)
		}
		out = append(out, shorten(s, 160))
	}
	return out
}

package schema

import (
	"fmt"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/literal"

	"github.com/labctl-dev/labctl/lab"
)

// Adoption is the text of a CUE file that says of networks and machines that a lab adopts them as they are; pkg is its
// package clause's, "" for none. What is said by default is left out. Notes are comments, by the name on the host.
func Adoption(pkg string, networks []lab.Network, machines []lab.Machine, notes map[string][]string) ([]byte, error) {
	w := &writer{}
	if pkg != "" {
		w.line("package %s\n", pkg)
	}
	for _, n := range networks {
		w.notes(notes[n.Adopted])
		w.network(n)
	}
	for _, m := range machines {
		w.notes(notes[m.Adopted])
		w.machine(m)
	}
	text, err := format.Source([]byte(w.String()))
	if err != nil {
		return nil, fmt.Errorf("cannot write as CUE what is to be adopted: %w", err)
	}
	return text, nil
}

type writer struct{ strings.Builder }

func (w *writer) line(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }

func (w *writer) notes(all []string) {
	for _, n := range all {
		w.line("// %s", strings.ReplaceAll(n, "\n", " "))
	}
}

// label is a name as a field's.
func label(s string) string {
	if ast.StringLabelNeedsQuoting(s) {
		return text(s)
	}
	return s
}

// text is s as a CUE string.
func text(s string) string { return literal.String.Quote(s) }

func (w *writer) network(n lab.Network) {
	w.line("networks: %s: {", label(n.Name))
	w.line("adopted: %s", text(n.Adopted))
	for _, f := range []struct {
		name string
		set  bool
	}{{"uplink", n.Uplink}, {"routed", n.Routed}, {"isolated", n.Isolated}} {
		if f.set {
			w.line("%s: true", f.name)
		}
	}
	switch {
	case n.CIDR.IsValid() && n.CIDR.Addr().Is6():
		w.line("cidr6: %s", text(n.CIDR.String()))
	case n.CIDR.IsValid():
		w.line("cidr: %s", text(n.CIDR.String()))
	case !n.Uplink && !n.CIDR6.IsValid():
		w.line(`cidr6: "auto"`)
	}
	if n.CIDR6.IsValid() {
		w.line("cidr6: %s", text(n.CIDR6.String()))
	}
	if n.DHCP != nil {
		w.line("dhcp: {from: %s, to: %s}", text(n.DHCP.From.String()), text(n.DHCP.To.String()))
	}
	if n.MTU != 0 && n.MTU != 1500 {
		w.line("mtu: %d", n.MTU)
	}
	w.line("}")
}

func (w *writer) machine(m lab.Machine) {
	w.line("servers: %s: {", label(m.Name))
	w.line("adopted: %s", text(m.Adopted))
	w.line("cpus: %d", m.CPUs)
	w.line("memory: %s", text(m.Memory.String()))
	if m.Power == lab.Off {
		w.line("power: %s", text(string(m.Power)))
	}
	if m.Protect {
		w.line("protect: true")
	}
	for _, n := range m.NICs {
		w.line("nics: %s: {", label(n.Network))
		w.line("mac: %s", text(n.MAC))
		if n.Addr.IsValid() && n.Addr.Is6() {
			w.line("ip6: %s", text(n.Addr.String()))
		} else if n.Addr.IsValid() {
			w.line("ip: %s", text(n.Addr.String()))
		}
		if n.Addr6.IsValid() {
			w.line("ip6: %s", text(n.Addr6.String()))
		}
		if n.DUID != "" {
			w.line("duid: %s", text(n.DUID))
		}
		if n.Link == lab.Down {
			w.line("link: %s", text(string(n.Link)))
		}
		w.line("}")
	}
	w.line("}")
}

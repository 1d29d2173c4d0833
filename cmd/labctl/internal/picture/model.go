package picture

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// model is a picture's contents before anything has a place: what is written where, and who is joined to what.
type model struct {
	Picture
	networks []network
	machines []machine // routers first
	world    bool
}

// network is a wire.
type network struct {
	thing    Thing
	name     string
	facts    []string // its prefixes, and what else is worth saying
	marks    []string
	level    int // from the world down
	uplink   bool
	status   Status
	detail   string
	isolated bool
}

// machine is a box.
type machine struct {
	thing  Thing
	name   string
	router bool
	wall   bool // has a firewall of its own
	off    bool
	lines  []textLine // below the name
	legs   []leg
	status Status
	detail string
}

// leg is an interface.
type leg struct {
	network int      // index of model.networks
	label   []string // addresses, and what the machine does with packets there
	down    bool
	status  Status
}

// textLine is a line of a box.
type textLine struct {
	text string
	kind kind
}

// kind is what a text says, and so how it is written.
type kind string

// The kinds.
const (
	nameText  kind = "name"
	addrText  kind = "addr"
	smallText kind = "small"
	groupText kind = "group"
	markText  kind = "mark"
	wireText  kind = "wire" // a network's name
	factText  kind = "fact" // a network's prefixes
	titleText kind = "head"
	worldText kind = "worldname"
	keyText   kind = "key"
)

// newModel reads a picture.
func newModel(p Picture) model {
	m := model{Picture: p}
	ways := lab.NewTopology(p.Lab)
	at := map[string]int{}
	levels := levelsOf(p.Lab, ways)
	for i, n := range p.Lab.Networks {
		at[n.Name] = i
		t := Thing{Network: n.Name}
		x := network{thing: t, name: n.Name, level: levels[n.Name], uplink: n.Uplink, status: p.status(t), marks: p.Marks[t].Lines}
		x.isolated = !n.Uplink && !leadsOut(ways, n.Name)
		x.facts = networkFacts(n, x.isolated)
		x.detail = strings.TrimSpace("network " + n.Name + ": " + strings.Join(x.facts, ", ") + "\n" + p.Marks[t].Detail)
		m.networks = append(m.networks, x)
		m.world = m.world || n.Uplink
	}
	for _, x := range p.Lab.Machines {
		m.machines = append(m.machines, p.machine(x, at))
	}
	sort.SliceStable(m.machines, func(i, j int) bool {
		a, b := m.machines[i], m.machines[j]
		return a.router && !b.router || a.router == b.router && natural(a.name, b.name)
	})
	return m
}

// natural orders names as people do: web2 comes before web10.
func natural(a, b string) bool {
	for a != "" && b != "" {
		n, m := digits(a), digits(b)
		if n > 0 && m > 0 {
			x, y := strings.TrimLeft(a[:n], "0"), strings.TrimLeft(b[:m], "0")
			if len(x) != len(y) || x != y {
				return len(x) < len(y) || len(x) == len(y) && x < y
			}
			a, b = a[n:], b[m:]
			continue
		}
		if a[0] != b[0] {
			return a[0] < b[0]
		}
		a, b = a[1:], b[1:]
	}
	return a == "" && b != ""
}

// digits is how many digits a text begins with.
func digits(s string) int { return len(s) - len(strings.TrimLeft(s, "0123456789")) }

func leadsOut(ways *lab.Topology, network string) bool {
	_, v4 := ways.Path(network, "", false)
	_, v6 := ways.Path(network, "", true)
	return v4 || v6
}

func networkFacts(n lab.Network, isolated bool) []string {
	var out []string
	if n.CIDR.IsValid() {
		out = append(out, n.CIDR.String())
	}
	if n.CIDR6.IsValid() {
		out = append(out, n.CIDR6.String())
	}
	switch {
	case n.Uplink && !n.CIDR.IsValid():
		out = append(out, "DHCP")
	case n.Uplink && n.Routed:
		out = append(out, "routed")
	case isolated:
		out = append(out, "isolated")
	}
	return out
}

// machine reads one machine; at are the networks by name.
func (p Picture) machine(m lab.Machine, at map[string]int) machine {
	t := Thing{Machine: m.Name}
	mark := p.Marks[t]
	x := machine{thing: t, name: m.Name, router: m.Router, wall: m.Firewall, off: m.Power == lab.Off, status: p.status(t)}
	seen := map[string]bool{}
	for _, nic := range m.NICs {
		i, known := at[nic.Network]
		if !known || seen[nic.Network] {
			continue
		}
		seen[nic.Network] = true
		x.legs = append(x.legs, leg{network: i, label: legLabel(m, nic, p.Lab.Networks[i]), down: nic.Link == lab.Down, status: p.legStatus(m.Name, nic.Network)})
	}
	if len(x.legs) == 1 {
		for _, s := range x.legs[0].label {
			x.lines = append(x.lines, textLine{s, addrText})
		}
	}
	x.lines = append(x.lines, boxLines(m)...)
	for _, s := range mark.Lines {
		for _, l := range wrap(strings.Fields(s), fontOf(markText), boxTextMax) {
			x.lines = append(x.lines, textLine{l, markText})
		}
	}
	x.detail = detail(m, mark)
	return x
}

// legStatus is the mark of an interface, else that of what is marked of its two ends; what is new or gone takes its
// legs along.
func (p Picture) legStatus(machine, network string) Status {
	t := Thing{machine, network}
	if m, ok := p.Marks[t]; ok && m.Status != "" {
		return m.Status
	}
	for _, end := range []Thing{{Machine: machine}, {Network: network}} {
		switch s := p.status(end); s {
		case New, Gone, Extra, Missing:
			return s
		}
	}
	return p.status(t)
}

// legLabel is what is written beside an interface.
func legLabel(m lab.Machine, nic lab.NIC, n lab.Network) []string {
	var out []string
	if nic.Addr.IsValid() {
		out = append(out, nic.Addr.String())
	} else if n.Uplink && !n.CIDR.IsValid() {
		out = append(out, "DHCP")
	}
	if nic.Addr6.IsValid() {
		out = append(out, nic.Addr6.String())
	}
	if r := m.Routing; r != nil {
		if slices.Contains(r.Masquerade, n.Name) {
			out = append(out, "NAT")
		}
		if slices.Contains(r.Masquerade6, n.Name) {
			out = append(out, "NAT6")
		}
	}
	if nic.Link == lab.Down {
		out = append(out, "link down")
	}
	return out
}

// boxLines are the lines of a machine that do not hang on marks.
func boxLines(m lab.Machine) []textLine {
	var out []textLine
	add := func(k kind, format string, args ...any) { out = append(out, textLine{fmt.Sprintf(format, args...), k}) }
	if m.Image != "" {
		add(smallText, "%s", m.Image)
	}
	if m.CPUs > 0 {
		add(smallText, "%d CPU, %s", m.CPUs, m.Memory)
	}
	if r := m.Routing; r != nil {
		for _, p := range r.Publish {
			from := ""
			if p.Network != "" {
				from = p.Network + " "
			}
			add(groupText, "%s%s/%d → %s:%d", from, p.Proto, p.Port, p.Machine, p.To)
		}
		for _, s := range serves(r) {
			add(groupText, "%s", s)
		}
	}
	for _, l := range wrap(words(m.Groups, "#"), smallFont, boxTextMax) {
		add(groupText, "%s", l)
	}
	var state []string
	for _, s := range []struct {
		is   bool
		name string
	}{{m.Firewall, "firewall"}, {m.Protect, "protected"}, {m.Power == lab.Off, "off"}} {
		if s.is {
			state = append(state, s.name)
		}
	}
	if len(state) > 0 {
		add(groupText, "%s", strings.Join(state, ", "))
	}
	return out
}

// serves says where a router serves what: "DNS, DHCP: internal".
func serves(r *lab.Routing) []string {
	var order []string
	by := map[string][]string{}
	for _, s := range []struct {
		name     string
		networks []string
	}{{"DNS", r.DNS}, {"DHCP", r.DHCP}, {"NTP", r.NTP}} {
		for _, n := range s.networks {
			if by[n] == nil {
				order = append(order, n)
			}
			by[n] = append(by[n], s.name)
		}
	}
	var out []string
	for _, n := range order {
		out = append(out, strings.Join(by[n], ", ")+": "+n)
	}
	return out
}

func words(list []string, prefix string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = prefix + s
	}
	return out
}

// detail is all that is known of a machine, for those who point at it.
func detail(m lab.Machine, mark Mark) string {
	head := "server "
	if m.Router {
		head = "router "
	}
	lines := []string{head + m.Name}
	for _, n := range m.NICs {
		s := n.Network
		if n.Addr.IsValid() {
			s += " " + n.Addr.String()
		}
		if n.Addr6.IsValid() {
			s += " " + n.Addr6.String()
		}
		lines = append(lines, strings.TrimSpace(s+" "+n.MAC))
	}
	for _, d := range m.Disks {
		lines = append(lines, fmt.Sprintf("disk %s %s", d.Name, d.Size))
	}
	if mark.Detail != "" {
		lines = append(lines, mark.Detail)
	}
	return strings.Join(lines, "\n")
}

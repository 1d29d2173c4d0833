package marks

import (
	"fmt"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/check/reach"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/picture"
	"github.com/labctl-dev/labctl/lab"
)

// Reach is the picture of whom from reaches: a machine, a network or "world". The error is that there is nobody of
// that name.
func Reach(l lab.Lab, proof *reach.Proof, from string) (picture.Picture, error) {
	m := ways{lab: l, from: from, marks: map[picture.Thing]picture.Mark{}}
	if err := m.ask(proof); err != nil {
		return picture.Picture{}, fmt.Errorf("cannot draw whom %q reaches: %w", from, err)
	}
	p := picture.Picture{Lab: l, Subtitle: "whom " + from + " reaches", Marks: m.marks}
	if w := m.marks[picture.Thing{}]; w.Status == picture.New {
		p.Notes = append(p.Notes, "the world is reached by "+strings.Join(w.Lines, " "))
	}
	have := map[picture.Status]bool{}
	for _, x := range m.marks {
		have[x.Status] = true
	}
	for _, e := range []picture.Entry{
		{Status: picture.Here, Text: from},
		{Status: picture.New, Text: "reached, by these services"},
		{Status: picture.Changed, Text: "reached only by ways that no ordinary program takes"},
		{Status: picture.Way, Text: "on the way"},
		{Status: picture.Same, Text: "not reached"},
	} {
		if have[e.Status] {
			p.Legend = append(p.Legend, e)
		}
	}
	return p, nil
}

// ways are what is drawn of verdicts.
type ways struct {
	lab   lab.Lab
	from  string
	marks map[picture.Thing]picture.Mark
}

// ask asks whom from reaches by any service.
func (m *ways) ask(proof *reach.Proof) error {
	here := m.thing(m.from)
	for i := range m.lab.Machines { // cables stay in the background unless they are on a way
		for _, nic := range m.lab.Machines[i].NICs {
			m.marks[picture.Thing{Machine: m.lab.Machines[i].Name, Network: nic.Network}] = picture.Mark{Status: picture.Same}
		}
	}
	m.marks[picture.Thing{}] = picture.Mark{Status: picture.Same}
	m.marks[here] = picture.Mark{Status: picture.Here}
	for _, to := range proof.Names() {
		if to == m.from {
			continue
		}
		if err := m.end(proof, to); err != nil {
			return err
		}
	}
	return nil
}

// thing is what a name of the proof is drawn as.
func (m *ways) thing(name string) picture.Thing {
	if _, is := m.lab.Machine(name); is {
		return picture.Thing{Machine: name}
	}
	if name == "world" {
		return picture.Thing{}
	}
	return picture.Thing{Network: name}
}

// end marks one that may be reached, and the ways there.
func (m *ways) end(proof *reach.Proof, to string) error {
	var usual, strange []string
	for _, proto := range []lab.Proto{lab.TCP, lab.UDP, lab.ICMP} {
		vs, err := proof.Query(m.from, to, lab.Service{Proto: proto, To: 65535})
		if err != nil {
			return err
		}
		for _, v := range vs {
			switch {
			case !v.Allowed || v.Decision.Origin.Chore():
			case v.Usual && v.Sources >= ordinary:
				usual = append(usual, ports(proto, v.Ports)...)
				m.way(v, to)
			default:
				strange = append(strange, ports(proto, v.Ports)...)
			}
		}
	}
	t := m.thing(to)
	if t == (picture.Thing{}) && len(usual) == 0 {
		return nil // that strangers outside might be reached in strange ways is no news
	}
	switch {
	case len(usual) > 0:
		m.marks[t] = picture.Mark{Status: picture.New, Lines: []string{services(usual)}, Detail: "reached from " + m.from + " by " + services(usual)}
	case len(strange) > 0:
		m.marks[t] = picture.Mark{Status: picture.Changed, Lines: []string{services(strange)}, Detail: "reached from " + m.from + " in unusual ways only: " + services(strange)}
	}
	return nil
}

// ordinary is the least number of source ports for which a way is open to ordinary programs (those of
// net.ipv4.ip_local_port_range); fewer come of port translation and are chance.
const ordinary = 60999 - 32768 + 1

// ports are the services of one verdict.
func ports(proto lab.Proto, list []string) []string {
	if proto == lab.ICMP {
		return []string{"icmp"}
	}
	var out []string
	for _, p := range list {
		if p == "0-65535" || p == "1-65535" {
			out = append(out, string(proto))
		} else {
			out = append(out, string(proto)+"/"+p)
		}
	}
	return out
}

// services are all services, each once, those that others hold left out.
func services(list []string) string {
	var out []string
	for _, s := range list {
		proto, _, some := strings.Cut(s, "/")
		if !slices.Contains(out, s) && !(some && slices.Contains(list, proto)) {
			out = append(out, s)
		}
	}
	if slices.Equal(out, []string{"tcp", "udp", "icmp"}) {
		return string(lab.Any)
	}
	return strings.Join(out, " ")
}

// way marks the cables, wires and routers that packets take.
func (m *ways) way(v reach.Verdict, to string) {
	mark := func(t picture.Thing) {
		if s := m.marks[t].Status; s == "" || s == picture.Same {
			m.marks[t] = picture.Mark{Status: picture.Way}
		}
	}
	for i, s := range v.Path {
		mark(picture.Thing{Machine: s.Machine})
		for _, n := range []string{s.In, s.Out} {
			if n != "" {
				mark(picture.Thing{Network: n})
				mark(picture.Thing{Machine: s.Machine, Network: n})
			}
		}
		if i == len(v.Path)-1 && s.Machine != to && s.Out != "" {
			mark(picture.Thing{Machine: to, Network: s.Out})
		}
	}
}

package reach

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/labctl-dev/labctl/check"
	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/lab"
)

// Broken is one way in which an expectation does not hold.
type Broken struct {
	From    string      `json:"from"`
	To      string      `json:"to"`
	Service lab.Service `json:"service"`
	Verdict Verdict     `json:"verdict"` // the counterexample; zero where there is no way to ask at all
	Like    int         `json:"like"`    // how many more pairs there are for which it is broken likewise, see Group
}

// Expect asks whether an expectation holds; it holds if nothing is broken. "Reaches" holds between two if one address
// of To is open by its usual way for every port of the service. "Never" holds if no connection comes of any way, usual
// or not, and no packet of a protocol without connections arrives.
//
// A network stands for the machines on it and, with never, for hosts on it that the lab does not know. "any" is every
// machine, as From the world, and with never all of these. What hosts outside the lab can do only as labctl does it, by
// its own way in, breaks nothing.
func (p *Proof) Expect(e lab.Expectation) ([]Broken, error) {
	from, err := p.everybody(e.From, e.Never, true)
	if err != nil {
		return nil, err
	}
	on, err := p.everybody(e.On, e.Never, e.Never)
	if err != nil {
		return nil, err
	}
	kind := map[string]string{}
	for _, k := range p.kinds() {
		kind[k.name] = k.key
	}
	const holds = -1
	var out []Broken
	known := map[asked]int{} // holds, or where in out it is broken
	for _, a := range from {
		for _, b := range on {
			if a == b {
				continue
			}
			for _, s := range e.Services {
				like := asked{cmp.Or(kind[a], a), cmp.Or(kind[b], b), s}
				if i, ok := known[like]; ok {
					if i != holds {
						out[i].Like++
					}
					continue
				}
				all, err := p.Query(a, b, s)
				if err != nil {
					return nil, err
				}
				known[like] = holds
				if v, ok := breach(all, e.Never, p.nodes[a] == nil, s); ok {
					known[like] = len(out)
					out = append(out, Broken{From: a, To: b, Service: s, Verdict: v})
				}
			}
		}
	}
	return out, nil
}

// asked is a question that all machines of one kind have the same answer to.
type asked struct {
	from, on string // kinds, or names of what is none
	service  lab.Service
}

// everybody are the names of all that selectors stand for.
func (p *Proof) everybody(selectors []string, strangers, world bool) ([]string, error) {
	e, unknown := p.lab.Ends(selectors)
	if len(unknown) > 0 {
		return nil, fmt.Errorf("there is no machine, network or group called %q", unknown[0])
	}
	out := e.Machines
	networks := e.Networks
	if e.Any {
		for i := range p.lab.Machines {
			out = append(out, p.lab.Machines[i].Name)
		}
		for _, n := range p.lab.Networks {
			networks = append(networks, n.Name)
		}
	}
	for _, n := range networks {
		for _, m := range p.wires[n].nodes {
			out = append(out, m.name)
		}
		if strangers && !p.wires[n].network.Uplink {
			out = append(out, n)
		}
	}
	if e.World || e.Any && world {
		out = append(out, "world")
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// breach is the verdict that breaks an expectation, if one does.
func breach(all []Verdict, never, foreign bool, s lab.Service) (Verdict, bool) {
	if never {
		for _, v := range all {
			if foreign && v.Decision.Origin.Kind == nft.Implied && v.Decision.Origin.Path == nft.AdminPath {
				continue // labctl itself is one of them
			}
			if v.Allowed || v.Lost && v.Packet.Proto != "tcp" {
				return v, true
			}
		}
		return Verdict{}, false
	}
	if reaches(all, s) {
		return Verdict{}, false
	}
	for _, want := range []func(Verdict) bool{
		func(v Verdict) bool { return v.Usual && v.Lost },
		func(v Verdict) bool { return v.Usual && !v.Allowed && v.Decision.Origin.Kind != "" },
		func(v Verdict) bool { return v.Usual && !v.Allowed },
		func(v Verdict) bool { return !v.Allowed },
	} {
		if i := slices.IndexFunc(all, want); i >= 0 {
			return all[i], true
		}
	}
	return Verdict{Decision: Decision{Why: "they have no family of addresses in common"}}, true
}

// reaches says whether one destination is open for all ports of a service.
func reaches(all []Verdict, s lab.Service) bool {
	type door struct {
		dst  num
		v6   bool
		kind uint16
	}
	open := map[door]values{}
	for _, v := range all {
		if !v.Allowed || !v.Usual || len(v.orig.dst) == 0 || len(ephemeral.minus(v.orig.sport)) > 0 {
			continue
		}
		for _, proto := range []uint16{tcp, udp, icmp, icmpv6} {
			if !v.orig.proto.has(proto) {
				continue
			}
			for _, d := range v.orig.dst {
				k := door{d.from, !all4.has(d.from), proto}
				open[k] = append(open[k], v.now.dport...)
			}
		}
	}
	for k := range open {
		missing := false
		for _, v6 := range []bool{k.v6} {
			proto, dport := service(s, v6)
			for _, want := range []uint16{tcp, udp, icmp, icmpv6} {
				if !proto.has(want) || want == icmp && v6 || want == icmpv6 && !v6 {
					continue
				}
				need := dport
				if want == icmp || want == icmpv6 {
					need = only(map[uint16]uint16{icmp: 8, icmpv6: 128}[want])
				}
				k.kind = want
				missing = missing || len(need.minus(open[k].join())) > 0
			}
		}
		if !missing {
			return true
		}
	}
	return false
}

// expected are the findings of all expectations of the lab.
func (p *Proof) expected() []check.Finding {
	var out []check.Finding
	for _, e := range p.lab.Expect {
		broken, err := p.Expect(e)
		if err != nil || len(broken) == 0 {
			continue // names are checked before
		}
		b := broken[0]
		text := fmt.Sprintf("%s does not reach %s on %s: ", b.From, b.Service, b.To)
		if e.Never {
			text = fmt.Sprintf("%s reaches %s on %s: ", b.From, b.Service, b.To)
		}
		text += b.Verdict.explain()
		more := len(broken) - 1
		for _, other := range broken {
			more += other.Like
		}
		if more > 0 {
			text += fmt.Sprintf("; and %d more like it", more)
		}
		f := check.Finding{Severity: check.Error, Path: e.Path, Text: text}
		if rule := b.Verdict.Decision.Origin.Path; rule != "" {
			f.Related = []string{rule}
		}
		out = append(out, f)
	}
	return out
}

// explain is a verdict in words: the packet, its fate, and who decides.
func (v Verdict) explain() string {
	if !v.Packet.Dst.IsValid() {
		return v.Decision.Why
	}
	fate := "is stopped"
	switch {
	case v.Allowed:
		fate = "gets through"
	case v.Lost:
		fate = "arrives but its answer is lost"
	}
	by := v.Decision.String()
	if by != "" {
		by = ", " + by
	}
	return v.Packet.String() + " " + fate + by
}

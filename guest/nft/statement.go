package nft

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// Statement is one thing that holds in a lab about who may open what: a rule of the policy, a published port, or
// something that nobody wrote and that holds all the same.
type Statement struct {
	Kind   Kind   `json:"kind"`
	Name   string `json:"name"`
	Action Action `json:"action"`
	// From and To are selectors where the spec has them; else networks, prefixes, "any", or "the machine itself".
	From     []string `json:"from"`
	To       []string `json:"to"`
	Services []string `json:"services"` // as in the policy, "any", or "icmpv6" with its types
	Log      bool     `json:"log,omitempty"`
	Paths    []string `json:"paths,omitempty"` // in the spec, where it stands there
	Why      string   `json:"why,omitempty"`   // it holds, where it does not stand in the policy
	Machines []string `json:"machines"`        // whose rulesets have it, sorted; none where no way leads over any
}

const everyMachine = "every machine"

// Itself stands in To of statements about what a machine may be asked.
const Itself = "the machine itself"

// Statements is everything that holds in a complete lab whose machines have these rulesets: the rules of the policy in
// their order, published ports, and then what is implied.
func Statements(l lab.Lab, sets map[string]Ruleset) []Statement {
	g := gathering{lab: l, at: map[string]int{}}
	for _, r := range l.Policy {
		g.rule(r, Origin{Kind: FromPolicy, Name: r.Name, Path: r.Path})
	}
	for i := range l.Machines {
		if m := &l.Machines[i]; m.Routing != nil {
			for _, p := range m.Routing.Publish {
				g.published(*m, p)
			}
		}
	}
	for _, r := range ImpliedRules(l) {
		g.rule(r, Origin{Kind: Implied, Name: r.Name, Path: r.Path})
	}
	machines := make([]string, 0, len(sets))
	for name := range sets {
		machines = append(machines, name)
	}
	slices.Sort(machines)
	for _, name := range machines {
		for _, c := range sets[name].Chains {
			for i := range c.Rules {
				g.add(name, c, &c.Rules[i])
			}
		}
	}
	order := []Kind{FromPolicy, FromPublish, FromNAT, Implied, Housekeeping, Connections, AntiSpoof, DefaultRule}
	slices.SortStableFunc(g.all, func(a, b Statement) int { return cmp.Compare(slices.Index(order, a.Kind), slices.Index(order, b.Kind)) })
	return g.all
}

// gathering collects statements.
type gathering struct {
	lab lab.Lab
	all []Statement
	at  map[string]int // by key
}

// key is the same for rules that one statement stands for.
func key(o Origin) string {
	switch {
	case o.Kind == AntiSpoof:
		return string(o.Kind)
	case o.Kind == FromPolicy || o.Kind == FromPublish || ruled(o):
		return fmt.Sprint(o)
	}
	return string(o.Kind) + " " + o.Name
}

// ruled says whether an origin is one of ImpliedRules.
func ruled(o Origin) bool {
	return o.Kind == Implied && strings.HasPrefix(o.Path, "implied.") && o.Path != AdminPath
}

func (g *gathering) put(s Statement, o Origin) {
	s.Kind, s.Name, s.Why = o.Kind, o.Name, why(g.lab, o)
	if o.Kind == AntiSpoof {
		s.Name = "addresses that cannot come from there"
	}
	g.at[key(o)] = len(g.all)
	g.all = append(g.all, s)
}

func (g *gathering) rule(r lab.Rule, o Origin) {
	s := Statement{Action: Accept, From: r.From, To: r.To, Log: r.Log, Paths: paths(g.lab, o), Machines: []string{}}
	if o.Path == "implied.jump" {
		s.To = []string{everyMachine}
	} else if o.Kind == Implied {
		s.From = []string{everyMachine}
	}
	for _, a := range r.Allow {
		s.Services = append(s.Services, a.String())
	}
	g.put(s, o)
}

func (g *gathering) published(m lab.Machine, p lab.Publish) {
	s := Statement{Action: DNAT, To: []string{fmt.Sprintf("%s:%d", p.Machine, p.To)}, Services: []string{fmt.Sprintf("%s/%d", p.Proto, p.Port)}, Log: p.Log, Machines: []string{}}
	for _, nic := range m.NICs {
		if n, _ := g.lab.Network(nic.Network); p.Network == n.Name || p.Network == "" && n.Uplink {
			s.From = append(s.From, n.Name)
		}
	}
	o := door{router: m.Name, publish: p}.origin()
	s.Paths = paths(g.lab, o)
	g.put(s, o)
}

// add is a rule of a machine's ruleset.
func (g *gathering) add(machine string, c Chain, r *Rule) {
	i, ok := g.at[key(r.Origin)]
	if !ok {
		g.put(Statement{Action: r.Action}, r.Origin)
		i = len(g.all) - 1
	}
	s := &g.all[i]
	s.Machines = with(s.Machines, machine)
	if k := r.Origin.Kind; k == FromPolicy || k == FromPublish || ruled(r.Origin) {
		return // said in the spec's own words
	}
	for _, p := range paths(g.lab, r.Origin) {
		s.Paths = with(s.Paths, p)
	}
	from := source(r.Match)
	if r.Origin.Kind == AntiSpoof {
		from = r.Match.In
	}
	for _, x := range from {
		s.From = with(s.From, x)
	}
	for _, x := range target(c, r.Match) {
		s.To = with(s.To, x)
	}
	for _, x := range said(r.Match) {
		s.Services = with(s.Services, x)
	}
}

// with is a sorted list with x in it.
func with(all []string, x string) []string {
	if i, found := slices.BinarySearch(all, x); !found {
		return slices.Insert(all, i, x)
	}
	return all
}

// source is where what a rule matches comes from.
func source(m Match) []string {
	switch {
	case m.Src.Not:
		return m.In // the addresses that are beyond them, which is told by the networks
	case len(m.Src.Prefixes) > 0:
		return texts(m.Src.Prefixes)
	case slices.Equal(m.In, []string{Loopback}):
		return []string{Itself}
	case len(m.In) > 0:
		return m.In
	}
	return []string{"any"}
}

func target(c Chain, m Match) []string {
	switch {
	case c.Hook == Input:
		return []string{Itself}
	case len(m.Dst.Prefixes) > 0 && !m.Dst.Not:
		return texts(m.Dst.Prefixes)
	case len(m.Out) > 0:
		return m.Out
	}
	return []string{"any"}
}

func texts(ps []netip.Prefix) []string {
	var out []string
	for _, p := range ps {
		if p.IsSingleIP() {
			out = append(out, p.Addr().String())
		} else {
			out = append(out, p.String())
		}
	}
	return out
}

// said is the services of a match.
func said(m Match) []string {
	if m.Proto == "" || m.Proto == lab.Any {
		return []string{"any"}
	}
	proto := string(m.Proto)
	if m.Proto == lab.ICMP && m.V6 {
		proto = "icmpv6"
	}
	if len(m.Dport) == 0 {
		return []string{proto}
	}
	var out []string
	for _, p := range m.Dport {
		if p.From == p.To {
			out = append(out, fmt.Sprintf("%s/%d", proto, p.From))
		} else {
			out = append(out, fmt.Sprintf("%s/%d-%d", proto, p.From, p.To))
		}
	}
	return out
}

// paths are where in the spec an origin stands; none if nobody wrote it.
func paths(l lab.Lab, o Origin) []string {
	if o.Path == "" || o.Path == AdminPath && (l.Implied == nil || len(l.Implied.Admin) == 0) {
		return nil
	}
	return []string{o.Path}
}

// why says what something is good for that does not stand in the policy.
func why(l lab.Lab, o Origin) string {
	switch o.Kind {
	case FromPolicy, FromPublish:
		return ""
	case FromNAT:
		return "what comes from behind the router leaves with the router's own address, so that answers find back"
	case AntiSpoof:
		return "a packet whose source address is not beyond the interface that it comes in by is dropped, and so is the router's own address"
	case DefaultRule:
		return "what nothing above allows is denied"
	}
	if o.Path == AdminPath && l.Implied != nil && len(l.Implied.Admin) > 0 {
		return "labctl looks after the machine by ssh, from where implied.admin says"
	}
	return map[string]string{
		"labctl's own way in":   "labctl looks after the machine by ssh; implied.admin narrows from where",
		"name service":          "every machine asks for names",
		"time":                  "every machine asks for the time",
		"jumps":                 "people come to every other machine over these, by ssh",
		givesV4:                 "machines ask the router for their addresses",
		givesV6:                 "machines ask the router for their addresses",
		uplinkAddress:           "the target gives the address on this uplink",
		givenAddress:            "a router gives the machine its addresses",
		"loopback":              "a machine may talk to itself",
		"neighbour discovery":   "without it there is no IPv6 on a wire (RFC 4890, 4.4.1)",
		"router advertisements": "IPv6 machines learn their router and their prefix by them (RFC 4890, 4.4.1)",
		"open connections":      "what belongs to an open connection goes on both ways, errors about it included",
		"no connection":         "what belongs to no connection and opens none is dropped",
	}[o.Name]
}

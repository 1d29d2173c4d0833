package nft

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// ForRouter compiles the policy of a complete lab for a router.
func ForRouter(l lab.Lab, m lab.Machine) (Ruleset, error) {
	c, err := newCompiler(l)
	if err != nil {
		return Ruleset{}, err
	}
	if !m.Router {
		return Ruleset{}, fmt.Errorf("cannot make a router's rules for %s: it is no router", m.Name)
	}
	return c.router(m), nil
}

// ForHost compiles the policy of a complete lab for a machine that forwards nothing: who may open what on it.
func ForHost(l lab.Lab, m lab.Machine) (Ruleset, error) {
	c, err := newCompiler(l)
	if err != nil {
		return Ruleset{}, err
	}
	return Ruleset{Machine: m.Name, Chains: []Chain{c.input(m)}}, nil
}

// All compiles the rulesets of every machine of a complete lab that has one: routers, and hosts with Firewall.
func All(l lab.Lab) (map[string]Ruleset, error) {
	c, err := newCompiler(l)
	if err != nil {
		return nil, err
	}
	out := map[string]Ruleset{}
	for i := range l.Machines {
		switch m := l.Machines[i]; {
		case m.Router:
			out[m.Name] = c.router(m)
		case m.Firewall:
			out[m.Name] = Ruleset{Machine: m.Name, Chains: []Chain{c.input(m)}}
		}
	}
	return out, nil
}

// ImpliedRules are the rules that the lab needs for itself, as rules of the policy: name service and time from the
// machines that give them, and ssh by way of those that people come over.
func ImpliedRules(l lab.Lab) []lab.Rule {
	if l.Implied == nil {
		return nil
	}
	var inside []string
	for _, n := range l.Networks {
		if !n.Uplink {
			inside = append(inside, n.Name)
		}
	}
	for i := range l.Machines {
		inside = append(inside, l.Machines[i].Name)
	}
	var out []lab.Rule
	if len(l.Implied.DNS) > 0 {
		out = append(out, lab.Rule{Name: "name service", From: inside, To: l.Implied.DNS, Path: "implied.dns",
			Allow: []lab.Service{{Proto: lab.UDP, From: 53, To: 53}, {Proto: lab.TCP, From: 53, To: 53}}})
	}
	if len(l.Implied.NTP) > 0 {
		out = append(out, lab.Rule{Name: "time", From: inside, To: l.Implied.NTP, Path: "implied.ntp",
			Allow: []lab.Service{{Proto: lab.UDP, From: 123, To: 123}}})
	}
	if len(l.Implied.Jump) > 0 {
		var all []string
		for i := range l.Machines {
			all = append(all, l.Machines[i].Name)
		}
		out = append(out, lab.Rule{Name: "jumps", From: l.Implied.Jump, To: all, Path: "implied.jump",
			Allow: []lab.Service{{Proto: lab.TCP, From: 22, To: 22}}})
	}
	return out
}

// compiler holds what is the same for all machines of a lab.
type compiler struct {
	lab      lab.Lab
	ways     *lab.Topology
	machines map[string]*lab.Machine
	paths    [2]map[[2]string]path // by family: from network to network, as far as they were asked for
	inside   [2][]netip.Prefix     // IPv4, IPv6: everything that is not the world
	rules    []*flow
	doors    []door
}

// flow is a rule of the policy with its ends resolved, for both families.
type flow struct {
	rule     lab.Rule
	origin   Origin
	from, to [2]end
	ways     [2]map[string][]stretch // by router, once they were asked for
	sources  [2][]*group             // for machines that are none of them, once they were asked for
}

// end is one end of a flow in one family.
type end struct {
	any, world bool
	places     []place
	machines   []string // that are meant with all their addresses, known or not
}

// place is addresses, and the network where they are.
type place struct {
	prefix  netip.Prefix
	network string
	machine string // whose address it is; "" for a whole network
}

// path is a way of the topology.
type path struct {
	hops []lab.Hop
	ok   bool
}

// path is the topology's, remembered: every machine's compilation asks for the same ones.
func (c *compiler) path(x, d string, v6 bool) ([]lab.Hop, bool) {
	known := c.paths[family(v6)]
	p, seen := known[[2]string{x, d}]
	if !seen {
		p.hops, p.ok = c.ways.Path(x, d, v6)
		known[[2]string{x, d}] = p
	}
	return p.hops, p.ok
}

func newCompiler(l lab.Lab) (*compiler, error) {
	c := &compiler{lab: l, ways: lab.NewTopology(l), machines: map[string]*lab.Machine{}, paths: [2]map[[2]string]path{{}, {}}}
	for i := range l.Machines {
		c.machines[l.Machines[i].Name] = &l.Machines[i]
	}
	for i, v6 := range []bool{false, true} {
		c.inside[i] = c.lands(v6)
	}
	for _, r := range l.Policy {
		if err := c.add(r, fromPolicy(r)); err != nil {
			return nil, err
		}
	}
	for _, r := range ImpliedRules(l) {
		if err := c.add(r, Origin{Kind: Implied, Name: r.Name, Path: r.Path}); err != nil {
			return nil, err
		}
	}
	return c, c.publish()
}

// fromPolicy is the origin of a rule's rules. A rule of a list that the spec gives no name is called by its place there;
// in the machines it is called by what it says, so that one more rule before it changes nothing there.
func fromPolicy(r lab.Rule) Origin {
	o := Origin{Kind: FromPolicy, Name: r.Name, Path: r.Path}
	var place int
	if n, err := fmt.Sscanf(r.Path, "policy.%d", &place); err != nil || n != 1 || r.Name != fmt.Sprint("rule ", place+1) {
		return o
	}
	var services []string
	for _, s := range r.Allow {
		services = append(services, s.String())
	}
	o.Says = fmt.Sprintf("%s to %s, %s", strings.Join(r.From, " "), strings.Join(r.To, " "), strings.Join(services, " "))
	return o
}

// lands are the addresses of the lab: its own networks, its machines on uplinks, and link-local ones, which every
// machine has.
func (c *compiler) lands(v6 bool) []netip.Prefix {
	var out []netip.Prefix
	if v6 {
		out = append(out, linkLocal)
	}
	for _, n := range c.lab.Networks {
		if p, ok := n.Prefix(v6); ok && !n.Uplink {
			out = append(out, p)
		}
	}
	for i := range c.lab.Machines {
		for _, nic := range c.lab.Machines[i].NICs {
			if a, ok := nic.Address(v6); ok {
				out = append(out, Single(a))
			}
		}
	}
	return normal(out)
}

func (c *compiler) add(r lab.Rule, o Origin) error {
	f := flow{rule: r, origin: o}
	for _, side := range []struct {
		name      string
		selectors []string
		ends      *[2]end
	}{{"from", r.From, &f.from}, {"to", r.To, &f.to}} {
		e, unknown := c.lab.Ends(side.selectors)
		if len(unknown) > 0 {
			return fmt.Errorf("%s.%s: there is no machine, network or group called %q", r.Path, side.name, unknown[0])
		}
		side.ends[0], side.ends[1] = c.end(e, false), c.end(e, true)
	}
	c.rules = append(c.rules, &f)
	return nil
}

func (c *compiler) end(e lab.Ends, v6 bool) end {
	out := end{any: e.Any, world: e.World || e.Any, machines: e.Machines}
	networks := e.Networks
	if e.Any {
		networks = nil
		for _, n := range c.lab.Networks {
			networks = append(networks, n.Name)
		}
	}
	for _, name := range networks {
		n, _ := c.lab.Network(name)
		if p, ok := n.Prefix(v6); ok {
			out.places = append(out.places, place{p, name, ""})
		}
	}
	for _, name := range e.Machines {
		for _, nic := range c.machines[name].NICs {
			if a, ok := nic.Address(v6); ok {
				out.places = append(out.places, place{Single(a), nic.Network, name})
			}
		}
	}
	return out
}

func (c *compiler) router(m lab.Machine) Ruleset {
	r := Ruleset{Machine: m.Name, Chains: []Chain{c.early(m)}}
	if arrive := c.arrive(m); len(arrive.Rules) > 0 {
		r.Chains = append(r.Chains, arrive)
	}
	r.Chains = append(r.Chains, c.input(m), c.forward(m))
	if leave := c.leave(m); len(leave.Rules) > 0 {
		r.Chains = append(r.Chains, leave)
	}
	return r
}

func (c *compiler) forward(m lab.Machine) Chain {
	rules := connections()
	for _, f := range c.rules {
		rules = append(rules, c.flow(f, m, false)...)
	}
	rules = append(rules, c.published(m, false)...)
	return Chain{Name: "forward", Hook: Forward, Drop: true, Rules: append(rules, last("between networks"))}
}

// connections are the rules that keep open connections open. They come first: nearly every packet ends there.
func connections() []Rule {
	return []Rule{
		{Match: Match{State: []State{Established, Related}}, Action: Accept, Origin: Origin{Kind: Connections, Name: "open connections"}},
		{Match: Match{State: []State{Invalid}}, Action: Drop, Origin: Origin{Kind: Connections, Name: "no connection"}},
	}
}

func last(what string) Rule {
	return Rule{Action: Drop, Origin: Origin{Kind: DefaultRule, Name: "denied " + what}}
}

// flow is the rules of one flow for what m forwards, or with input for m itself; none where no way leads there.
func (c *compiler) flow(f *flow, m lab.Machine, input bool) []Rule {
	var out []Rule
	for i, v6 := range []bool{false, true} {
		for _, p := range c.pairs(f, m, v6, input) {
			for _, match := range c.matches(p, f.from[i], f.to[i], v6) {
				for _, s := range services(f.rule.Allow, v6) {
					rule := s
					rule.V6, rule.Src, rule.Dst = v6, match.Src, match.Dst
					rule.Family = len(rule.Src.Prefixes)+len(rule.Dst.Prefixes) == 0
					out = append(out, Rule{Match: rule, Log: f.rule.Log, Action: Accept, Origin: f.origin})
				}
			}
		}
	}
	return out
}

// matches are the address conditions of one pair: sets and complements of sets cannot stand in one condition.
func (c *compiler) matches(p pair, from, to end, v6 bool) []Match {
	world := Addrs{Not: true, Prefixes: c.inside[family(v6)]}
	sides := func(e end, places []netip.Prefix, outside bool) []Addrs {
		switch {
		case e.any:
			return []Addrs{{}}
		case len(places) > 0 && outside:
			return []Addrs{{Prefixes: normal(places)}, world}
		case outside:
			return []Addrs{world}
		case len(places) > 0:
			return []Addrs{{Prefixes: normal(places)}}
		}
		return nil
	}
	if p.hidden { // behind a masquerading router "any" is that router's address too
		from.any = false
	}
	if p.input {
		to.any = p.whole
	}
	var out []Match
	for _, s := range sides(from, p.src, p.srcWorld) {
		for _, d := range sides(to, p.dst, p.dstWorld) {
			if !(s.Not && d.Not) {
				out = append(out, Match{Src: s, Dst: d})
			}
		}
	}
	return out
}

// services are the protocol conditions of the services of a rule in one family.
func services(all []lab.Service, v6 bool) []Match {
	var out []Match
	for _, proto := range []lab.Proto{lab.TCP, lab.UDP} {
		var p []Ports
		for _, s := range all {
			if s.Proto == proto {
				p = append(p, Ports{s.From, s.To})
			}
		}
		p = merge(p)
		if len(p) == 1 && p[0].From == 0 && p[0].To == 65535 {
			out = append(out, Match{Proto: proto})
		} else if len(p) > 0 {
			out = append(out, Match{Proto: proto, Dport: p})
		}
	}
	for _, s := range all {
		switch s.Proto {
		case lab.Any:
			return []Match{{}}
		case lab.ICMP:
			echo := uint16(8)
			if v6 {
				echo = 128
			}
			out = append(out, Match{Proto: lab.ICMP, Dport: []Ports{{echo, echo}}})
		}
	}
	return dedupe(out)
}

func dedupe(all []Match) []Match {
	var out []Match
	for _, m := range all {
		if !slices.ContainsFunc(out, func(o Match) bool { return o.Proto == m.Proto }) {
			out = append(out, m)
		}
	}
	return out
}

func family(v6 bool) int {
	if v6 {
		return 1
	}
	return 0
}

// normal is prefixes sorted, without those that lie within others: nft refuses sets that overlap. What is so already is
// not copied: rulesets share it.
func normal(all []netip.Prefix) []netip.Prefix {
	if isNormal(all) {
		return slices.Clip(all)
	}
	all = slices.Clone(all)
	for i := range all {
		all[i] = all[i].Masked()
	}
	slices.SortFunc(all, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
	var out []netip.Prefix
	for _, p := range all {
		if len(out) == 0 || !out[len(out)-1].Overlaps(p) {
			out = append(out, p)
		}
	}
	return out
}

func isNormal(all []netip.Prefix) bool {
	for i, p := range all {
		if p != p.Masked() || i > 0 && (all[i-1].Addr().Compare(p.Addr()) >= 0 || all[i-1].Overlaps(p)) {
			return false
		}
	}
	return true
}

// merge is port ranges sorted, joined where they touch.
func merge(all []Ports) []Ports {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b Ports) int { return int(a.From) - int(b.From) })
	var out []Ports
	for _, p := range all {
		if n := len(out); n > 0 && int(p.From) <= int(out[n-1].To)+1 {
			out[n-1].To = max(out[n-1].To, p.To)
		} else {
			out = append(out, p)
		}
	}
	return out
}

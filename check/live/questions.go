package live

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/labctl-dev/labctl/check/reach"
	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/lab"
)

// Questions are what is asked to compare a complete lab with its proof: for every ordered pair of machines that are to
// be on, every address of the second by every declared service, by echo requests, and by a few ports that nobody
// declared. Link-local addresses are not asked: no router passes them on.
func Questions(l lab.Lab, p *reach.Proof, s Scope) (Set, error) {
	a := &asker{lab: l, proof: p, scope: s, ways: lab.NewTopology(l), seen: map[string]bool{}}
	a.set.Services = declared(l)
	a.ports = points(a.set.Services)
	for i := range l.Machines {
		if l.Machines[i].Power == lab.Off {
			a.set.Off = append(a.set.Off, l.Machines[i].Name)
		}
		if !l.Machines[i].Ours() {
			a.set.Adopted = append(a.set.Adopted, l.Machines[i].Name)
		}
	}
	for i := range l.Machines {
		if from := &l.Machines[i]; a.asks(from) {
			if err := a.from(from); err != nil {
				return Set{}, err
			}
		}
	}
	slices.SortStableFunc(a.set.Questions, order)
	a.set.World = a.world()
	return a.set, nil
}

// asker collects questions.
type asker struct {
	lab   lab.Lab
	proof *reach.Proof
	scope Scope
	ways  *lab.Topology
	ports []port
	seen  map[string]bool
	set   Set
}

// port is a port, or with ICMP an echo request.
type port struct {
	proto lab.Proto
	n     uint16
}

func (a *asker) there(m *lab.Machine) bool {
	return m.Power != lab.Off && m.Ours() && (a.scope.Among == nil || slices.Contains(a.scope.Among, m.Name))
}

func (a *asker) asks(m *lab.Machine) bool {
	return a.there(m) && (a.scope.From == "" || a.scope.From == m.Name)
}

func (a *asker) asked(m *lab.Machine) bool {
	return a.there(m) && (a.scope.To == "" || a.scope.To == m.Name)
}

// from are the questions that one machine asks all others.
func (a *asker) from(from *lab.Machine) error {
	for i := range a.lab.Machines {
		to := &a.lab.Machines[i]
		if to.Name == from.Name || !a.asked(to) {
			continue
		}
		ports := append(slices.Clone(a.ports), undeclared(from.Name, to.Name, a.ports)...)
		for _, nic := range to.NICs {
			for _, v6 := range []bool{false, true} {
				dst, standIn, ok := a.proof.Address(to.Name, nic.Network, v6)
				if !ok {
					continue
				}
				for _, p := range ports {
					q := Question{From: from.Name, To: to.Name, Network: nic.Network, StandIn: standIn,
						Packet: reach.Packet{Dst: dst, Proto: string(p.proto), Dport: p.n}}
					if err := a.add(from, q); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// add asks the proof, and keeps the question if it is meant and the proof's answer is one.
func (a *asker) add(from *lab.Machine, q Question) error {
	key := fmt.Sprint(q.From, " ", q.Packet)
	if a.seen[key] {
		return nil
	}
	a.seen[key] = true
	all, err := a.proof.Trace(q.From, q.Packet)
	if err != nil {
		return fmt.Errorf("cannot ask the proof whether %s reaches %s: %w", q.From, q.To, err)
	}
	// What the kernel does by itself is usual; the other verdicts are of addresses that a program would have to choose.
	all = slices.DeleteFunc(all, func(v reach.Verdict) bool { return !v.Usual })
	open := slices.DeleteFunc(slices.Clone(all), func(v reach.Verdict) bool { return !v.Allowed })
	switch {
	case len(open) > 0 && len(open) < len(all):
		a.set.Undecided++
		return nil
	case len(all) == 0:
		q.Decision = reach.Decision{Machine: q.From, Why: q.From + " has no " + family(q.Packet.Dst) + " address to ask from"}
	default:
		q.say(all[0])
	}
	if by, _ := a.lab.Machine(q.By); by.Name != "" && !by.Ours() { // nobody can listen there
		return nil
	}
	q.Judges = a.judges(from, q)
	if a.concerned(q) {
		a.set.Questions = append(a.set.Questions, q)
	}
	return nil
}

func family(a netip.Addr) string {
	if a.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

// say fills in what the proof says.
func (q *Question) say(v reach.Verdict) {
	q.Open, q.Decision = v.Allowed, v.Decision
	q.Packet.Src = v.Packet.Src
	for _, s := range v.Path {
		q.Path = append(q.Path, s.Machine)
	}
	if !v.Allowed {
		return
	}
	q.By, q.Port = v.To, q.Packet.Dport
	if len(v.Ports) == 1 { // after translation
		if n, err := strconv.ParseUint(v.Ports[0], 10, 16); err == nil {
			q.Port = uint16(n)
		}
	}
}

// judges are the machines with rulesets that a question meets, and those that it would meet if it came further than the
// proof says.
func (a *asker) judges(from *lab.Machine, q Question) []string {
	names := slices.Clone(q.Path)
	v6 := q.Packet.Dst.Is6()
	for _, nic := range from.NICs {
		if hops, ok := a.ways.Path(nic.Network, q.Network, v6); ok {
			for _, h := range hops {
				names = append(names, h.Router)
			}
			break
		}
	}
	names = append(names, q.To)
	if q.By != "" {
		names = append(names, q.By)
	}
	var out []string
	for _, n := range names {
		m, _ := a.lab.Machine(n)
		if n != q.From && (m.Router || m.Firewall) && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// concerned says whether one of the machines that the scope is about has a part in q.
func (a *asker) concerned(q Question) bool {
	if a.scope.About == nil {
		return true
	}
	for _, names := range [][]string{{q.From, q.To, q.By}, q.Path, q.Judges} {
		for _, n := range names {
			if n != "" && slices.Contains(a.scope.About, n) {
				return true
			}
		}
	}
	return false
}

// world is how many flows there are between machines that are asked and the world.
func (a *asker) world() int {
	if !slices.ContainsFunc(a.lab.Networks, func(n lab.Network) bool { return n.Uplink }) || a.scope.About != nil {
		return 0
	}
	n := 0
	for i := range a.lab.Machines {
		m := &a.lab.Machines[i]
		if a.asks(m) && a.scope.To == "" {
			n += len(a.ports)
		}
		if !a.asked(m) || a.scope.From != "" {
			continue
		}
		for _, nic := range m.NICs {
			for _, v6 := range []bool{false, true} {
				if _, _, ok := a.proof.Address(m.Name, nic.Network, v6); ok {
					n += len(a.ports)
				}
			}
		}
	}
	return n
}

func order(a, b Question) int {
	return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), a.Packet.Dst.Compare(b.Packet.Dst),
		cmp.Compare(a.Packet.Proto, b.Packet.Proto), cmp.Compare(a.Packet.Dport, b.Packet.Dport))
}

// Listeners are the ports on which somebody must listen on a machine for the questions to have an answer: those it is
// asked on, and those that published ports lead to, where what should be stopped would arrive. Sorted.
func Listeners(l lab.Lab, s Set, machine string) []lab.Service {
	var out []lab.Service
	add := func(proto lab.Proto, n uint16) {
		if proto != lab.ICMP && n > 0 {
			out = append(out, lab.Service{Proto: proto, From: n, To: n})
		}
	}
	routers := map[string]bool{}
	for _, q := range s.Questions {
		if q.To == machine {
			add(lab.Proto(q.Packet.Proto), q.Packet.Dport)
		}
		if q.By == machine {
			add(lab.Proto(q.Packet.Proto), q.Port)
		}
		routers[q.To] = true
	}
	for i := range l.Machines {
		if r := l.Machines[i].Routing; r != nil && routers[l.Machines[i].Name] {
			for _, p := range r.Publish {
				if p.Machine == machine {
					add(p.Proto, p.To)
				}
			}
		}
	}
	slices.SortFunc(out, byPort)
	return slices.Compact(out)
}

func byPort(a, b lab.Service) int {
	return cmp.Or(cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
}

// declared are the services that the lab speaks of anywhere, sorted, and ssh, by which labctl itself comes in.
func declared(l lab.Lab) []lab.Service {
	out := []lab.Service{{Proto: lab.TCP, From: 22, To: 22}, {Proto: lab.ICMP}}
	dns := []lab.Service{{Proto: lab.UDP, From: 53, To: 53}, {Proto: lab.TCP, From: 53, To: 53}}
	for _, rules := range [][]lab.Rule{l.Policy, nft.ImpliedRules(l)} {
		for _, r := range rules {
			out = append(out, r.Allow...)
		}
	}
	for _, e := range l.Expect {
		out = append(out, e.Services...)
	}
	for i := range l.Machines {
		r := l.Machines[i].Routing
		if r == nil {
			continue
		}
		for _, p := range r.Publish {
			out = append(out, lab.Service{Proto: p.Proto, From: p.Port, To: p.Port}, lab.Service{Proto: p.Proto, From: p.To, To: p.To})
		}
		if len(r.DNS) > 0 {
			out = append(out, dns...)
		}
		if len(r.NTP) > 0 {
			out = append(out, lab.Service{Proto: lab.UDP, From: 123, To: 123})
		}
	}
	for _, c := range l.Checks {
		switch {
		case c.TCP != nil:
			out = append(out, lab.Service{Proto: lab.TCP, From: uint16(c.TCP.Port), To: uint16(c.TCP.Port)})
		case c.DNS != nil:
			out = append(out, dns...)
		}
	}
	slices.SortFunc(out, byPort)
	return slices.Compact(out)
}

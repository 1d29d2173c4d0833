package reach

import (
	"fmt"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/lab"
)

// Difference is what one proof lets through and another does not. What machines get their addresses by and labctl's own
// way in are left out (nft.Origin.Chore), as in Matrix.
type Difference struct {
	Opens  []Passage `json:"opens"`  // what the second lets through, and the first does not
	Closes []Passage `json:"closes"` // what the first lets through, and the second does not
}

// Passage is services that every one of From opens on every other one of To.
type Passage struct {
	From     []Party  `json:"from"`
	To       []Party  `json:"to"`
	Services []string `json:"services"` // as in the policy; "other protocols" is all but tcp, udp and icmp
	// Family is "IPv4" or "IPv6" where the other one is possible between them and does not change.
	Family string `json:"family,omitempty"`
	// Unusual says that all of From take a way that no ordinary program takes, such as handing a packet to a router that
	// nobody told it of. See Verdict.Usual.
	Unusual bool `json:"unusual,omitempty"`
	// By are the rules that decide, in the lab that lets it through; none where no filter is between them.
	By []nft.Origin `json:"by"`
}

// Party is one end of a Passage.
type Party struct {
	Name string `json:"name"`
	Kind string `json:"kind"` // "machine", "network" (every host on it), "hosts" (those on a network that the lab does not know), "world"
}

func (p Party) String() string {
	if p.Kind == "hosts" {
		return "other hosts on " + p.Name
	}
	return p.Name
}

// Compare says what changes from one proof to another. Whoever is not in a lab reaches nobody there, and nobody reaches
// it. Its cost grows as that of Matrix.
func Compare(before, after *Proof) Difference {
	b := between{before: before, after: after}
	b.meet()
	var opens, closes []passing
	for i, from := range b.kinds {
		for j, to := range b.kinds {
			target := to.names[0]
			if i == j {
				if len(to.names) < 2 {
					continue
				}
				target = to.names[1]
			}
			then, now := before.passes(from.names[0], target), after.passes(from.names[0], target)
			opens = append(opens, now.beyond(then, i, j)...)
			closes = append(closes, then.beyond(now, i, j)...)
		}
	}
	return Difference{Opens: b.together(opens, after), Closes: b.together(closes, before)}
}

// between is two proofs and everybody in them.
type between struct {
	before, after *Proof
	kinds         []alike
}

// alike are names that neither proof tells from each other.
type alike struct {
	names []string
}

// meet finds everybody: machines by their kinds, networks as the hosts there that nobody knows, and the world.
func (b *between) meet() {
	keys := map[string][2]string{}
	var order []string
	add := func(which int, name, key string) {
		k, seen := keys[name]
		if !seen {
			order = append(order, name)
		}
		k[which] = key
		keys[name] = k
	}
	for which, p := range []*Proof{b.before, b.after} {
		for _, k := range p.kinds() {
			add(which, k.name, "machine "+k.key)
		}
		for _, n := range p.lab.Networks {
			if !n.Uplink && p.nodes[n.Name] == nil {
				add(which, n.Name, "network "+n.Name)
			}
		}
		if len(p.outside.ifaces) > 0 {
			add(which, "world", "world")
		}
	}
	slices.Sort(order)
	at := map[[2]string]int{}
	for _, name := range order {
		i, seen := at[keys[name]]
		if !seen {
			i = len(b.kinds)
			at[keys[name]] = i
			b.kinds = append(b.kinds, alike{})
		}
		b.kinds[i].names = append(b.kinds[i].names, name)
	}
}

// ported is a set of what a service may be: ports of TCP and UDP, echo, and all other protocols.
type ported struct {
	tcp, udp    values
	echo, other bool
}

func (a ported) minus(b ported) ported {
	return ported{a.tcp.minus(b.tcp), a.udp.minus(b.udp), a.echo && !b.echo, a.other && !b.other}
}

func (a ported) or(b ported) ported {
	return ported{append(slices.Clone(a.tcp), b.tcp...).join(), append(slices.Clone(a.udp), b.udp...).join(), a.echo || b.echo, a.other || b.other}
}

func (a ported) meets(b ported) bool {
	return a.tcp.meets(b.tcp) || a.udp.meets(b.udp) || a.echo && b.echo || a.other && b.other
}

// words are the services in the words of a policy.
func (a ported) words() []string {
	var protos values
	if a.echo {
		protos = append(protos, ports{icmp, icmp})
	}
	if a.other {
		protos = append(protos, ports{0, 0})
	}
	out := said(protos, map[uint16]values{tcp: a.tcp, udp: a.udp})
	if a.other && !slices.Contains(out, string(lab.Any)) {
		out = append(out, "other protocols")
	}
	return out
}

// passed is what one rule lets through.
type passed struct {
	v6, usual bool
	what      ported
	by        nft.Origin
}

// passes is everything that one opens on another.
type passes struct {
	all   []passed
	asked [2]bool // a family is possible between them
}

// passes asks for everything. Whoever is not there opens nothing.
func (p *Proof) passes(from, to string) passes {
	var out passes
	verdicts, err := p.Query(from, to, lab.Service{Proto: lab.Any})
	if err != nil {
		return out
	}
	for _, v := range verdicts {
		if len(v.orig.dst) == 0 || len(v.now.dport) == 0 {
			continue
		}
		x := passed{v6: !all4.has(v.orig.dst[0].from), usual: v.Usual && len(ephemeral.minus(v.orig.sport)) == 0, by: v.Decision.Origin}
		out.asked[family(x.v6)] = true
		if !v.Allowed || v.Decision.Origin.Chore() {
			continue
		}
		if v.orig.proto.has(tcp) {
			x.what.tcp = v.now.dport
		}
		if v.orig.proto.has(udp) {
			x.what.udp = v.now.dport
		}
		x.what.echo = v.orig.proto.has(icmp) || v.orig.proto.has(icmpv6)
		x.what.other = v.orig.proto.has(0)
		out.all = append(out.all, x)
	}
	return out
}

// open is what is open in one family; with anyhow by ways that are not usual too.
func (p passes) open(v6, anyhow bool) ported {
	var out ported
	for _, x := range p.all {
		if x.v6 == v6 && (x.usual || anyhow) {
			out = out.or(x.what)
		}
	}
	return out
}

// passing is a Passage between two kinds.
type passing struct {
	from, to int
	Passage
}

// beyond is what p lets through and q does not.
func (p passes) beyond(q passes, from, to int) []passing {
	var usual, odd [2]ported
	for f, v6 := range []bool{false, true} {
		usual[f] = p.open(v6, false).minus(q.open(v6, false))
		odd[f] = p.open(v6, true).minus(q.open(v6, true)).minus(usual[f])
	}
	var out []passing
	for _, unusual := range []bool{false, true} {
		what := usual
		if unusual {
			what = odd
		}
		four, six := strings.Join(what[0].words(), " "), strings.Join(what[1].words(), " ")
		for f, name := range []string{"IPv4", "IPv6"} {
			words := what[f].words()
			if len(words) == 0 || f == 1 && four == six {
				continue
			}
			if four == six || !p.asked[1-f] {
				name = ""
			}
			out = append(out, passing{from, to, Passage{Services: words, Family: name, Unusual: unusual, By: p.deciders(what, name, unusual)}})
		}
	}
	return out
}

// deciders are the rules that let some of what through.
func (p passes) deciders(what [2]ported, family string, unusual bool) []nft.Origin {
	out := []nft.Origin{}
	for _, x := range p.all {
		f := 0
		if x.v6 {
			f = 1
		}
		if family == "IPv4" && x.v6 || family == "IPv6" && !x.v6 || !unusual && !x.usual || !x.what.meets(what[f]) {
			continue
		}
		if x.by.Name != "" && !slices.Contains(out, x.by) {
			out = append(out, x.by)
		}
	}
	slices.SortFunc(out, func(a, b nft.Origin) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return out
}

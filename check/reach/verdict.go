package reach

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/lab"
)

// Verdict is what holds for one set of packets: from every one of Src to every one of Dst over every one of Ports.
type Verdict struct {
	Allowed bool   `json:"allowed"` // a connection comes of it; of UDP and ICMP: request and answer arrive
	From    string `json:"from"`    // a machine, a network (hosts on it that the lab does not know), or "world"
	To      string `json:"to"`
	// Usual is the way a program goes that leaves the choice of its address to the kernel and asks for an address it
	// can know. What is not usual counts for "never" and not for "reaches".
	Usual    bool     `json:"usual"`
	Packet   Packet   `json:"packet"`            // one of them, as it is sent
	Decision Decision `json:"decision"`          // what decided
	Path     []Step   `json:"path"`              // the way of the packet, up to where it ends
	Back     []Step   `json:"back,omitempty"`    // the way of the answer
	Lost     bool     `json:"lost,omitempty"`    // the packet arrives, and the answer does not
	Ports    []string `json:"ports,omitempty"`   // of To, e.g. "22", "8000-8010"; of ICMP none
	Sources  int      `json:"sources,omitempty"` // how many source ports it holds for, of 65536

	orig, now box
}

// Packet is one packet.
type Packet struct {
	Src   netip.Addr `json:"src"`
	Dst   netip.Addr `json:"dst"`
	Proto string     `json:"proto"` // "tcp", "udp", "icmp", or a number
	Sport uint16     `json:"sport,omitempty"`
	Dport uint16     `json:"dport,omitempty"`
}

func (k Packet) String() string {
	at := func(a netip.Addr, port uint16) string {
		if port == 0 {
			return a.String()
		}
		return netip.AddrPortFrom(a, port).String()
	}
	if !k.Src.IsValid() {
		return fmt.Sprintf("%s to %s", k.Proto, at(k.Dst, k.Dport))
	}
	return fmt.Sprintf("%s from %s to %s", k.Proto, at(k.Src, k.Sport), at(k.Dst, k.Dport))
}

// Decision is the rule that decided, or the reason without a rule.
type Decision struct {
	Machine string     `json:"machine,omitempty"`
	Origin  nft.Origin `json:"origin,omitzero"`
	Why     string     `json:"why,omitempty"`
}

func (d Decision) String() string {
	var parts []string
	if d.Origin.Name != "" {
		at := ""
		if d.Origin.Path != "" {
			at = " (" + d.Origin.Path + ")"
		}
		parts = append(parts, fmt.Sprintf("%s rule %q%s on %s", d.Origin.Kind, d.Origin.Name, at, d.Machine))
	}
	if d.Why != "" {
		parts = append(parts, d.Why)
	}
	return strings.Join(parts, ": ")
}

// Step is one machine on a way.
type Step struct {
	Machine string     `json:"machine"`
	In      string     `json:"in,omitempty"`
	Out     string     `json:"out,omitempty"`
	Rule    nft.Origin `json:"rule,omitzero"` // that let it through
	Gate    nft.Origin `json:"gate,omitzero"` // the rule of the host's own filter that let it in before
	NAT     string     `json:"nat,omitempty"` // what was translated: "10.0.0.5 to 192.0.2.10"
}

// verdicts are what an end says about a service of b.
func (p *Proof) verdicts(a, b *node, e end, s lab.Service, v6 bool) []Verdict {
	proto, dport := service(s, v6)
	meant := e.now
	meant.dst = e.now.dst.and(b.local.or(b.links))
	meant.proto, meant.dport = e.now.proto.and(proto), e.now.dport.and(dport)
	if meant.empty() || e.taken && e.node != b {
		return nil
	}
	e.flow = e.flow.narrow(meant)
	return p.judge(a, b, e)
}

// judge makes verdicts of an end whose packets are all meant.
func (p *Proof) judge(a, b *node, e end) []Verdict {
	if !e.taken {
		d := Decision{Why: e.why}
		if e.node != nil {
			d.Machine = e.node.name
		}
		if e.rule != nil {
			d.Origin = e.rule.Origin
		}
		return []Verdict{p.verdict(a, b, e, Verdict{Decision: d, orig: e.orig, now: e.now})}
	}
	var out []Verdict
	for _, r := range p.answers(&e, a) {
		v := Verdict{Allowed: r.open, Lost: !r.open, orig: r.orig, now: r.now, Back: steps(r.back)}
		if r.open {
			v.Decision = p.decider(e)
		} else {
			v.Decision.Why = r.why
			if r.node != nil {
				v.Decision.Machine = r.node.name
			}
			if r.rule != nil {
				v.Decision.Origin = r.rule.Origin
			}
		}
		out = append(out, p.verdict(a, b, e, v))
	}
	return out
}

// decider is the rule that lets a flow through: the last on its way that comes from the policy, else the last.
func (p *Proof) decider(e end) Decision {
	var d Decision
	for _, h := range e.hops {
		if h.rule != nil && (d.Machine == "" || h.rule.Origin.Kind == nft.FromPolicy || d.Origin.Kind != nft.FromPolicy) {
			d = Decision{Machine: h.node.name, Origin: h.rule.Origin}
		}
	}
	if d.Machine == "" {
		d.Why = "no filter is between them"
	}
	return d
}

// verdict fills in what all verdicts have.
func (p *Proof) verdict(a, b *node, e end, v Verdict) Verdict {
	v.From, v.To, v.Usual = a.name, b.name, e.natural
	v.Path, v.Packet = steps(e.hops), sample(v.orig)
	for _, r := range v.now.dport {
		switch {
		case v.Packet.Proto == "icmp":
		case r.from == r.to:
			v.Ports = append(v.Ports, fmt.Sprint(r.from))
		default:
			v.Ports = append(v.Ports, fmt.Sprintf("%d-%d", r.from, r.to))
		}
	}
	for _, r := range v.orig.sport {
		v.Sources += int(r.to) - int(r.from) + 1
	}
	return v
}

func steps(hops []hop) []Step {
	var out []Step
	for _, h := range hops {
		s := Step{Machine: h.node.name, In: h.in, Out: h.out}
		if h.rule != nil {
			s.Rule = h.rule.Origin
		}
		if h.gate != nil {
			s.Gate = h.gate.Origin
		}
		var nat []string
		if h.snatted {
			nat = append(nat, "from "+h.post.src[0].from.addr().String())
		}
		if h.dnatted {
			nat = append(nat, "to "+netip.AddrPortFrom(h.post.dst[0].from.addr(), h.post.dport[0].from).String())
		}
		s.NAT = strings.Join(nat, ", ")
		out = append(out, s)
	}
	return out
}

// ephemeral are the source ports that Linux chooses from (net.ipv4.ip_local_port_range).
var ephemeral = values{{32768, 60999}}

// sample is one packet of a box, as plain as can be.
func sample(b box) Packet {
	k := Packet{Src: plain(b.src), Dst: plain(b.dst)}
	switch n := b.proto; {
	case n.has(tcp):
		k.Proto = "tcp"
	case n.has(udp):
		k.Proto = "udp"
	case n.has(icmp) && k.Dst.Is4(), n.has(icmpv6) && k.Dst.Is6():
		k.Proto = "icmp"
		return k
	default:
		k.Proto = fmt.Sprintf("protocol %d", n[0].from)
		return k
	}
	k.Dport = max(b.dport[0].from, min(1, b.dport[len(b.dport)-1].to))
	k.Sport = b.sport[0].from
	if usual := b.sport.and(ephemeral); len(usual) > 0 {
		k.Sport = usual[0].from
	}
	return k
}

// known are public addresses that readers know.
var known = []netip.Addr{netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("2001:4860:4860::8888")}

// plain is an address of a set, of the world's a well-known public one if it is in there.
func plain(a addrs) netip.Addr {
	for _, k := range known {
		if a.has(numOf(k)) {
			return k
		}
	}
	return a[0].from.addr()
}

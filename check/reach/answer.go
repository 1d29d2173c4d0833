package reach

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/lab"
)

// Answer is what holds between two for some services, way by way.
type Answer struct {
	From     string        `json:"from"`
	To       string        `json:"to"`
	Services []lab.Service `json:"services"`
	State    State         `json:"state"`
	// Ways are the packets that could be meant, those of one fate together: usual ones first, then by address.
	Ways []Verdict `json:"ways"`
	Why  string    `json:"why,omitempty"` // there are no ways at all
	// StandIns are the addresses that stand in Ways for those that the target gives, by the name of the uplink.
	StandIns map[string]netip.Prefix `json:"stand_ins,omitempty"`
}

// State is an Answer in a word.
type State string

// The states. Open is what an expectation "reaches" asks for, and Blocked what one with "never" does.
const (
	Open    State = "open"    // every port of every service, by a usual way
	Partly  State = "partly"  // some ports, or by unusual ways only
	Blocked State = "blocked" // nothing, by any way
)

// Ask asks whether and how from reaches services of to; as in Query, each is a machine, a network or "world".
func (p *Proof) Ask(from, to string, services []lab.Service) (Answer, error) {
	a := Answer{From: from, To: to, Services: services, Ways: []Verdict{}}
	n, err := p.node(from)
	if err != nil {
		return a, err
	}
	foreign := n.world || n.stranger
	open, shut := true, true
	for _, s := range services {
		all, err := p.Query(from, to, s)
		if err != nil {
			return a, err
		}
		if foreign {
			all = slices.DeleteFunc(all, byLabctl)
		}
		open = open && reaches(all, s)
		if _, breached := breach(all, true, foreign, s); breached {
			shut = false
		}
		a.Ways = append(a.Ways, all...)
	}
	switch {
	case open:
		a.State = Open
	case shut:
		a.State = Blocked
	default:
		a.State = Partly
	}
	a.Ways = merged(a.Ways, p.nodes[to] == nil)
	a.StandIns = p.stoodIn(a.Ways)
	if len(a.Ways) == 0 {
		a.Why = nowhere
	}
	return a, nil
}

const nowhere = "they have no family of addresses in common, and no way leads there"

// byLabctl says of what somebody outside the lab can do that only labctl itself, who comes from there, can.
func byLabctl(v Verdict) bool {
	return v.Allowed && v.Decision.Origin.Kind == nft.Implied && v.Decision.Origin.Path == nft.AdminPath
}

// merged puts verdicts together that differ in ports and sources only: one fate, one way, one destination. With
// anywhere the destination is outside the lab, where addresses do not matter.
func merged(all []Verdict, anywhere bool) []Verdict {
	at := map[string]int{}
	var out []Verdict
	for _, v := range all {
		dst := v.Packet.Dst
		if anywhere {
			dst = netip.Addr{}
		}
		k := fmt.Sprint(v.Allowed, v.Lost, v.Usual, dst, v.Packet.Dst.Is6(), v.Packet.Proto, v.Decision, v.Path, v.Back)
		i, seen := at[k]
		if !seen {
			at[k] = len(out)
			out = append(out, v)
			continue
		}
		if o := out[i].Packet; v.Packet.Dport < o.Dport || v.Packet.Dport == o.Dport && public(v.Packet) && !public(o) {
			out[i].Packet = v.Packet
		}
		for _, port := range v.Ports {
			if !slices.Contains(out[i].Ports, port) {
				out[i].Ports = append(out[i].Ports, port)
			}
		}
		out[i].Sources = max(out[i].Sources, v.Sources)
	}
	slices.SortStableFunc(out, func(a, b Verdict) int {
		return cmp.Or(rank(b.Usual)-rank(a.Usual), rank(b.Allowed)-rank(a.Allowed), rank(a.Packet.Dst.IsLinkLocalUnicast())-rank(b.Packet.Dst.IsLinkLocalUnicast()),
			a.Packet.Dst.Compare(b.Packet.Dst), strings.Compare(a.Packet.Proto, b.Packet.Proto))
	})
	return out
}

// public says whether a packet has a well-known address, which is a better example than any other.
func public(k Packet) bool {
	return slices.ContainsFunc(known, func(a netip.Addr) bool { return k.Src == a || k.Dst == a })
}

// stoodIn are the uplinks whose made-up addresses packets have.
func (p *Proof) stoodIn(ways []Verdict) map[string]netip.Prefix {
	out := map[string]netip.Prefix{}
	for name, prefix := range p.standIn {
		for _, v := range ways {
			nat := slices.ContainsFunc(v.Path, func(s Step) bool { return s.NAT != "" && (s.In == name || s.Out == name) })
			if prefix.IsValid() && (nat || prefix.Contains(v.Packet.Src) || prefix.Contains(v.Packet.Dst)) {
				out[name] = prefix
			}
		}
	}
	return out
}

func rank(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

package live

import (
	"slices"
	"strings"
)

// Group is verdicts of one kind about two machines, in one direction, that the same rule decides on the same path: what
// a single cause usually makes. They agree in all that Question says but the network, the packet and its judges.
type Group struct {
	From     string
	To       string
	Kind     Kind
	Verdicts []Verdict // at least one
}

// Groups are verdicts in their groups, in the order in which the first of each comes.
func Groups(verdicts []Verdict) []Group {
	type key struct {
		from, to, decision, path, by, detail string
		kind                                 Kind
		open                                 bool
		port                                 uint16
	}
	var out []Group
	at := map[key]int{}
	for _, v := range verdicts {
		k := key{from: v.From, to: v.To, kind: v.Kind, open: v.Open, decision: v.Decision.String(), path: strings.Join(v.Path, " ")}
		if v.By != v.To { // a published port leads to one place
			k.by, k.port = v.By, v.Port
		}
		switch v.Kind {
		case Elsewhere:
			k.detail = v.Answer.By
		case Unanswered:
			k.detail = v.Answer.Detail
		}
		i, ok := at[k]
		if !ok {
			i = len(out)
			at[k] = i
			out = append(out, Group{From: v.From, To: v.To, Kind: v.Kind})
		}
		out[i].Verdicts = append(out[i].Verdicts, v)
	}
	return out
}

// Asked is what was asked of one or more addresses alike.
type Asked struct {
	Services []string // "icmp", "tcp/22", in the order of the verdicts
	Places   []Places
}

// Places are addresses on one network.
type Places struct {
	Network   string
	Addresses []string
}

// Asked are the questions of a group, those together that are the same but for the address.
func (g Group) Asked() []Asked {
	services := map[string][]string{} // by address
	networks := map[string]string{}
	var addresses []string
	for _, v := range g.Verdicts {
		a := v.Packet.Dst.String()
		if services[a] == nil {
			addresses = append(addresses, a)
			networks[a] = v.Network
		}
		services[a] = append(services[a], v.Service())
	}
	var out []Asked
	for _, a := range addresses {
		i := slices.IndexFunc(out, func(x Asked) bool { return slices.Equal(x.Services, services[a]) })
		if i < 0 {
			i = len(out)
			out = append(out, Asked{Services: services[a]})
		}
		places := out[i].Places
		j := slices.IndexFunc(places, func(p Places) bool { return p.Network == networks[a] })
		if j < 0 {
			j = len(places)
			places = append(places, Places{Network: networks[a]})
		}
		places[j].Addresses = append(places[j].Addresses, a)
		out[i].Places = places
	}
	return out
}

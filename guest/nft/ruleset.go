// Package nft is a machine's packet filter as a value: the policy of a lab compiled for one router or host, rendered
// for nftables by Render, and evaluated by check/reach, which reads the same value. Nothing else knows what the policy
// means, so what is proven and what runs cannot differ.
//
// It must not know how a ruleset gets into a machine, nor how packets find their way: lab.Topology says that.
package nft

import (
	"net/netip"
	"slices"

	"github.com/labctl-dev/labctl/lab"
)

// Ruleset is the whole of a machine's filter: one table of family inet called Table, and nothing outside it.
type Ruleset struct {
	Machine string  `json:"machine"`
	Chains  []Chain `json:"chains"`
}

// Table is the name of the table that belongs to labctl. Others in the machine are left alone.
const Table = "labctl"

// Chain is one base chain.
type Chain struct {
	Name  string `json:"name"`
	Hook  Hook   `json:"hook"`
	NAT   bool   `json:"nat,omitempty"`  // of type nat: asked for the first packet of a connection only
	Drop  bool   `json:"drop,omitempty"` // what no rule decides is dropped; else accepted
	Rules []Rule `json:"rules,omitempty"`
}

// Hook is the point of a packet's way at which a chain is asked.
type Hook string

// The hooks, in the order a forwarded packet meets them. Early is before connection tracking.
const (
	Early   Hook = "early"   // prerouting, priority raw
	Arrive  Hook = "arrive"  // prerouting, priority dstnat
	Input   Hook = "input"   // for the machine itself
	Forward Hook = "forward" // through it
	Leave   Hook = "leave"   // postrouting, priority srcnat
)

// Rule is one rule: what it matches, and what it does. Every rule counts.
type Rule struct {
	Match  Match          `json:"match"`
	Log    bool           `json:"log,omitempty"`
	Action Action         `json:"action"`
	To     netip.AddrPort `json:"to,omitzero"` // of DNAT
	Origin Origin         `json:"origin"`      // why it is there
}

// Origin is what a rule is there for.
type Origin struct {
	Kind Kind   `json:"kind"`
	Name string `json:"name"`           // of the policy's rule, else a few words
	Path string `json:"path,omitempty"` // in the spec
	// Says stands for Name in the running ruleset, where Name only counts the rules before it in the spec.
	Says string `json:"says,omitempty"`
}

// Chore says whether the rule is there so that the machine gets its addresses or can be looked after, which is nobody's
// business but the lab's own.
func (o Origin) Chore() bool {
	return o.Kind == Implied && slices.Contains([]string{AdminName, uplinkAddress, givenAddress, givesV4, givesV6}, o.Name)
}

// Kind is the kind of an Origin.
type Kind string

// The kinds of origins.
const (
	FromPolicy   Kind = "policy"  // a rule of the policy
	FromPublish  Kind = "publish" // a published port
	FromNAT      Kind = "nat"     // masquerading
	Implied      Kind = "implied" // what the lab needs for itself
	AntiSpoof    Kind = "spoof"   // addresses that cannot come from there
	Connections  Kind = "state"   // what belongs to an open connection, and what belongs to none
	DefaultRule  Kind = "default" // nothing else allowed it
	Housekeeping Kind = "link"    // the link itself: loopback, neighbour discovery
	Outside      Kind = "filter"  // no rule of a machine: of what its host filters before packets get there
)

// Action is what a rule does.
type Action string

// The actions. All end the chain.
const (
	Accept     Action = "accept"
	Drop       Action = "drop"
	DNAT       Action = "dnat"
	Masquerade Action = "masquerade"
)

// Match is a conjunction; what is empty matches everything.
type Match struct {
	In     []string  `json:"in,omitempty"`     // networks, or Loopback
	Out    []string  `json:"out,omitempty"`    // networks
	V6     bool      `json:"v6,omitempty"`     // the family of Src and Dst, and of the packet if Family
	Family bool      `json:"family,omitempty"` // only packets of the family V6 says; implied by Src, Dst and ICMP
	Src    Addrs     `json:"src,omitzero"`
	Dst    Addrs     `json:"dst,omitzero"`
	Proto  lab.Proto `json:"proto,omitempty"` // TCP, UDP, ICMP (ICMPv6 with V6); "" is any
	Sport  []Ports   `json:"sport,omitempty"`
	Dport  []Ports   `json:"dport,omitempty"` // of ICMP the types
	State  []State   `json:"state,omitempty"`
	DNATed bool      `json:"dnated,omitempty"` // the connection's destination was translated here
	Local  bool      `json:"local,omitempty"`  // the destination is an address of the machine, known or not
}

// Addrs is a set of addresses, or with Not everything else of the family; no Prefixes is no condition.
type Addrs struct {
	Not      bool           `json:"not,omitempty"`
	Prefixes []netip.Prefix `json:"prefixes,omitempty"` // sorted, none within another
}

// Ports is an inclusive range of ports.
type Ports struct {
	From uint16 `json:"from"`
	To   uint16 `json:"to"`
}

// State is what connection tracking says of a packet.
type State string

// The states. What is tracked and neither of the others is New.
const (
	New         State = "new"
	Established State = "established"
	Related     State = "related"
	Invalid     State = "invalid"
)

// Package live asks the questions of the proof again: it says what to ask in the running lab and what the proof says
// about it, and compares that with what came back.
//
// It is pure: it must not know how a question is asked, and reaches no machine. What it asks are single packets, picked
// so that every declared service of every pair of machines is among them; exact for all packets is the proof alone.
package live

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/labctl-dev/labctl/check/reach"
	"github.com/labctl-dev/labctl/lab"
)

// Question is one connection that a machine of the lab tries to open.
type Question struct {
	From    string `json:"from"`
	To      string `json:"to"`      // the machine whose address is asked
	Network string `json:"network"` // on which it has that address
	// Packet is what is sent. Src is what the proof expects the kernel to choose, none where it expects no way at all.
	Packet   reach.Packet   `json:"packet"`
	Open     bool           `json:"open"`             // what the proof says
	By       string         `json:"by,omitempty"`     // who answers if it is open: not To where a port is published
	Port     uint16         `json:"port,omitempty"`   // and on which port
	Decision reach.Decision `json:"decision"`         // what decides
	Path     []string       `json:"path,omitempty"`   // the machines that it comes to, as far as it gets
	Judges   []string       `json:"judges,omitempty"` // the machines with rulesets that it meets or would meet
	// StandIn says that Packet.Dst stands for an address that is known only in the running machine.
	StandIn bool `json:"stand_in,omitempty"`
}

// Service is what is asked for: "icmp" is an echo request, "tcp/22" a connection.
func (q Question) Service() string {
	if q.Packet.Dport == 0 {
		return q.Packet.Proto
	}
	return fmt.Sprintf("%s/%d", q.Packet.Proto, q.Packet.Dport)
}

// Set is everything that is asked.
type Set struct {
	Questions []Question    `json:"questions"`         // sorted by From, To, and what is asked
	Services  []lab.Service `json:"services"`          // the declared ones that they are about
	Off       []string      `json:"off"`               // machines that are to be off: nobody asks them
	Adopted   []string      `json:"adopted,omitempty"` // adopted and external machines, off or on: labctl runs nothing in them
	// World is how many flows of the proof have the world at one end. Nobody asks these: guests must not call out.
	World int `json:"world"`
	// Undecided is how many were left out because the proof's answer depends on the source port.
	Undecided int `json:"undecided,omitempty"`
}

// Askers is how many machines ask.
func (s Set) Askers() int {
	by := map[string]bool{}
	for _, q := range s.Questions {
		by[q.From] = true
	}
	return len(by)
}

// Scope limits what is asked. The zero Scope is everything.
type Scope struct {
	From, To string
	// About, if not nil, are the machines of which each question must have one: as an end or on its way.
	About []string
	// Among, if not nil, are the machines that there are.
	Among []string
}

// Answer is what came of a question.
type Answer struct {
	State  State      `json:"state"`
	Source netip.Addr `json:"source,omitzero"`  // that the kernel chose; zero where it chose none
	By     string     `json:"by,omitempty"`     // the machine that answered, where it could be made to say so
	Detail string     `json:"detail,omitempty"` // how it went, or why it was not asked
}

// State is what an Answer says.
type State string

// The states of answers.
const (
	Opened  State = "open"
	Stopped State = "blocked"
	Exempt  State = "exempt" // nothing that could be asked would say anything, and why
	Unasked State = "unasked"
)

// Kind is what comparing an answer with the proof comes to.
type Kind string

// The kinds of verdicts.
const (
	Agrees     Kind = "agrees"
	Blocked    Kind = "blocked though proven open"
	Open       Kind = "open though proven blocked"
	Elsewhere  Kind = "answered by another machine"
	Exempted   Kind = "exempt"
	Unanswered Kind = "not asked"
)

// Verdict is a question, its answer, and whether the lab does what was proven.
type Verdict struct {
	Question
	Answer   Answer    `json:"answer"`
	Kind     Kind      `json:"kind"`
	Counters []Counted `json:"counters,omitempty"` // what the judges counted when it was asked once more
}

// Counted is what one machine's ruleset did while a question was asked.
type Counted struct {
	Machine string   `json:"machine"`
	Rules   []Count  `json:"rules,omitempty"`   // whose counters moved
	Remarks []string `json:"remarks,omitempty"` // that none did, there is no ruleset, or rules that labctl did not make
}

// Count is one rule's part in it. As text, and so as JSON, it is "forward: policy: admin +3".
type Count struct {
	Rule    string // its chain, and what it is
	Packets uint64
}

func (c Count) String() string { return c.Rule + " +" + strconv.FormatUint(c.Packets, 10) }

// MarshalText is String.
func (c Count) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what String writes.
func (c *Count) UnmarshalText(b []byte) error {
	s := string(b)
	i := strings.LastIndex(s, " +")
	if i < 0 {
		return fmt.Errorf("cannot read the count %q: it does not end in the number of packets", s)
	}
	n, err := strconv.ParseUint(s[i+2:], 10, 64)
	if err != nil {
		return fmt.Errorf("cannot read the count %q: %w", s, err)
	}
	c.Rule, c.Packets = s[:i], n
	return nil
}

// Failed says whether the verdict is no success: the lab does something else, or it could not be asked.
func (v Verdict) Failed() bool { return v.Kind != Agrees && v.Kind != Exempted }

// Disagrees says whether the running lab does something else than was proven.
func (v Verdict) Disagrees() bool { return v.Kind == Blocked || v.Kind == Open || v.Kind == Elsewhere }

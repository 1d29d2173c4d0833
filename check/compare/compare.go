// Package compare says what changes from one lab to another: what its policy comes to, by the proof of both, and what it
// is made of.
//
// It must not know files, revisions or positions (what it names has the spec's paths), nor any hypervisor: what a change
// costs on one is the plan's to say.
package compare

import (
	"fmt"

	"github.com/labctl-dev/labctl/check/reach"
	"github.com/labctl-dev/labctl/lab"
)

// Diff is what changes from one lab to another.
type Diff struct {
	Before string `json:"before"` // the lab's name, "" if there was none
	After  string `json:"after"`  // "" if there is none any more
	reach.Difference
	Expect []Held  `json:"expect"` // expectations that came, went, or hold no longer or again
	Things []Thing `json:"things"` // what the lab is made of, sorted by kind and name
}

// Empty says whether nothing changes.
func (d Diff) Empty() bool {
	return len(d.Opens)+len(d.Closes)+len(d.Expect)+len(d.Things) == 0
}

// Held is an expectation of one or both labs.
type Held struct {
	Path   string `json:"path"`             // in the spec
	Text   string `json:"text"`             // "world never reaches any on db"
	Before State  `json:"before,omitempty"` // "" where the lab does not have it
	After  State  `json:"after,omitempty"`
}

// State is whether an expectation holds.
type State string

// The states.
const (
	Holds  State = "holds"
	Broken State = "broken"
)

// Thing is a part of a lab that came, went or changed.
type Thing struct {
	Kind   string `json:"kind"` // "network", "router", "server", "rule", "target", ...
	Name   string `json:"name"`
	Action Action `json:"action"`
	Facts  []Fact `json:"facts,omitempty"` // of what changed; and of what came: a machine's networks, what a rule says
}

// Action is what became of a Thing.
type Action string

// The actions.
const (
	Added   Action = "added"
	Removed Action = "removed"
	Changed Action = "changed"
)

// Fact is one field of a Thing; a side that is "" does not have it.
type Fact struct {
	Field  string `json:"field"` // "memory", "nics.office.addr"
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// Labs compares two labs by their proofs. A lab that is not there is one without anything in it.
func Labs(before, after lab.Lab, then, now *reach.Proof) (Diff, error) {
	d := Diff{Before: before.Name, After: after.Name, Difference: reach.Compare(then, now), Things: things(before, after)}
	var err error
	d.Expect, err = expectations(before, after, then, now)
	return d, err
}

// expectations are those that only one lab has, and those that hold in one only.
func expectations(before, after lab.Lab, then, now *reach.Proof) ([]Held, error) {
	out := []Held{}
	at := map[string]int{}
	for which, side := range []struct {
		lab   lab.Lab
		proof *reach.Proof
	}{{before, then}, {after, now}} {
		for _, e := range side.lab.Expect {
			broken, err := side.proof.Expect(e)
			if err != nil {
				return nil, fmt.Errorf("cannot ask whether %s holds: %w", e.Path, err)
			}
			state := Holds
			if len(broken) > 0 {
				state = Broken
			}
			text := said(e)
			i, seen := at[text]
			if !seen {
				i = len(out)
				at[text] = i
				out = append(out, Held{Text: text})
			}
			out[i].Path = e.Path
			if which == 0 {
				out[i].Before = state
			} else {
				out[i].After = state
			}
		}
	}
	kept := out[:0]
	for _, h := range out {
		if h.Before != h.After {
			kept = append(kept, h)
		}
	}
	return kept, nil
}

// said is an expectation in words.
func said(e lab.Expectation) string {
	verb := "reaches"
	if e.Never {
		verb = "never reaches"
	}
	var services []string
	for _, s := range e.Services {
		services = append(services, s.String())
	}
	return fmt.Sprintf("%s %s %s on %s", list(e.From), verb, list(services), list(e.On))
}

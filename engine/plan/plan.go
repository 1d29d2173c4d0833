// Package plan compares what should exist with what does, and says what would change and what each change costs.
//
// It is pure and knows addresses and attributes, nothing else: no hypervisor, no guest, no execution.
package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/labctl-dev/labctl/engine/room"
	"github.com/labctl-dev/labctl/provider"
)

// Plan is the difference between a lab and the world.
type Plan struct {
	Lab       string   `json:"lab"`
	Target    string   `json:"target"`
	Destroy   bool     `json:"destroy,omitempty"`
	Changes   []Change `json:"changes"` // by kind in creation order, then by name
	Unchanged int      `json:"unchanged"`
	// Deferred are differences that cannot be mended now and are no drift: the inside of a machine that is to be off.
	Deferred []Deferred `json:"deferred,omitempty"`
	// Room is whether what it starts and makes has room on its host; nil where that was not asked or is not known.
	Room *room.Verdict `json:"room,omitempty"`
	// Cost is an estimate of what the lab costs once this is done; nil where that was not asked or is not known.
	Cost *Cost `json:"cost,omitempty"`
	// Advice is what would make it cheaper, for people; whoever knows more than the plan adds it.
	Advice  []string `json:"advice,omitempty"`
	Desired string   `json:"desired"` // digest of the resources that the lab is made of
	World   string   `json:"world"`   // digest of what was observed
}

// Change is one thing that would change.
type Change struct {
	Addr    provider.Addr   `json:"addr"`
	Machine string          `json:"machine,omitempty"`
	Action  Action          `json:"action"`
	Impact  provider.Impact `json:"impact,omitempty"` // empty for create and delete
	Reasons []Reason        `json:"reasons,omitempty"`
	// Why is what Input.Why says of it.
	Why string `json:"why,omitempty"`
	// DataLoss says that what users wrote on it is lost.
	DataLoss bool `json:"data_loss,omitempty"`
	// DataKept says that it is gone from the lab but kept aside, for it is protected (provider.Provider's Delete).
	DataKept bool `json:"data_kept,omitempty"`
	// CutOff names the machines that lose connections meanwhile.
	CutOff []string `json:"cut_off,omitempty"`
	// Move says that the machine gives up its place on a network, and who loses it. It stands at the last of the
	// machine's changes that move it.
	Move *Move `json:"move,omitempty"`
	// Follows are changes of this plan that are made before this one, though it needs nothing of what they make. If they
	// fail it is not made either.
	Follows []provider.Addr `json:"follows,omitempty"`
	// Refused says why apply does not do this unless it is told so by name.
	Refused string `json:"refused,omitempty"`
	// Before and After are the thing as it is and as it should be.
	Before *provider.Observed `json:"before,omitempty"`
	After  *provider.Resource `json:"after,omitempty"`
}

// Action is what would be done.
type Action string

// Removes says whether the action begins with the provider's Delete, and Puts whether it ends with Create or Update.
func (a Action) Removes() bool { return a == Delete || a == Replace || a == Release }

// Puts is the other half of Removes.
func (a Action) Puts() bool { return a != Delete && a != Release }

// The actions.
const (
	Create  Action = "create"
	Update  Action = "update"
	Replace Action = "replace" // deleted and created again, whether the impact is reboot, reinstall or replace
	Delete  Action = "delete"
	Adopt   Action = "adopt"   // marked as the lab's, and else left as it is
	Release Action = "release" // what was adopted is no longer marked, and stays
)

// Reason is one attribute that differs, another change that forces this one, or somebody's wish.
type Reason struct {
	Attr    string          `json:"attr,omitempty"`
	Before  any             `json:"before,omitempty"`
	After   any             `json:"after,omitempty"`
	Impact  provider.Impact `json:"impact"`
	Because *provider.Addr  `json:"because,omitempty"` // made again, and this needs it
	Asked   bool            `json:"asked,omitempty"`   // nothing differs, but it was asked for by name (Input.Remake)
}

// Deferred is a difference that waits.
type Deferred struct {
	Addr provider.Addr `json:"addr"`
	Why  string        `json:"why"`
}

// Empty says whether nothing would change.
func (p Plan) Empty() bool { return len(p.Changes) == 0 }

// Refusals are the changes that apply refuses.
func (p Plan) Refusals() []Change {
	var r []Change
	for _, c := range p.Changes {
		if c.Refused != "" {
			r = append(r, c)
		}
	}
	return r
}

// Impact is the highest impact of p on the machine called name, and how many changes concern it.
func (p Plan) Impact(name string) (provider.Impact, int) {
	var highest provider.Impact
	n := 0
	for _, c := range p.Changes {
		if c.Machine != name {
			continue
		}
		n++
		if c.Impact.Rank() > highest.Rank() {
			highest = c.Impact
		}
	}
	return highest, n
}

// Moved says how the world or the spec differ from when saved was made, or "" if apply may go ahead with it.
func Moved(saved, now Plan) string {
	switch {
	case saved.Lab != now.Lab || saved.Target != now.Target:
		return fmt.Sprintf("it was made for lab %s on target %s", saved.Lab, saved.Target)
	case saved.Desired != now.Desired:
		return "the spec has changed since it was made"
	case saved.World != now.World:
		return "the world has moved since it was made"
	}
	return ""
}

func digestResources(rs []provider.Resource) string {
	clean := make([]provider.Resource, len(rs))
	for i, r := range rs {
		r.Seed = nil
		clean[i] = r
	}
	return digest(clean)
}

func digestObserved(os []provider.Observed) string {
	clean := make([]provider.Observed, len(os))
	for i, o := range os {
		o.Outputs = nil // a new process id is no news
		clean[i] = o
	}
	return digest(clean)
}

func digest(v any) string {
	b, err := json.Marshal(v)
	if err != nil { // attributes are JSON values by contract
		return "unprintable: " + err.Error()
	}
	h := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(h[:])
}

package provider

import (
	"fmt"
	"slices"
)

// Kind describes one kind of resource.
type Kind struct {
	Name  string          `json:"name"`
	Attrs map[string]Attr `json:"attrs"` // every attribute that Expand or Observe may name
	// RemadeWith lists kinds: when a resource of one of them that this one needs is deleted and created again, so is
	// this one (a machine whose root disk is remade).
	RemadeWith []string `json:"remade_with,omitempty"`
	Data       bool     `json:"data,omitempty"`    // holds what its users wrote: deleting it loses data
	Machine    bool     `json:"machine,omitempty"` // is a running machine: healthy when its guest is, see Guest
	// Guest marks the kind that stands for the inside of a machine. The engine converges the guest over ssh and only
	// then calls Create or Update, by which the provider records the digest on the machine; so a digest that can be
	// observed was once true inside. Before it changes the inside of one that was converged, it calls Update with another
	// word in the digest's place, which no seed has.
	Guest  bool `json:"guest,omitempty"`
	Seeded bool `json:"seeded,omitempty"` // Create and Update get Resource.Seed
}

// Attr describes what changing an attribute costs.
type Attr struct {
	Impact Impact `json:"impact"`
	// Lower, if set, is the impact when the attribute is a number that becomes smaller (a disk cannot shrink).
	Lower Impact `json:"lower,omitempty"`
	// Place marks an attribute of a machine or its guest that says where on the lab's networks others find it: an object
	// of addresses by network, or a list of objects that each have a "network". Whoever talks to the machine loses it
	// where its place changes, until the new one is in use; a plan names them.
	Place bool `json:"place,omitempty"`
	// Alike lists values between which a change is Live whatever Impact says: the states of a machine's power that keep
	// its boot ("on", "suspended", "saved"). A provider lists those that it can bring about.
	Alike []string `json:"alike,omitempty"`
}

// Cost is the impact of changing the attribute from one value to another.
func (a Attr) Cost(before, after any) Impact {
	b, ok1 := before.(float64)
	n, ok2 := after.(float64)
	if ok1 && ok2 && n < b && a.Lower != None {
		return a.Lower
	}
	from, ok1 := before.(string)
	to, ok2 := after.(string)
	if ok1 && ok2 && slices.Contains(a.Alike, from) && slices.Contains(a.Alike, to) {
		return Live
	}
	return a.Impact
}

// Impact is what a change costs, and a promise: a live change keeps the machine's boot id and every connection. (While a
// machine is suspended or saved nobody gets an answer; a plan names who that is.)
type Impact string

// The impacts in rising cost.
const (
	None        Impact = ""
	Live        Impact = "live"        // nobody notices
	Reconfigure Impact = "reconfigure" // files or services inside the guest, no reboot
	Reboot      Impact = "reboot"      // the machine stops and starts, or one of both; disks stay
	Reinstall   Impact = "reinstall"   // the root disk is lost, identity and addresses are kept
	Replace     Impact = "replace"     // deleted and created again
)

// Rank orders impacts by cost, None first; an unknown impact costs most.
func (i Impact) Rank() int {
	for n, k := range []Impact{None, Live, Reconfigure, Reboot, Reinstall, Replace} {
		if i == k {
			return n
		}
	}
	return 6
}

// Kind returns the description of the kind called name.
func (d Description) Kind(name string) (Kind, bool) {
	for _, k := range d.Kinds {
		if k.Name == name {
			return k, true
		}
	}
	return Kind{}, false
}

// Rank is the place of a kind in creation order; an unknown kind comes last.
func (d Description) Rank(kind string) int {
	for i, k := range d.Kinds {
		if k.Name == kind {
			return i
		}
	}
	return len(d.Kinds)
}

// Has says whether the provider has an ability.
func (d Description) Has(a Ability) bool {
	for _, x := range d.Abilities {
		if x == a {
			return true
		}
	}
	return false
}

// Check returns an error that names the first attribute of r that its kind does not describe.
func (d Description) Check(r Resource) error {
	k, ok := d.Kind(r.Addr.Kind)
	if !ok {
		return &Error{Op: "expand", Addr: r.Addr, Code: Internal, Text: fmt.Sprintf("provider %s describes no kind %q", d.Name, r.Addr.Kind)}
	}
	for name := range r.Attrs {
		if _, ok := k.Attrs[name]; !ok {
			return &Error{Op: "expand", Addr: r.Addr, Code: Internal, Text: fmt.Sprintf("provider %s describes no attribute %q of kind %s", d.Name, name, k.Name)}
		}
	}
	return nil
}

package plan

import (
	"fmt"
	"reflect"
	"sort"

	"github.com/labctl-dev/labctl/provider"
)

// Input is what a plan is made from.
type Input struct {
	Description provider.Description
	Desired     []provider.Resource
	Observed    []provider.Observed
	// Only, if not empty, limits the plan to resources, machines or addresses of these names, and what they need.
	Only []string
	// Allow names resources, machines or addresses whose reinstall, replacement or deletion is not refused.
	Allow []string
	// Attr, if not empty, limits the plan to this attribute of things that exist ("power" for start and stop).
	Attr string
}

// Compute makes the plan. An error means that the provider broke its contract.
func Compute(in Input) (Plan, error) {
	c := computation{Input: in, desired: map[provider.Addr]provider.Resource{}, observed: map[provider.Addr]provider.Observed{}, changes: map[provider.Addr]*Change{}}
	if err := c.index(); err != nil {
		return Plan{}, err
	}
	c.compare()
	if in.Attr == "" {
		c.spread()
	}
	c.deferGuests()
	c.selectOnly()
	p := Plan{Desired: digestResources(in.Desired), World: digestObserved(in.Observed), Changes: []Change{}, Deferred: c.deferred}
	for _, ch := range c.changes {
		c.cost(ch)
		p.Changes = append(p.Changes, *ch)
	}
	sort.Slice(p.Changes, func(i, j int) bool { return in.less(p.Changes[i].Addr, p.Changes[j].Addr) })
	for a := range c.desired {
		if _, exists := c.observed[a]; exists && c.changes[a] == nil {
			p.Unchanged++
		}
	}
	return p, nil
}

type computation struct {
	Input
	desired  map[provider.Addr]provider.Resource
	observed map[provider.Addr]provider.Observed
	changes  map[provider.Addr]*Change
	deferred []Deferred
}

func (in Input) less(a, b provider.Addr) bool {
	if ra, rb := in.Description.Rank(a.Kind), in.Description.Rank(b.Kind); ra != rb {
		return ra < rb
	}
	return a.Compare(b) < 0
}

// index fills the maps and refuses what the contract forbids.
func (c *computation) index() error {
	for _, r := range c.Desired {
		if err := c.Description.Check(r); err != nil {
			return err
		}
		if _, twice := c.desired[r.Addr]; twice {
			return contract(r.Addr, "is expanded twice")
		}
		c.desired[r.Addr] = r
	}
	for _, r := range c.Desired {
		for _, n := range r.Needs {
			if _, ok := c.desired[n]; !ok {
				return contract(r.Addr, fmt.Sprintf("needs %s, which the provider does not expand", n))
			}
		}
	}
	for _, o := range c.Observed {
		if _, twice := c.observed[o.Addr]; twice {
			return contract(o.Addr, "is observed twice")
		}
		c.observed[o.Addr] = o
	}
	return nil
}

func contract(a provider.Addr, what string) error {
	return &provider.Error{Op: "plan", Addr: a, Code: provider.Internal, Text: "the provider breaks its contract: it " + what}
}

// compare finds what to create, update and delete by looking at each address alone.
func (c *computation) compare() {
	for a, r := range c.desired {
		o, exists := c.observed[a]
		switch {
		case exists:
			c.diff(o, r)
		case c.Attr == "":
			c.changes[a] = &Change{Addr: a, Machine: r.Machine, Action: Create, After: &r}
		}
	}
	if c.Attr != "" {
		return
	}
	for a, o := range c.observed {
		if _, wanted := c.desired[a]; !wanted && !o.Shared {
			c.changes[a] = &Change{Addr: a, Machine: o.Machine, Action: Delete, Before: &o}
		}
	}
}

// diff makes the change from o to r, if there is one.
func (c *computation) diff(o provider.Observed, r provider.Resource) {
	if c.Attr != "" {
		only := provider.Attrs{}
		for k, v := range o.Attrs {
			only[k] = v
		}
		if v, ok := r.Attrs[c.Attr]; ok {
			only[c.Attr] = v
		}
		r.Attrs = only
	}
	kind, _ := c.Description.Kind(r.Addr.Kind)
	reasons := differences(kind, o.Attrs, r.Attrs)
	if len(reasons) == 0 {
		return
	}
	ch := &Change{Addr: r.Addr, Machine: r.Machine, Action: Update, Reasons: reasons, Before: &o, After: &r}
	for _, reason := range reasons {
		if reason.Impact.Rank() > ch.Impact.Rank() {
			ch.Impact = reason.Impact
		}
	}
	if ch.Impact.Rank() >= provider.Reinstall.Rank() {
		ch.Action = Replace
	}
	c.changes[r.Addr] = ch
}

// differences lists the attributes that differ, by name.
func differences(k provider.Kind, before, after provider.Attrs) []Reason {
	var names []string
	for n := range before {
		names = append(names, n)
	}
	for n := range after {
		if _, ok := before[n]; !ok {
			names = append(names, n)
		}
	}
	sort.Strings(names)
	var rs []Reason
	for _, n := range names {
		b, a := before[n], after[n]
		if reflect.DeepEqual(b, a) {
			continue
		}
		rs = append(rs, Reason{Attr: n, Before: b, After: a, Impact: impact(k.Attrs[n], b, a)})
	}
	return rs
}

func impact(attr provider.Attr, before, after any) provider.Impact {
	b, ok1 := before.(float64)
	a, ok2 := after.(float64)
	switch {
	case ok1 && ok2 && a < b && attr.Lower != provider.None:
		return attr.Lower
	case attr.Impact == provider.None: // observed, but not described: the provider knows a thing we do not
		return provider.Replace
	}
	return attr.Impact
}

// spread makes again what cannot outlive a thing that is made (again): a machine whose root disk is new.
func (c *computation) spread() {
	for again := true; again; {
		again = false
		for a, r := range c.desired {
			o, exists := c.observed[a]
			ch := c.changes[a]
			if !exists || ch != nil && ch.Action == Replace {
				continue
			}
			kind, _ := c.Description.Kind(a.Kind)
			cause := c.remaker(kind, r)
			if cause == nil {
				continue
			}
			if ch == nil {
				ch = &Change{Addr: a, Machine: r.Machine, Before: &o, After: &r}
				c.changes[a] = ch
			}
			because := cause.Addr
			reason := Reason{Because: &because, Impact: cause.Impact}
			if cause.Action == Create { // what it needs was gone already: nothing more is lost by starting over
				reason.Impact = provider.Reboot
			}
			ch.Action, ch.Reasons = Replace, append(ch.Reasons, reason)
			if reason.Impact.Rank() > ch.Impact.Rank() {
				ch.Impact = reason.Impact
			}
			again = true
		}
	}
}

// remaker is the first change, in order, that forces r to be made again; nil if there is none.
func (c *computation) remaker(k provider.Kind, r provider.Resource) *Change {
	needs := append([]provider.Addr(nil), r.Needs...)
	sort.Slice(needs, func(i, j int) bool { return c.less(needs[i], needs[j]) })
	for _, n := range needs {
		ch := c.changes[n]
		if ch == nil || ch.Action != Replace && ch.Action != Create {
			continue
		}
		for _, kind := range k.RemadeWith {
			if kind == n.Kind {
				return ch
			}
		}
	}
	return nil
}

// deferGuests takes out changes inside machines that are to be off: there is nobody to talk to.
func (c *computation) deferGuests() {
	off := map[string]bool{}
	for a, r := range c.desired {
		if k, _ := c.Description.Kind(a.Kind); k.Machine && r.Attrs["power"] == "off" {
			off[r.Machine] = true
		}
	}
	for a, ch := range c.changes {
		if k, _ := c.Description.Kind(a.Kind); k.Guest && off[ch.Machine] && ch.Action != Delete {
			c.deferred = append(c.deferred, Deferred{Addr: a, Why: fmt.Sprintf("machine %s is to be off", ch.Machine)})
			delete(c.changes, a)
		}
	}
	sort.Slice(c.deferred, func(i, j int) bool { return c.less(c.deferred[i].Addr, c.deferred[j].Addr) })
}

// selectOnly keeps the changes that Only names, what those need, and what is made again with them.
func (c *computation) selectOnly() {
	if len(c.Only) == 0 {
		return
	}
	keep := map[provider.Addr]bool{}
	for a, ch := range c.changes {
		if named(c.Only, a, ch.Machine) {
			keep[a] = true
		}
	}
	for grown := true; grown; {
		grown = false
		for a, ch := range c.changes {
			for _, n := range needs(ch) {
				other := c.changes[n]
				if other == nil || keep[a] == keep[n] {
					continue
				}
				remade := other.Action == Replace && ch.Action == Replace
				if keep[a] && other.Action != Delete || keep[n] && (remade || other.Action == Delete) {
					keep[a], keep[n], grown = true, true, true
				}
			}
		}
	}
	for a := range c.changes {
		if !keep[a] {
			delete(c.changes, a)
		}
	}
}

// needs lists what ch holds on to, before or after.
func needs(ch *Change) []provider.Addr {
	var all []provider.Addr
	if ch.Before != nil {
		all = append(all, ch.Before.Needs...)
	}
	if ch.After != nil {
		all = append(all, ch.After.Needs...)
	}
	return all
}

// named says whether one of names means the thing at a: its address, its name, or its machine's.
func named(names []string, a provider.Addr, machine string) bool {
	for _, n := range names {
		if n == a.String() || n == a.Name || n == a.Kind+"/"+a.Name || machine != "" && n == machine {
			return true
		}
	}
	return false
}

package plan

import (
	"fmt"
	"reflect"
	"slices"
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
	// Remake are things that are made again, where they exist, although nothing of them differs: reinstalled.
	Remake []provider.Addr
	// Attr, if not empty, limits the plan to this attribute of things that exist ("power" for start and stop).
	Attr string
	// Behind names by machine the routers that it is behind. With Attr "power" those are up before it, and down after.
	Behind map[string][]string
	// Waits names by machine those that its inside waits for: these come first, where they do not wait for each other.
	Waits map[string][]string
	// Installed names by machine the one that installs it from the network: its inside comes before the other is started.
	Installed map[string]string
	// Why says by machine why its inside differs from before, where somebody knows: "certificate tls/web ends 2026-12-01".
	Why map[string]string
}

// Compute makes the plan. The order of the inputs does not matter. An error means that the provider broke its contract.
func Compute(in Input) (Plan, error) {
	c := computation{Input: in, desired: map[provider.Addr]provider.Resource{}, observed: map[provider.Addr]provider.Observed{}, changes: map[provider.Addr]*Change{}}
	if err := c.index(); err != nil {
		return Plan{}, err
	}
	c.compare()
	if in.Attr == "" {
		c.spread()
	}
	unchanged := 0
	for a := range c.desired {
		if _, exists := c.observed[a]; exists && c.changes[a] == nil {
			unchanged++
		}
	}
	c.deferGuests()
	c.selectOnly()
	p := Plan{Desired: digestResources(c.Desired), World: digestObserved(c.Observed), Changes: []Change{}, Unchanged: unchanged, Deferred: c.deferred}
	costs := c.costs()
	for _, ch := range c.changes {
		costs.fill(ch)
		p.Changes = append(p.Changes, *ch)
	}
	sort.Slice(p.Changes, func(i, j int) bool { return in.less(p.Changes[i].Addr, p.Changes[j].Addr) })
	c.move(p.Changes, costs.running)
	c.follow(p.Changes)
	c.await(p.Changes)
	c.install(p.Changes)
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
	if a.Kind == b.Kind && a.Provider == b.Provider { // the common case, for which Compare builds two strings
		return a.Name < b.Name
	}
	return a.Compare(b) < 0
}

// index sorts the inputs, fills the maps and refuses what the contract forbids.
func (c *computation) index() error {
	c.Desired, c.Observed = slices.Clone(c.Desired), slices.Clone(c.Observed)
	sort.Slice(c.Desired, func(i, j int) bool { return c.less(c.Desired[i].Addr, c.Desired[j].Addr) })
	sort.Slice(c.Observed, func(i, j int) bool { return c.less(c.Observed[i].Addr, c.Observed[j].Addr) })
	for _, r := range c.Desired {
		if err := c.Description.Check(r); err != nil {
			return err
		}
		if _, twice := c.desired[r.Addr]; twice {
			return contract(r.Addr, "expands this twice")
		}
		c.desired[r.Addr] = r
	}
	for _, r := range c.Desired {
		for _, n := range r.Needs {
			if _, ok := c.desired[n]; !ok {
				return contract(r.Addr, fmt.Sprintf("lets this need %s, which it does not expand", n))
			}
		}
	}
	for _, o := range c.Observed {
		if _, known := c.Description.Kind(o.Addr.Kind); !known {
			return contract(o.Addr, "observes a kind that it does not describe")
		}
		if _, twice := c.observed[o.Addr]; twice {
			return contract(o.Addr, "observes this twice")
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
			action := Create
			if r.Adopted {
				action = Adopt
			}
			c.changes[a] = &Change{Addr: a, Machine: r.Machine, Action: action, After: &r}
		}
	}
	if c.Attr != "" {
		return
	}
	for a, o := range c.observed {
		if _, wanted := c.desired[a]; !wanted && !o.Shared {
			action := Delete
			if o.Adopted {
				action = Release
			}
			c.changes[a] = &Change{Addr: a, Machine: o.Machine, Action: action, Before: &o}
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
		r.Attrs, r.Needs = only, o.Needs // it stays what it is, and holds on to what it holds
	}
	kind, _ := c.Description.Kind(r.Addr.Kind)
	reasons := differences(kind, o.Attrs, r.Attrs)
	if slices.Contains(c.Remake, r.Addr) && !o.Shared {
		reasons = append(reasons, Reason{Impact: provider.Reinstall, Asked: true})
	}
	if len(reasons) == 0 {
		return
	}
	ch := &Change{Addr: r.Addr, Machine: r.Machine, Action: Update, Reasons: reasons, Before: &o, After: &r}
	for _, reason := range reasons {
		if reason.Impact.Rank() > ch.Impact.Rank() {
			ch.Impact = reason.Impact
		}
	}
	if kind.Guest {
		ch.Why = c.Why[r.Machine]
	}
	switch {
	case ch.Impact.Rank() < provider.Reinstall.Rank():
	case o.Shared: // no plan deletes it, so the provider has to do it in place; what others made from it they keep
		ch.Impact = provider.Live
	default:
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
	if i := attr.Cost(before, after); i != provider.None {
		return i
	}
	return provider.Replace // observed, but not described: the provider knows a thing we do not
}

// spread makes again what cannot outlive a thing that is made (again): a machine whose root disk is new. It goes by
// creation order until nothing is added, so that the answer does not hang on chance.
func (c *computation) spread() {
	for again := true; again; {
		again = false
		for _, r := range c.Desired {
			o, exists := c.observed[r.Addr]
			ch := c.changes[r.Addr]
			if !exists || o.Shared || ch != nil && ch.Action == Replace {
				continue
			}
			cause := c.remaker(o, r)
			if cause == nil {
				continue
			}
			if ch == nil {
				ch = &Change{Addr: r.Addr, Machine: r.Machine, Before: &o, After: &r}
				c.changes[r.Addr] = ch
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

// remaker is the change that forces o to be made again, the dearest, and the first in order among equals; nil if
// there is none.
func (c *computation) remaker(o provider.Observed, r provider.Resource) *Change {
	var cause *Change
	for _, n := range r.Needs {
		ch := c.changes[n]
		if ch == nil || !c.remadeWith(r.Addr, n) || ch.Action != Replace && (ch.Action != Create || isNew(o, n)) {
			continue
		}
		if cause == nil || ch.Impact.Rank() > cause.Impact.Rank() ||
			ch.Impact.Rank() == cause.Impact.Rank() && c.less(ch.Addr, cause.Addr) {
			cause = ch
		}
	}
	return cause
}

// remadeWith says whether a thing at a is made again with what it needs at n.
func (c *computation) remadeWith(a, n provider.Addr) bool {
	kind, _ := c.Description.Kind(a.Kind)
	return slices.Contains(kind.RemadeWith, n.Kind)
}

// isNew says that o never held on to n: it is seen to hold on to others of that kind, but not to this one. So a disk
// that joins a machine is told from one that a machine has lost; where nothing is seen, the worse is assumed.
func isNew(o provider.Observed, n provider.Addr) bool {
	others := false
	for _, have := range o.Needs {
		if have == n {
			return false
		}
		others = others || have.Kind == n.Kind
	}
	return others
}

// deferGuests takes out changes inside machines that are to be off, or to stand still: there is nobody to talk to.
func (c *computation) deferGuests() {
	off := map[string]any{}
	for a, r := range c.desired {
		if k, _ := c.Description.Kind(a.Kind); k.Machine && !answers(r.Attrs) {
			off[r.Machine] = r.Attrs["power"]
		}
	}
	for a, ch := range c.changes {
		if k, _ := c.Description.Kind(a.Kind); k.Guest && off[ch.Machine] != nil && ch.Action.Puts() {
			c.deferred = append(c.deferred, Deferred{Addr: a, Why: fmt.Sprintf("machine %s is to be %v", ch.Machine, off[ch.Machine])})
			delete(c.changes, a)
		}
	}
	sort.Slice(c.deferred, func(i, j int) bool { return c.less(c.deferred[i].Addr, c.deferred[j].Addr) })
}

package plan

import "github.com/labctl-dev/labctl/provider"

// selectOnly keeps the changes that Only names, what those need, and what is made again with them; of what waits it
// keeps what Only names.
func (c *computation) selectOnly() {
	if len(c.Only) == 0 {
		return
	}
	keep := map[provider.Addr]bool{}
	var todo []provider.Addr
	take := func(a provider.Addr) {
		if !keep[a] {
			keep[a] = true
			todo = append(todo, a)
		}
	}
	holders := map[provider.Addr][]*Change{}
	for a, ch := range c.changes {
		for _, n := range needs(ch) {
			holders[n] = append(holders[n], ch)
		}
		if Named(c.Only, a, ch.Machine) {
			take(a)
		}
	}
	for len(todo) > 0 {
		ch := c.changes[todo[0]]
		todo = todo[1:]
		if ch.After != nil && ch.Action.Puts() {
			for _, n := range ch.After.Needs {
				if c.changes[n] != nil {
					take(n)
				}
			}
		}
		for _, h := range holders[ch.Addr] {
			remade := h.Action == Replace && (ch.Action == Replace || ch.Action == Create) && c.remadeWith(h.Addr, ch.Addr)
			if remade || ch.Action == Delete { // what is deleted must be let go of first
				take(h.Addr)
			}
		}
	}
	for a := range c.changes {
		if !keep[a] {
			delete(c.changes, a)
		}
	}
	var waiting []Deferred
	for _, d := range c.deferred {
		if Named(c.Only, d.Addr, c.desired[d.Addr].Machine) {
			waiting = append(waiting, d)
		}
	}
	c.deferred = waiting
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

// Named says whether one of names means the thing at a: its address, its name with or without the kind, or its
// machine's.
func Named(names []string, a provider.Addr, machine string) bool {
	for _, n := range names {
		if n == a.Name || machine != "" && n == machine || n == a.Kind+"/"+a.Name || n == a.String() {
			return true
		}
	}
	return false
}

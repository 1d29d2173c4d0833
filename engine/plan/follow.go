package plan

import (
	"slices"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// await puts the changes of machines' insides in order: who waits for another comes after it, lest those who wait take the
// places of those whom they wait for.
func (c *computation) await(changes []Change) {
	at := map[string]int{} // by machine
	for i, ch := range changes {
		if kind, _ := c.Description.Kind(ch.Addr.Kind); kind.Guest && ch.Action.Puts() {
			at[ch.Machine] = i
		}
	}
	for machine, i := range at {
		for _, other := range c.Waits[machine] {
			if j, ok := at[other]; ok && j != i {
				changes[i].Follows = append(changes[i].Follows, changes[j].Addr)
			}
		}
		slices.SortFunc(changes[i].Follows, func(a, b provider.Addr) int { return a.Compare(b) })
	}
}

// install has machines that another one installs start when the inside of that is what it should be: before that nobody
// tells them where they find what they start from.
func (c *computation) install(changes []Change) {
	at := map[string]int{} // by machine
	for i, ch := range changes {
		if kind, _ := c.Description.Kind(ch.Addr.Kind); kind.Guest && ch.Action.Puts() {
			at[ch.Machine] = i
		}
	}
	for i, ch := range changes {
		kind, _ := c.Description.Kind(ch.Addr.Kind)
		server, ok := at[c.Installed[ch.Machine]]
		if !kind.Machine || !ok || !ch.Action.Puts() {
			continue
		}
		if first := changes[server].Addr; !slices.Contains(changes[i].Follows, first) {
			changes[i].Follows = append(changes[i].Follows, first)
			slices.SortFunc(changes[i].Follows, func(a, b provider.Addr) int { return a.Compare(b) })
		}
	}
}

// follow puts the changes of machines' power in order: who is behind a router comes up after it, and goes down before
// it. First boots are not held up like that: an apply makes all machines at once.
func (c *computation) follow(changes []Change) {
	if c.Attr != "power" || len(c.Behind) == 0 {
		return
	}
	at := map[string]int{} // by machine
	for i, ch := range changes {
		if kind, _ := c.Description.Kind(ch.Addr.Kind); kind.Machine {
			at[ch.Machine] = i
		}
	}
	for machine, i := range at {
		for _, router := range c.Behind[machine] {
			j, ok := at[router]
			if !ok {
				continue
			}
			first, then := &changes[j], &changes[i]
			if then.After.Attrs["power"] != string(lab.On) {
				first, then = then, first
			}
			then.Follows = append(then.Follows, first.Addr)
		}
	}
	for i := range changes {
		slices.SortFunc(changes[i].Follows, func(a, b provider.Addr) int { return a.Compare(b) })
	}
}

package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/provider"
)

// Move says what a running machine's change of place costs others: those who talk to it where it was.
type Move struct {
	From   []Place  `json:"from"`              // that it gives up, by network; addresses that it keeps are not named
	To     []Place  `json:"to,omitempty"`      // that it takes instead, without those that it had
	LostBy []string `json:"lost_by,omitempty"` // running machines on the networks of From, sorted
	Lasts  Lasts    `json:"lasts"`
}

// Place is where a machine is found.
type Place struct {
	Network string `json:"network"`
	Address string `json:"address,omitempty"` // or several, separated by ", "; "" where it is not known
}

func (p Place) String() string {
	if p.Address == "" {
		return p.Network
	}
	return p.Network + " " + p.Address
}

// Lasts is for how long a machine that moves is lost.
type Lasts string

// How long: from the moment it gives up its place until it is found at the new one.
const (
	Seconds Lasts = "seconds"        // the guest takes its new address without a restart
	Restart Lasts = "a restart"      // it stops and starts meanwhile
	Rebuild Lasts = "being made"     // it is made again
	ForGood Lasts = "for good there" // it takes no new place
)

// move tells of the machines that running others lose, at the last change that moves each. changes are sorted.
func (c *computation) move(changes []Change, running map[string]bool) {
	var before map[string]addresses // places of all machines: most plans move none
	for i := len(changes) - 1; i >= 0; i-- {
		ch := &changes[i]
		if !running[ch.Machine] || !c.moves(ch) || slices.ContainsFunc(changes[i+1:], func(o Change) bool { return o.Machine == ch.Machine && o.Move != nil }) {
			continue
		}
		if before == nil {
			before = c.places()
		}
		after := addresses{}
		for _, r := range c.Desired {
			if r.Machine == ch.Machine {
				c.place(after, r.Addr.Kind, r.Attrs)
			}
		}
		m := moved(before[ch.Machine], after)
		if m == nil {
			continue
		}
		for name, at := range before {
			if name != ch.Machine && running[name] && slices.ContainsFunc(m.From, func(p Place) bool { _, there := at[p.Network]; return there }) {
				m.LostBy = append(m.LostBy, name)
			}
		}
		slices.Sort(m.LostBy)
		m.Lasts = lasts(changes, ch.Machine, len(m.To) > 0)
		ch.Move = m
	}
}

// moves says whether a change is about its machine's place.
func (c *computation) moves(ch *Change) bool {
	kind, _ := c.Description.Kind(ch.Addr.Kind)
	return ch.Machine != "" && ch.Before != nil && ch.After != nil &&
		slices.ContainsFunc(ch.Reasons, func(r Reason) bool { return kind.Attrs[r.Attr].Place })
}

// addresses are a machine's by network: none where it is on the network and its address is not known.
type addresses map[string][]string

// places are all machines' addresses, as observed.
func (c *computation) places() map[string]addresses {
	out := map[string]addresses{}
	for _, o := range c.Observed {
		if o.Machine == "" {
			continue
		}
		if out[o.Machine] == nil {
			out[o.Machine] = addresses{}
		}
		c.place(out[o.Machine], o.Addr.Kind, o.Attrs)
	}
	return out
}

// place adds what attributes say of a place.
func (c *computation) place(at addresses, kind string, attrs provider.Attrs) {
	k, _ := c.Description.Kind(kind)
	for name, attr := range k.Attrs {
		if !attr.Place {
			continue
		}
		switch v := attrs[name].(type) {
		case map[string]any:
			for network, address := range v {
				at[network] = addressList(address)
			}
		case []any:
			for _, e := range v {
				m, _ := e.(map[string]any)
				network, ok := m["network"].(string)
				if _, there := at[network]; ok && !there {
					at[network] = nil // it is there; its addresses, if any, another attribute says
				}
			}
		}
	}
}

// addressList is the addresses that an attribute's value holds: a list, or a text with blanks between them.
func addressList(v any) []string {
	all, ok := v.([]any)
	if !ok {
		return strings.Fields(fmt.Sprint(v))
	}
	var out []string
	for _, x := range all {
		out = append(out, fmt.Sprint(x))
	}
	return out
}

// moved is the difference of places; nil if none is given up.
func moved(before, after addresses) *Move {
	m := Move{From: places(before, after), To: places(after, before)}
	if len(m.From) == 0 {
		return nil
	}
	return &m
}

// places are those of a that are not in b: on another network, or with addresses that b has not.
func places(a, b addresses) []Place {
	var out []Place
	for _, network := range slices.Sorted(maps.Keys(a)) {
		other, there := b[network]
		rest := slices.DeleteFunc(slices.Clone(a[network]), func(x string) bool { return slices.Contains(other, x) })
		// One that is not known is none of those that are.
		if unknown := len(a[network]) == 0 && len(other) > 0; !there || unknown || len(rest) > 0 {
			out = append(out, Place{network, strings.Join(rest, ", ")})
		}
	}
	return out
}

// lasts is for how long a machine is lost that some of changes move.
func lasts(changes []Change, machine string, found bool) Lasts {
	highest, _ := Plan{Changes: changes}.Impact(machine)
	switch {
	case !found:
		return ForGood
	case highest.Rank() >= provider.Reinstall.Rank():
		return Rebuild
	case highest.Rank() >= provider.Reboot.Rank():
		return Restart
	}
	return Seconds
}

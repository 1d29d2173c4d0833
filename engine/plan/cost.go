package plan

import (
	"fmt"
	"sort"

	"github.com/labctl-dev/labctl/provider"
)

// cost fills in what ch costs: lost data, machines cut off, and whether it must be told by name.
func (c *computation) cost(ch *Change) {
	kind, _ := c.Description.Kind(ch.Addr.Kind)
	gone := ch.Action == Delete || ch.Action == Replace
	ch.DataLoss = gone && kind.Data
	ch.CutOff = c.cutOff(ch, kind)
	if named(c.Allow, ch.Addr, ch.Machine) {
		return
	}
	protected := ch.Before != nil && ch.Before.Attrs["protect"] == true
	switch {
	case gone && protected:
		ch.Refused = fmt.Sprintf("%s is protected", ch.Addr)
	case ch.Action == Replace && ch.Impact.Rank() >= provider.Reinstall.Rank() && !forced(ch):
		ch.Refused = fmt.Sprintf("%s would be lost: %s", ch.Addr, ch.Impact)
	}
}

// forced says whether ch only follows from another change, which carries the refusal.
func forced(ch *Change) bool {
	for _, r := range ch.Reasons {
		if r.Because == nil && r.Impact.Rank() >= provider.Reinstall.Rank() {
			return false
		}
	}
	return true
}

// cutOff names the machines that lose connections while ch is made.
func (c *computation) cutOff(ch *Change, k provider.Kind) []string {
	gone := ch.Action == Delete || ch.Action == Replace
	cut := map[string]bool{}
	if ch.Machine != "" && ch.Before != nil && !k.Guest {
		if gone || ch.Impact.Rank() >= provider.Reboot.Rank() {
			cut[ch.Machine] = ch.Before.Attrs["power"] != "off"
		}
	}
	if gone && ch.Machine == "" {
		for _, o := range c.observed {
			for _, n := range o.Needs {
				if n == ch.Addr && o.Machine != "" {
					cut[o.Machine] = true
				}
			}
		}
	}
	var names []string
	for m, yes := range cut {
		if yes {
			names = append(names, m)
		}
	}
	sort.Strings(names)
	return names
}

package plan

import (
	"fmt"
	"slices"
	"sort"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// costs knows what is needed to tell the costs of changes.
type costs struct {
	c         *computation
	running   map[string]bool            // machines that exist and are neither off nor standing still
	protected map[string]bool            // machines that are, or are to be, protected
	holders   map[provider.Addr][]string // running machines that hold on to a thing
}

func (c *computation) costs() *costs {
	k := &costs{c: c, running: map[string]bool{}, protected: map[string]bool{}, holders: map[provider.Addr][]string{}}
	for _, o := range c.Observed {
		if kind, _ := c.Description.Kind(o.Addr.Kind); kind.Machine {
			k.running[o.Machine] = answers(o.Attrs)
			k.protected[o.Machine] = o.Attrs["protect"] == true
		}
	}
	for _, r := range c.Desired {
		if kind, _ := c.Description.Kind(r.Addr.Kind); kind.Machine && r.Attrs["protect"] == true {
			k.protected[r.Machine] = true
		}
	}
	if len(c.changes) == 0 {
		return k
	}
	for _, o := range c.Observed {
		if k.running[o.Machine] {
			for _, n := range o.Needs {
				k.holders[n] = append(k.holders[n], o.Machine)
			}
		}
	}
	return k
}

// fill fills in what ch costs: lost data, machines cut off, and whether it must be told by name.
func (k *costs) fill(ch *Change) {
	kind, _ := k.c.Description.Kind(ch.Addr.Kind)
	gone := ch.gone()
	if gone && kind.Data {
		ch.DataKept = ch.Before.Attrs["protect"] == true
		ch.DataLoss = !ch.DataKept
	}
	ch.CutOff = k.cutOff(ch, kind)
	if Named(k.c.Allow, ch.Addr, ch.Machine) {
		return
	}
	switch {
	case gone && k.isProtected(ch, kind):
		ch.Refused = fmt.Sprintf("%s is protected", ch.Addr)
	case gone && ch.Action == Replace && ch.Impact.Rank() >= provider.Reinstall.Rank() && !forced(ch) && !ch.asked():
		ch.Refused = fmt.Sprintf("%s would be lost: %s", ch.Addr, ch.Impact)
	}
}

// gone says whether ch ends what there is. What was adopted only loses its mark.
func (ch *Change) gone() bool { return ch.Action.Removes() && !ch.Before.Adopted }

// isProtected says whether ch would take away a protected thing, or a protected machine or its data. That a machine
// is only started over, its disks untouched, protection does not forbid.
func (k *costs) isProtected(ch *Change, kind provider.Kind) bool {
	if ch.Action == Replace && ch.Impact.Rank() < provider.Reinstall.Rank() {
		return false
	}
	return ch.Before.Attrs["protect"] == true || (kind.Machine || kind.Data) && k.protected[ch.Machine]
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

// asked says whether somebody has asked by name for what ch does: then whatever else would do it costs nothing more.
func (ch *Change) asked() bool {
	return slices.ContainsFunc(ch.Reasons, func(r Reason) bool { return r.Asked })
}

// cutOff names the machines that lose connections while ch is made.
func (k *costs) cutOff(ch *Change, kind provider.Kind) []string {
	gone := ch.gone()
	cut := map[string]bool{}
	halts := kind.Machine && ch.After != nil && ch.Action != Adopt && !answers(ch.After.Attrs)
	if ch.Before != nil && !kind.Guest && k.running[ch.Machine] && (gone || halts || ch.Action == Update && ch.Impact.Rank() >= provider.Reboot.Rank()) {
		cut[ch.Machine] = true
	}
	// A network that is no longer there, or that is changed in what it cannot change while it runs.
	if ch.Machine == "" && (gone || ch.Action == Update && ch.Impact.Rank() > provider.Live.Rank()) {
		for _, m := range k.holders[ch.Addr] {
			cut[m] = true
		}
	}
	var names []string
	for m := range cut {
		names = append(names, m)
	}
	sort.Strings(names)
	return names
}

// answers says whether a machine with these attributes may be talked to.
func answers(a provider.Attrs) bool {
	power, _ := a["power"].(string)
	return lab.Power(power).Answers()
}

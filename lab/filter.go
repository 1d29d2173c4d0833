package lab

import (
	"cmp"
	"net/netip"
	"slices"
)

// Filter is what filters at machines' interfaces, outside of the machines.
type Filter struct {
	// Networks are those whose interfaces are filtered; what no rule lets in there stays outside. None: nothing is filtered.
	Networks []string     `json:"networks,omitempty"`
	Rules    []FilterRule `json:"rules,omitempty"`
	// Admin is from where labctl comes in, besides what the lab says of that.
	Admin []netip.Prefix `json:"admin,omitempty"`
}

// FilterRule is a rule of a filter that stands at the interfaces of machines on a network, outside of the machines: a
// cloud's firewall. Such a filter knows connections: answers need no rule. Of the rules that match a packet the one with the
// lowest Priority decides, and of several of these one that denies. What none matches is let out, and not in.
type FilterRule struct {
	Name     string   `json:"name"` // as a plan calls it: "gce.firewall/internal/sql"
	Network  string   `json:"network"`
	Egress   bool     `json:"egress,omitempty"` // of what machines send; else of what they get
	Deny     bool     `json:"deny,omitempty"`   // else allow
	Priority int      `json:"priority"`         // the lowest decides
	Machines []string `json:"machines,omitempty"`
	// From and To are source and destination as they are on the network: before a router that gets a packet translates
	// it, and after one that sends it has. None is every address.
	From     []netip.Prefix `json:"from,omitempty"`
	To       []netip.Prefix `json:"to,omitempty"`
	Services []Service      `json:"services"` // one of them matches; Any is every protocol
}

// Before orders rules as they decide: the first that matches a packet does.
func (r FilterRule) Before(o FilterRule) int {
	side := func(deny bool) int {
		if deny {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(r.Priority, o.Priority), cmp.Compare(side(r.Deny), side(o.Deny)), cmp.Compare(r.Name, o.Name))
}

// At says whether the rule is asked at a machine's interfaces on its network; no Machines is all of them.
func (r FilterRule) At(machine string) bool {
	return len(r.Machines) == 0 || slices.Contains(r.Machines, machine)
}

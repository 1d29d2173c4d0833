package qemu

import (
	"net/netip"
	"slices"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// admits refuses a machine whose packet filter lets labctl in from nowhere that it comes from on this target.
func (s site) admits(m lab.Machine) error {
	if !m.Router && !m.Firewall || s.lab.Implied == nil || len(s.lab.Implied.Admin) == 0 {
		return nil
	}
	var from []netip.Addr
	for _, nic := range m.NICs {
		n, _ := s.lab.Network(nic.Network)
		from = append(from, s.lab.Doors(n)...)
	}
	for _, a := range from {
		if slices.ContainsFunc(s.lab.Implied.Admin, func(p netip.Prefix) bool { return p.Contains(a) }) {
			return nil
		}
	}
	text := "implied.admin: the packet filter of " + m.Name + " would cut off labctl, which comes from"
	for i, a := range from {
		if i > 0 {
			text += ","
		}
		text += " " + a.String()
	}
	return &provider.Error{Op: "expand", Addr: addr(kindMachine, m.Name), Code: provider.Invalid, Text: text}
}

package qemu

import (
	"strings"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// admits refuses a machine whose packet filter lets labctl in from nowhere that it comes from on this target. l is the
// lab with the addresses that it has here.
func admits(l lab.Lab, m lab.Machine) error {
	if !m.Router && !m.Firewall || l.Implied == nil || len(l.Implied.Admin) == 0 {
		return nil
	}
	var from []string
	for _, nic := range m.NICs {
		n, _ := l.Network(nic.Network)
		for _, a := range l.Doors(n) {
			if l.Admits(n, a) {
				return nil
			}
			from = append(from, a.String())
		}
	}
	text := "implied.admin: the packet filter of " + m.Name + " would cut off labctl, which comes from " + strings.Join(from, ", ")
	return &provider.Error{Op: "expand", Addr: addr(kindMachine, m.Name), Code: provider.Invalid, Text: text}
}

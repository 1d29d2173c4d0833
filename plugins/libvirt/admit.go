package libvirt

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// admits refuses a machine whose packet filter lets labctl in from nowhere that it comes from on this target: from the
// libvirt host, by the host's addresses on the machine's networks. uplinks are from uplinkCIDRs.
func admits(l lab.Lab, m lab.Machine, uplinks map[string]netip.Prefix, o options) error {
	if !m.Router && !m.Firewall || len(m.NICs) == 0 {
		return nil
	}
	var from []string
	for _, nic := range m.NICs {
		n, _ := l.Network(nic.Network)
		if b := o.Bridges[n.Name]; b != "" { // whatever the host has there
			if l.Implied != nil && len(l.Implied.Admin) > 0 {
				return nil
			}
			from = append(from, "the host's own address on "+b)
			continue
		}
		if n.Adopted != "" { // the host is where others' hosts usually are
			for _, v6 := range []bool{false, true} {
				if p, ok := n.Prefix(v6); ok && l.Admits(n, lab.Gateway(p)) {
					return nil
				}
			}
			from = append(from, "the host's own address on "+n.Adopted)
			continue
		}
		for _, a := range networkOf(l, n, uplinks[n.Name], o).own() {
			if l.Admits(n, a) {
				return nil
			}
			from = append(from, a.String())
		}
	}
	text := "implied.admin: the packet filter of " + m.Name + " would cut off labctl, which comes from " + strings.Join(from, ", ") + "; name that in implied.admin"
	if slices.ContainsFunc(m.NICs, func(nic lab.NIC) bool { n, _ := l.Network(nic.Network); return n.Uplink && !n.CIDR.IsValid() }) {
		text += ", or give the uplink a cidr"
	}
	return &provider.Error{Op: "expand", Addr: addr(kindMachine, m.Name), Code: provider.Invalid, Text: text}
}

// own are the host's addresses on a network that it made.
func (a networkAttrs) own() []netip.Addr {
	out := []netip.Addr{}
	for _, x := range []netip.Addr{a.Address, a.Address6} {
		if x.IsValid() {
			out = append(out, x)
		}
	}
	if a.linkLocal() {
		out = append(out, lab.LinkLocal(a.MAC))
	}
	return out
}

// linkLocal says whether the host has a link-local address on a network that it made: where it has any other IPv6
// address, or where it is told to have one. On an uplink it is not told, since a host that forwards IPv6 may lose its
// own routes.
func (a networkAttrs) linkLocal() bool {
	return a.Local.IsValid() || a.Address6.IsValid() || a.Address.Is6()
}

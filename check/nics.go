package check

import (
	"net/netip"
	"strconv"

	"github.com/labctl-dev/labctl/lab"
)

// nics checks every interface: its network, its addresses, its MAC.
func (v *vetter) nics() {
	addrs := map[netip.Addr]string{}
	macs := map[string]string{}
	duids := map[string]string{}
	machines := map[string]bool{}
	for _, m := range v.lab.Machines {
		if machines[m.Name] {
			continue // two machines of one name have the same MACs, and that is not what is wrong
		}
		machines[m.Name] = true
		seen := map[string]bool{}
		for _, nic := range m.NICs {
			path := m.Path("nics", nic.Network)
			if seen[nic.Network] {
				v.error(path, "there are two interfaces on network %s", nic.Network)
				continue
			}
			seen[nic.Network] = true
			v.mac(path+".mac", nic.MAC)
			if other, ok := macs[nic.MAC]; ok {
				v.clash(path+".mac", other+".mac", "%s is the MAC of another interface too", nic.MAC)
			} else {
				macs[nic.MAC] = path
			}
			n, ok := v.networks[nic.Network]
			if !ok {
				v.error(path, "there is no network called %q%s", nic.Network, list("; there is ", keys(v.networks)))
				continue
			}
			v.duid(path+".duid", n, nic, duids)
			v.addresses(path, m, n, nic, addrs)
			v.autonomous(path, m, n, nic)
		}
	}
}

// addresses checks those of an interface, and that no other one in seen has them.
func (v *vetter) addresses(path string, m lab.Machine, n lab.Network, nic lab.NIC, seen map[netip.Addr]string) {
	for _, x := range []struct {
		field  string
		prefix netip.Prefix
		cidr   string
		addr   netip.Addr
	}{{path + ".ip", n.CIDR, "cidr", nic.Addr}, {path + ".ip6", n.CIDR6, "cidr6", nic.Addr6}} {
		switch {
		case !x.prefix.IsValid() && x.addr.IsValid():
			v.error(x.field, "network %s has no %s, so its addresses cannot be given", n.Name, x.cidr)
			continue
		case !x.prefix.IsValid():
			continue
		case !x.addr.IsValid() && !m.Ours():
			continue // it has one that nobody told us
		case !x.addr.IsValid():
			v.error(path, "no address is left in %s", x.prefix)
			continue
		}
		v.addr(x.field, n, x.prefix, x.addr)
		if other, ok := seen[x.addr]; ok {
			v.clash(x.field, other, "%s is taken already", x.addr)
		} else {
			seen[x.addr] = x.field
		}
	}
}

func (v *vetter) addr(path string, n lab.Network, p netip.Prefix, a netip.Addr) {
	switch {
	case a.Is4() != p.Addr().Is4():
		v.error(path, "%s is not of the family of %s", a, p.Masked())
		return
	case !p.Masked().Contains(a):
		v.error(path, "%s is outside the network %s", a, p.Masked())
		return
	case n.DHCP.Contains(a):
		v.clash(path, lab.Path("networks", n.Name, "dhcp"), "%s is in the DHCP range %s to %s", a, n.DHCP.From, n.DHCP.To)
	}
	for _, s := range special(n, p) {
		if s.addr == a {
			v.error(path, "%s is %s", a, s.what)
			return
		}
	}
}

// autonomous checks that no other IPv6 address is given than the one that a machine makes for itself.
func (v *vetter) autonomous(path string, m lab.Machine, n lab.Network, nic lab.NIC) {
	a, ok := nic.Address(true)
	given := nic.Given6 || nic.Given && nic.Addr == a
	if n.Assign != lab.SLAAC || m.Router || !ok || !given {
		return
	}
	own := lab.LinkLocal(nic.MAC)
	if !own.IsValid() {
		return
	}
	if x, y := a.As16(), own.As16(); [8]byte(x[8:]) != [8]byte(y[8:]) {
		v.clash(path+".ip6", lab.Path("networks", n.Name, "assign"), "%s cannot be given: with assign %q a machine makes its address of its MAC", a, lab.SLAAC)
	}
}

// duid checks that somebody has a use for it, and that it is one machine's; seen are those of others, by network.
func (v *vetter) duid(path string, n lab.Network, nic lab.NIC, seen map[string]string) {
	if nic.DUID == "" {
		return
	}
	if _, ok := n.Prefix(true); !ok || n.Assign == lab.SLAAC {
		v.error(path, "network %s has no IPv6 addresses to ask for", n.Name)
	}
	key := n.Name + " " + nic.DUID
	if other, ok := seen[key]; ok {
		v.clash(path, other, "%s is the DUID of another machine on network %s too", nic.DUID, n.Name)
		return
	}
	seen[key] = path
}

func (v *vetter) mac(path, mac string) {
	first, err := strconv.ParseUint(mac[:min(2, len(mac))], 16, 8)
	switch {
	case err != nil || len(mac) != 17:
		v.error(path, "%q is not a MAC address such as \"02:00:00:00:00:01\"", mac)
	case first&1 == 1:
		v.error(path, "%s is a multicast MAC address, and an interface needs one of its own (even first byte)", mac)
	case mac == "00:00:00:00:00:00":
		v.error(path, "%s is no interface's MAC address", mac)
	}
}

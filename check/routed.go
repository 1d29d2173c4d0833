package check

import (
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// routed checks what networks ask of routers, and what routers offer to networks. Names that a router's own part
// mentions and what becomes of its published ports are check/reach's.
func (v *vetter) routed() {
	servers := map[string][]string{} // who serves addresses, by network
	for _, m := range v.lab.Machines {
		if !m.Router {
			continue
		}
		if len(m.NICs) == 1 {
			v.warn(m.Path("nics"), "a router on one network has nothing to forward")
		}
		if m.Routing == nil {
			continue
		}
		v.published(m)
		for _, nic := range m.NICs {
			if v.networks[nic.Network].Isolated {
				v.clash(m.Path("nics", nic.Network), lab.Path("networks", nic.Network, "isolated"), "%s is isolated: no router may be on it", nic.Network)
			}
		}
		for _, name := range m.Routing.DHCP {
			servers[name] = append(servers[name], m.Name)
			if v.networks[name].Uplink {
				v.error(m.Path("dhcp"), "%s is an uplink, whose addresses are the target's", name)
			}
		}
	}
	for _, n := range v.lab.Networks {
		if n.Routed && !n.Uplink {
			v.error(lab.Path("networks", n.Name, "routed"), "only an uplink can be routed: %s is a network of the lab's own", n.Name)
		}
		if n.Isolated && n.Uplink {
			v.error(lab.Path("networks", n.Name, "isolated"), "%s is an uplink, which is the world outside", n.Name)
		}
		v.assign(n, servers[n.Name])
		if all := servers[n.Name]; len(all) > 1 {
			v.clash(lab.Path("routers", all[1], "dhcp"), lab.Path("routers", all[0], "dhcp"), "%s both serve addresses on %s: machines would take those of the one that is faster", strings.Join(all, " and "), n.Name)
		}
	}
}

// assign checks that addresses of a network can come as it says.
func (v *vetter) assign(n lab.Network, servers []string) {
	path := lab.Path("networks", n.Name, "assign")
	switch n.Assign {
	case "", lab.Static:
		return
	case lab.DHCP, lab.SLAAC:
	default:
		v.error(path, "%q is not %q, %q or %q", n.Assign, lab.Static, lab.DHCP, lab.SLAAC)
		return
	}
	six, ok := n.Prefix(true)
	switch {
	case n.Uplink:
		v.error(path, "the addresses of an uplink are the target's")
	case n.Assign == lab.SLAAC && !ok:
		v.error(path, "%q is for IPv6, and the network has none: give it a cidr6", lab.SLAAC)
	case n.Assign == lab.SLAAC && six.Bits() != 64:
		v.error(path, "%q needs a prefix of 64 bits, and %s has %d", lab.SLAAC, six, six.Bits())
	case len(servers) == 0:
		v.error(path, "nobody serves addresses here: %q needs a router on %s that has it in its dhcp", n.Assign, n.Name)
	}
}

// published finds ports that lead away what the router answers itself. Two that lead one port to two places are
// check/reach's.
func (v *vetter) published(m lab.Machine) {
	r := m.Routing
	for _, p := range r.Publish {
		if p.Machine == m.Name && p.To == p.Port {
			continue
		}
		offered := func(networks []string) bool {
			return slices.ContainsFunc(networks, func(n string) bool { return n == p.Network || p.Network == "" && v.networks[n].Uplink })
		}
		switch {
		case p.Proto == lab.TCP && p.Port == 22:
			v.error(p.Path, "labctl itself comes to %s on tcp/22: publish another port", m.Name)
		case p.Port == 53 && offered(r.DNS):
			v.clash(p.Path, m.Path("dns"), "%s answers DNS there itself", m.Name)
		case p.Proto == lab.UDP && (p.Port == 67 || p.Port == 547) && offered(r.DHCP):
			v.clash(p.Path, m.Path("dhcp"), "%s answers DHCP there itself", m.Name)
		}
	}
}

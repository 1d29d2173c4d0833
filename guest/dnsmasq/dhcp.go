package dnsmasq

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/lab"
)

// dhcp says what is given on the networks with addresses to give.
func (w *writer) dhcp() error {
	if len(w.routing.DHCP) == 0 {
		return nil
	}
	// Names come from the lab: a stranger cannot call itself like one of its machines, or at all.
	w.line("dhcp-leasefile=/var/lib/labctl-dnsmasq/leases\ndhcp-authoritative\ndhcp-ignore-names=tag:!known")
	if d := w.Lab.Domain; d != "" {
		w.line("domain=%s\ndhcp-option=option:domain-search,%s\ndhcp-option=option6:domain-search,%s", d, d, d)
	}
	v6 := false
	for _, nic := range w.Router.NICs {
		if !slices.Contains(w.routing.DHCP, nic.Network) {
			continue
		}
		n, _ := w.Lab.Network(nic.Network)
		w.line("\n# %s", n.Name)
		w.range4(n, nic)
		has, err := w.range6(n, nic)
		if err != nil {
			return err
		}
		v6 = v6 || has
		w.reservations(n)
	}
	if v6 {
		w.line("\nenable-ra\nquiet-ra")
	}
	return nil
}

// range4 is DHCP for IPv4 on a network: a range for strangers, if the lab gives them any, and what goes for all.
func (w *writer) range4(n lab.Network, nic lab.NIC) {
	p, ok := n.Prefix(false)
	own, has := nic.Address(false)
	if !ok || !has {
		return
	}
	mask := net.IP(net.CIDRMask(p.Bits(), 32)).String()
	if r := n.DHCP; r != nil && r.From.Is4() {
		w.line("dhcp-range=set:%s,%s,%s,%s,%s", n.Name, r.From, r.To, mask, lease)
	} else {
		w.line("dhcp-range=set:%s,%s,static,%s,%s", n.Name, p.Addr(), mask, lease)
	}
	w.option(n.Name, "option:dns-server", w.servers(n, own, false)...)
	w.option(n.Name, "option:mtu", fmt.Sprint(n.MTU))
	if slices.Contains(w.routing.NTP, n.Name) {
		w.option(n.Name, "option:ntp-server", own.String())
	}
	w.routes(n.Name+",tag:!known", w.stranger(n))
}

// option without values keeps dnsmasq from giving its own address, which it does unasked for some options.
func (w *writer) option(tag, name string, values ...string) {
	w.line("dhcp-option=tag:%s,%s", tag, strings.Join(append([]string{name}, values...), ","))
}

// servers are the name servers told on a network.
func (w *writer) servers(n lab.Network, own netip.Addr, v6 bool) []string {
	var all []netip.Addr
	if slices.Contains(w.routing.DNS, n.Name) {
		all = append(all, own)
	}
	for _, r := range serving(w.Lab, w.Ways, n.Name) {
		nic, _ := r.NIC(n.Name)
		if a, ok := nic.Address(v6); ok && a != own {
			all = append(all, a)
		}
	}
	if len(all) == 0 && w.Lab.Implied != nil {
		for _, name := range w.Lab.Implied.DNS {
			if m, ok := w.Lab.Machine(name); ok {
				if a, _, ok := nearest(lab.Machine{NICs: []lab.NIC{{Network: n.Name, Addr: own}}}, m, []string{n.Name}); ok {
					all = append(all, a)
				}
			}
		}
	}
	var out []string
	for _, a := range all[:min(len(all), most)] {
		if v6 {
			out = append(out, "["+a.String()+"]")
		} else {
			out = append(out, a.String())
		}
	}
	return out
}

// stranger is the IPv4 routes of a machine that labctl does not know: the default route to the network's gateway, and
// what leads another way.
func (w *writer) stranger(n lab.Network) []lab.Route {
	var out []lab.Route
	gateway, via, ok := w.Ways.Gateway(n.Name, false)
	if ok {
		out = append(out, lab.Route{To: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Via: via})
	}
	for _, d := range w.Lab.Networks {
		p, ok := d.Prefix(false)
		hops, reached := w.Ways.Path(n.Name, d.Name, false)
		if !ok || !reached || len(hops) == 0 || hops[0].Router == gateway {
			continue
		}
		m, _ := w.Lab.Machine(hops[0].Router)
		nic, _ := m.NIC(n.Name)
		if a, ok := nic.Address(false); ok {
			out = append(out, lab.Route{To: p, Via: a})
		}
	}
	return out
}

// routes tells routes, the default route first. A client that is told classless ones (RFC 3442) heeds no other.
func (w *writer) routes(tag string, routes []lab.Route) {
	var gateway, classless []string
	for _, r := range routes {
		if r.To.Bits() == 0 {
			gateway = append(gateway, r.Via.String())
		}
		classless = append(classless, r.To.String(), r.Via.String())
	}
	w.option(tag, "option:router", gateway...)
	if len(routes) > len(gateway) {
		w.option(tag, "option:classless-static-route", classless...)
	}
}

// range6 is IPv6 on a network: advertisements, by which machines make addresses of their own or are sent to DHCPv6.
// has is false where the router has no address to serve from.
func (w *writer) range6(n lab.Network, nic lab.NIC) (has bool, err error) {
	p, ok := n.Prefix(true)
	own, has := nic.Address(true)
	if !ok || !has {
		return false, nil
	}
	if p.Bits() < 64 || n.Assign == lab.SLAAC && p.Bits() != 64 {
		return false, fmt.Errorf("routers.%s.dhcp: network %s: addresses of %s cannot be given: it must be a /64", w.Router.Name, n.Name, p)
	}
	switch r := n.DHCP; {
	case n.Assign == lab.SLAAC:
		w.line("dhcp-range=set:%s,%s,ra-only,64,%s", n.Name, p.Addr(), lease)
	case r != nil && r.From.Is6():
		w.line("dhcp-range=set:%s,%s,%s,%d,%s", n.Name, r.From, r.To, p.Bits(), lease)
	default:
		w.line("dhcp-range=set:%s,%s,static,%d,%s", n.Name, p.Addr(), p.Bits(), lease)
	}
	w.option(n.Name, "option6:dns-server", w.servers(n, own, true)...)
	seconds := 1800 // that hosts take it for their default router after the last advertisement
	if gateway, _, _ := w.Ways.Gateway(n.Name, true); gateway != w.Router.Name {
		seconds = 0
	}
	w.line("ra-param=%s,mtu:%d,600,%d", nft.Interface(n.Name), n.MTU, seconds)
	return true, nil
}

// reservations are the addresses of the lab's machines on a network, those that do not ask for theirs included: their
// firmware does when it starts from the network. Machines with equal routes over the network share a tag.
func (w *writer) reservations(n lab.Network) {
	groups := map[string]string{}
	for i := range w.Lab.Machines {
		m := &w.Lab.Machines[i]
		nic, on := m.NIC(n.Name)
		if !on || m.Name == w.Router.Name {
			continue
		}
		words := []string{nic.MAC}
		if a, ok := nic.Address(false); ok {
			var routes []lab.Route
			for _, r := range w.Ways.Routes(m.Name) {
				if r.Network == n.Name && r.To.Addr().Is4() && r.Via.IsValid() {
					routes = append(routes, lab.Route{To: r.To, Via: r.Via})
				}
			}
			key := fmt.Sprint(routes)
			if groups[key] == "" {
				groups[key] = fmt.Sprintf("%s-%d", n.Name, len(groups)+1)
				w.routes(groups[key], routes)
			}
			words = append(words, "set:"+groups[key], a.String())
		}
		if a, ok := nic.Address(true); ok && n.Assign != lab.SLAAC {
			if nic.DUID != "" { // beside the MAC: what else runs in it may call itself by that
				words = append(words, "id:"+nic.DUID)
			}
			words = append(words, "["+a.String()+"]")
		}
		w.line("dhcp-host=%s,%s,%s", strings.Join(words, ","), m.Name, lease)
	}
}

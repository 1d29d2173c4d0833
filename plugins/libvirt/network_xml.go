package libvirt

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"libvirt.org/go/libvirtxml"

	"github.com/labctl-dev/labctl/lab"
)

// networkXML is the definition of a network: a function of its attributes and its mark.
func networkXML(a networkAttrs, m mark) libvirtxml.Network {
	n := libvirtxml.Network{
		Name: a.Name, UUID: uuidText(uuid(kindNetwork, m.Lab, m.Name)),
		Metadata: &libvirtxml.NetworkMetadata{XML: m.element()},
		Bridge:   &libvirtxml.NetworkBridge{Name: bridgeName(m.Lab, m.Name), STP: "off", Delay: "0"},
	}
	switch a.Forward {
	case bridged:
		n.Forward = &libvirtxml.NetworkForward{Mode: "bridge"}
		n.Bridge = &libvirtxml.NetworkBridge{Name: a.Bridge}
		return n
	case nat:
		n.Forward = &libvirtxml.NetworkForward{Mode: "nat"}
		if a.CIDR6.IsValid() {
			n.Forward.NAT = &libvirtxml.NetworkForwardNAT{IPv6: "yes"}
		}
	case routed:
		n.Forward = &libvirtxml.NetworkForward{Mode: "route"}
	}
	if a.MTU != 0 {
		n.MTU = &libvirtxml.NetworkMTU{Size: uint(a.MTU)}
	}
	n.MAC = &libvirtxml.NetworkMAC{Address: a.MAC}
	n.DNS = &libvirtxml.NetworkDNS{Enable: "no"}
	if a.Domain != "" {
		n.Domain = &libvirtxml.NetworkDomain{Name: a.Domain}
	}
	if named(a) {
		n.DNS = &libvirtxml.NetworkDNS{}
		for _, r := range a.Records {
			n.DNS.Host = append(n.DNS.Host, recordXML(r))
		}
	}
	for _, p := range []struct {
		cidr netip.Prefix
		own  netip.Addr
	}{{a.CIDR, a.Address}, {a.CIDR6, a.Address6}} {
		if p.cidr.IsValid() {
			n.IPs = append(n.IPs, ipXML(p.cidr, p.own))
		}
	}
	if a.Local.IsValid() {
		n.IPs = append(n.IPs, ipXML(netip.PrefixFrom(a.Local, 64), a.Local))
	}
	if a.DHCP != nil || len(a.Leases) > 0 {
		d := &libvirtxml.NetworkDHCP{}
		if a.DHCP != nil {
			d.Ranges = []libvirtxml.NetworkDHCPRange{rangeXML(*a.DHCP)}
		}
		for _, l := range a.Leases {
			d.Hosts = append(d.Hosts, leaseXML(l))
		}
		n.IPs[0].DHCP = d
	}
	return n
}

// named says whether libvirt's name server serves a network: where the target is the way out.
func named(a networkAttrs) bool { return a.Forward == nat || a.Forward == routed }

func ipXML(p netip.Prefix, own netip.Addr) libvirtxml.NetworkIP {
	ip := libvirtxml.NetworkIP{Address: own.String(), Prefix: uint(p.Bits()), Family: "ipv4"}
	if p.Addr().Is6() {
		ip.Family = "ipv6"
	}
	return ip
}

func rangeXML(r lab.Range) libvirtxml.NetworkDHCPRange {
	return libvirtxml.NetworkDHCPRange{Start: r.From.String(), End: r.To.String()}
}

func leaseXML(l lease) libvirtxml.NetworkDHCPHost {
	return libvirtxml.NetworkDHCPHost{MAC: l.MAC, IP: l.Addr.String(), Name: l.Name}
}

func recordXML(r record) libvirtxml.NetworkDNSHost {
	h := libvirtxml.NetworkDNSHost{IP: r.Addr.String()}
	for _, name := range r.Names {
		h.Hostnames = append(h.Hostnames, libvirtxml.NetworkDNSHostHostname{Hostname: name})
	}
	return h
}

// networkOfXML is a network as libvirt describes it, in normal form; Power and Autostart are no part of that.
func networkOfXML(n libvirtxml.Network, m mark) networkAttrs {
	a := networkAttrs{Name: n.Name, Forward: isolated}
	if n.Forward != nil {
		a.Forward = n.Forward.Mode
	}
	if n.Bridge != nil && (a.Forward == bridged || n.Bridge.Name != bridgeName(m.Lab, m.Name)) {
		a.Bridge = n.Bridge.Name
	}
	if n.MAC != nil && a.Forward != bridged {
		a.MAC = n.MAC.Address
	}
	if n.MTU != nil && n.MTU.Size != defaultMTU {
		a.MTU = int(n.MTU.Size)
	}
	if n.Domain != nil {
		a.Domain = n.Domain.Name
	}
	if n.DNS != nil {
		for _, h := range n.DNS.Host {
			r := record{}
			r.Addr, _ = netip.ParseAddr(h.IP)
			for _, name := range h.Hostnames {
				r.Names = append(r.Names, name.Hostname)
			}
			a.Records = append(a.Records, r)
		}
	}
	for _, ip := range n.IPs {
		own, _ := netip.ParseAddr(ip.Address)
		p := netip.PrefixFrom(own, prefixBits(ip)).Masked()
		switch {
		case own.Is6() && own.IsLinkLocalUnicast():
			a.Local = own
		case !a.CIDR.IsValid():
			a.CIDR, a.Address = p, own
		case own.Is6() && !a.CIDR6.IsValid():
			a.CIDR6, a.Address6 = p, own
		}
		a.dhcpOfXML(ip.DHCP)
	}
	a.sort()
	return a
}

func (a *networkAttrs) dhcpOfXML(d *libvirtxml.NetworkDHCP) {
	if d == nil {
		return
	}
	for _, r := range d.Ranges {
		from, _ := netip.ParseAddr(r.Start)
		to, _ := netip.ParseAddr(r.End)
		a.DHCP = &lab.Range{From: from, To: to}
	}
	for _, h := range d.Hosts {
		l := lease{MAC: h.MAC, Name: h.Name}
		l.Addr, _ = netip.ParseAddr(h.IP)
		a.Leases = append(a.Leases, l)
	}
}

// prefixBits is the length of a network's prefix, which libvirt also writes as a mask, and for classful networks not
// at all.
func prefixBits(ip libvirtxml.NetworkIP) int {
	if ip.Prefix != 0 {
		return int(ip.Prefix)
	}
	if m, err := netip.ParseAddr(ip.Netmask); err == nil && m.Is4() {
		n, _ := net.IPMask(m.AsSlice()).Size()
		return n
	}
	if a := net.ParseIP(ip.Address); a != nil && a.To4() != nil {
		n, _ := a.DefaultMask().Size()
		return n
	}
	return 64
}

// apart says in which attributes two states of a network differ.
func (a networkAttrs) apart(b networkAttrs) string {
	var names []string
	for name, same := range map[string]bool{
		"forward": a.Forward == b.Forward && a.Bridge == b.Bridge, "addresses": a.CIDR == b.CIDR && a.CIDR6 == b.CIDR6 && a.Address == b.Address && a.Address6 == b.Address6 && a.Local == b.Local, "mac": a.MAC == b.MAC,
		"mtu": a.MTU == b.MTU, "domain": a.Domain == b.Domain, "dhcp": fmt.Sprint(rangeOf(a)) == fmt.Sprint(rangeOf(b)),
		"leases": slices.Equal(a.Leases, b.Leases), "records": fmt.Sprint(a.Records) == fmt.Sprint(b.Records),
	} {
		if !same {
			names = append(names, name)
		}
	}
	return list(names)
}

func rangeOf(a networkAttrs) lab.Range {
	if a.DHCP == nil {
		return lab.Range{}
	}
	return *a.DHCP
}

package gateway

import (
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// announce tells everybody where the gateway's addresses are from now on: they may have been a router's until now,
// which neighbours would go on asking for seconds.
func (g *Gateway) announce() {
	for _, p := range g.id.Addrs {
		if p.Addr().Is4() {
			g.link.send(g.gratuitous(p.Addr()))
		} else {
			g.link.send(g.advertisement(p.Addr()))
		}
	}
}

// gratuitous is an ARP announcement (RFC 5227, 3).
func (g *Gateway) gratuitous(a netip.Addr) []byte {
	f := make([]byte, header.EthernetMinimumSize+header.ARPSize)
	header.Ethernet(f).Encode(&header.EthernetFields{SrcAddr: g.link.mac, DstAddr: header.EthernetBroadcastAddress, Type: header.ARPProtocolNumber})
	arp := header.ARP(f[header.EthernetMinimumSize:])
	arp.SetIPv4OverEthernet()
	arp.SetOp(header.ARPRequest)
	copy(arp.HardwareAddressSender(), g.link.mac)
	copy(arp.ProtocolAddressSender(), a.AsSlice())
	copy(arp.ProtocolAddressTarget(), a.AsSlice())
	return f
}

// advertisement is an unsolicited neighbour advertisement that overrides what was known (RFC 4861, 7.2.6).
func (g *Gateway) advertisement(a netip.Addr) []byte {
	options := header.NDPOptionsSerializer{header.NDPTargetLinkLayerAddressOption(g.link.mac)}
	const at = header.EthernetMinimumSize + header.IPv6MinimumSize
	size := header.ICMPv6NeighborAdvertMinimumSize + options.Length()
	f := make([]byte, at+size)
	header.Ethernet(f).Encode(&header.EthernetFields{
		SrcAddr: g.link.mac, DstAddr: header.EthernetAddressFromMulticastIPv6Address(header.IPv6AllNodesMulticastAddress), Type: header.IPv6ProtocolNumber,
	})
	src := tcpip.AddrFromSlice(a.AsSlice())
	header.IPv6(f[header.EthernetMinimumSize:]).Encode(&header.IPv6Fields{
		PayloadLength: uint16(size), TransportProtocol: header.ICMPv6ProtocolNumber, HopLimit: header.NDPHopLimit,
		SrcAddr: src, DstAddr: header.IPv6AllNodesMulticastAddress,
	})
	msg := header.ICMPv6(f[at:])
	msg.SetType(header.ICMPv6NeighborAdvert)
	na := header.NDPNeighborAdvert(msg.MessageBody())
	na.SetTargetAddress(src)
	na.SetOverrideFlag(true)
	na.Options().Serialize(options)
	msg.SetChecksum(header.ICMPv6Checksum(header.ICMPv6ChecksumParams{Header: msg, Src: src, Dst: header.IPv6AllNodesMulticastAddress}))
	return f
}

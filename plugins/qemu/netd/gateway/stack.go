package gateway

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/labctl-dev/labctl/plugins/qemu/netd/lease"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// nic is the number of the stack's only interface.
const nic tcpip.NICID = 1

// newStack returns a stack that speaks what a lab needs, without interface.
func newStack() *stack.Stack {
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{arp.NewProtocol, ipv4.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6},
	})
	sack := tcpip.TCPSACKEnabled(true)
	s.SetTransportProtocolOption(tcp.ProtocolNumber, &sack)
	grow := tcpip.TCPModerateReceiveBufferOption(true)
	s.SetTransportProtocolOption(tcp.ProtocolNumber, &grow)
	return s
}

// addresses gives the stack its interface and addresses.
func (g *Gateway) addresses(ctx context.Context) error {
	if err := g.stack.CreateNIC(nic, g.link); err != nil {
		return fmt.Errorf("cannot create its interface: %s", err)
	}
	linkLocal := fromStack(header.LinkLocalAddr(g.link.mac))
	for _, p := range append([]netip.Prefix{netip.PrefixFrom(linkLocal, 64)}, g.id.Addrs...) {
		a := tcpip.ProtocolAddress{
			Protocol:          network(p.Addr()),
			AddressWithPrefix: tcpip.AddressWithPrefix{Address: tcpip.AddrFromSlice(p.Addr().AsSlice()), PrefixLen: p.Bits()},
		}
		if err := g.stack.AddProtocolAddress(nic, a, stack.AddressProperties{}); err != nil {
			return fmt.Errorf("cannot take address %s: %s", p, err)
		}
		g.own = append(g.own, p.Addr())
	}
	if g.nat != nil {
		g.stack.SetSpoofing(nic, true)
		g.stack.SetPromiscuousMode(nic, true)
		g.stack.SetTransportProtocolHandler(tcp.ProtocolNumber, g.nat.tcp(ctx))
		g.stack.SetTransportProtocolHandler(udp.ProtocolNumber, g.nat.udp())
	}
	return nil
}

// routes are the ways to the machines: the network itself, and through routers. Nothing leads outside: NAT is not
// routing.
func (g *Gateway) routes(through []lease.Route) []tcpip.Route {
	all := []tcpip.Route{{Destination: subnet(netip.PrefixFrom(g.own[0], 64)), NIC: nic}}
	for _, p := range g.id.Addrs {
		all = append(all, tcpip.Route{Destination: subnet(p), NIC: nic})
	}
	for _, r := range through {
		if !r.Via.IsValid() {
			continue
		}
		all = append(all, tcpip.Route{Destination: subnet(r.Prefix), Gateway: tcpip.AddrFromSlice(r.Via.AsSlice()), NIC: nic})
	}
	return all
}

func subnet(p netip.Prefix) tcpip.Subnet {
	p = p.Masked()
	return tcpip.AddressWithPrefix{Address: tcpip.AddrFromSlice(p.Addr().AsSlice()), PrefixLen: p.Bits()}.Subnet()
}

func network(a netip.Addr) tcpip.NetworkProtocolNumber {
	if a.Is4() {
		return ipv4.ProtocolNumber
	}
	return ipv6.ProtocolNumber
}

// services opens DHCP and DNS on the gateway's addresses; what they answer is Set's business.
func (g *Gateway) services() error {
	if g.id.addr4().IsValid() {
		dhcp, err := g.dhcpSocket()
		if err != nil {
			return err
		}
		g.closers = append(g.closers, func() { dhcp.Close() })
		g.upkeep.Go(func() { g.leases.Serve(dhcp) })
	}
	for _, p := range g.id.Addrs {
		if err := g.dns(p.Addr()); err != nil {
			return fmt.Errorf("cannot open DNS at %s: %w", p.Addr(), err)
		}
	}
	return nil
}

// dns opens DNS on one address.
func (g *Gateway) dns(addr netip.Addr) error {
	at := tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFromSlice(addr.AsSlice()), Port: 53}
	packets, err := gonet.DialUDP(g.stack, &at, nil, network(addr))
	if err != nil {
		return err
	}
	streams, err := gonet.ListenTCP(g.stack, at, network(addr))
	if err != nil {
		packets.Close()
		return err
	}
	wait := g.names.Serve(packets, streams)
	g.closers = append(g.closers, func() {
		packets.Close()
		streams.Shutdown() // Close alone does not wake Accept
		streams.Close()
		wait()
	})
	return nil
}

// dhcpSocket listens where clients without an address send to.
func (g *Gateway) dhcpSocket() (*gonet.UDPConn, error) {
	var wq waiter.Queue
	ep, err := g.stack.NewEndpoint(udp.ProtocolNumber, ipv4.ProtocolNumber, &wq)
	if err != nil {
		return nil, fmt.Errorf("cannot open DHCP: %s", err)
	}
	ep.SocketOptions().SetBroadcast(true)
	if err := ep.Bind(tcpip.FullAddress{NIC: nic, Port: 67}); err != nil {
		ep.Close()
		return nil, fmt.Errorf("cannot open DHCP: %s", err)
	}
	return gonet.NewUDPConn(&wq, ep), nil
}

// Listen takes TCP connections at the gateway's IPv4 address.
func (g *Gateway) Listen(port uint16) (net.Listener, error) {
	a := g.id.addr4().Addr()
	if !a.IsValid() {
		return nil, fmt.Errorf("cannot listen: the gateway has no IPv4 address")
	}
	l, err := gonet.ListenTCP(g.stack, tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFromSlice(a.AsSlice()), Port: port}, ipv4.ProtocolNumber)
	if err != nil {
		return nil, fmt.Errorf("cannot listen at %s, port %d: %w", a, port, err)
	}
	return listener{l}, nil
}

// listener is one whose Close wakes Accept, which gVisor's own does not.
type listener struct{ *gonet.TCPListener }

// Close implements net.Listener.
func (l listener) Close() error {
	l.Shutdown()
	return l.TCPListener.Close()
}

// Package gateway is labctl's own host on a network: a TCP/IP stack on a port of the switch. On every network it is
// the way in from the host (Dial) and answers DHCP and DNS as far as it is told to; on an uplink it is also the way
// out (NAT).
//
// It is put together from gVisor's stack rather than gvisor-tap-vsock's services: those stop taking connections when
// ten are pending, answer for addresses that are not theirs, and know neither IPv6 nor routes back.
//
// It must not know QEMU, unix sockets, or what else is on the network.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/qemu/netd/l2"
	"github.com/labctl-dev/labctl/plugins/qemu/netd/lease"
	"github.com/labctl-dev/labctl/plugins/qemu/netd/zone"
	"github.com/miekg/dns"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// Identity is what a gateway is for life; another one needs another gateway.
type Identity struct {
	MAC    net.HardwareAddr
	Addrs  []netip.Prefix // the gateway's, at most one of each family; none: it has only its IPv6 link-local address
	Uplink bool           // NAT for the machines, and the default route by DHCP
}

// addr4 is the gateway's IPv4 address with its network; zero where it has none.
func (id Identity) addr4() netip.Prefix {
	for _, p := range id.Addrs {
		if p.Addr().Is4() {
			return p
		}
	}
	return netip.Prefix{}
}

// Config is what can change while connections last.
type Config struct {
	MTU        int
	HostAccess bool // machines may reach the host: its addresses, and its loopback at the gateway's address
	Range      *lab.Range
	Static     []lease.Static
	Records    []zone.Record
	Domain     string
	Routes     []lease.Route
	Script     string // URL of what iPXE is to boot; "" is nothing
	IPXE       string // URL of iPXE for firmware of arm64 that starts from HTTP; "" is nothing
}

// Gateway is one network's gateway. It is safe for concurrent use.
type Gateway struct {
	id     Identity
	link   *link
	stack  *stack.Stack
	own    []netip.Addr // the stack's addresses
	leases *lease.Server
	names  zone.Server
	nat    *nat
	pings  *pinger
	config atomic.Pointer[Config]
	// upstream asks the host's resolver, until Close.
	upstream func(*dns.Msg) (*dns.Msg, error)

	stop    context.CancelFunc
	upkeep  sync.WaitGroup
	closers []func()
}

// New returns a working gateway, plugged into port. Leases given live in leases, so that they outlast the gateway.
// It works until Close, or until ctx ends.
func New(ctx context.Context, id Identity, c Config, port *l2.Port, leases *lease.Server) (*Gateway, error) {
	g, host := &Gateway{id: id, leases: leases}, zone.NewHost("")
	ctx, g.stop = context.WithCancel(ctx)
	g.link = &link{port: port, mac: tcpip.LinkAddress(id.MAC), admit: g.admit}
	g.link.SetMTU(uint32(c.MTU))
	g.stack = newStack()
	if id.Uplink {
		g.nat = newNAT(g)
		g.pings = newPinger(g.link)
	}
	if err := errors.Join(g.addresses(ctx), g.services()); err != nil {
		g.Close()
		return nil, fmt.Errorf("gateway %v: %w", id.Addrs, err)
	}
	g.upstream = func(q *dns.Msg) (*dns.Msg, error) { return host.Ask(ctx, q) }
	g.Set(c)
	port.Plug(g.link.receive, func(error) {})
	g.announce()
	return g, nil
}

// Set changes the configuration; connections last.
func (g *Gateway) Set(c Config) {
	g.config.Store(&c)
	g.link.SetMTU(uint32(c.MTU))
	g.stack.SetRouteTable(g.routes(c.Routes))
	names := zone.Config{Records: c.Records, Domain: c.Domain}
	give := lease.Config{Range: c.Range, Static: c.Static, Domain: c.Domain, MTU: c.MTU, Routes: c.Routes, Script: c.Script, IPXE: c.IPXE}
	if p := g.id.addr4(); p.IsValid() {
		give.Server, give.Subnet = p.Addr(), p.Masked()
		if g.id.Uplink {
			give.Router = p.Addr()
		}
		if g.id.Uplink || len(c.Records) > 0 {
			give.DNS = p.Addr()
		}
	}
	if g.id.Uplink {
		names.Upstream = g.upstream
	}
	g.names.Set(names)
	g.leases.Set(give)
}

// Ping says how pings to the world outside are done, or why they are not; "" if there is no way out.
func (g *Gateway) Ping() string {
	if g.pings == nil {
		return ""
	}
	return g.pings.how
}

// Close ends all connections and frees everything.
func (g *Gateway) Close() {
	g.link.port.Pull()
	g.stop()
	g.stack.Close() // ends handshakes, which nothing else can
	if g.nat != nil {
		g.nat.close()
		g.pings.close()
	}
	for _, c := range g.closers {
		c()
	}
	g.stack.Destroy()
	g.upkeep.Wait()
}

// admit keeps from the stack what it would answer falsely: with NAT it takes all addresses for its own.
func (g *Gateway) admit(frame []byte) bool {
	eth := header.Ethernet(frame)
	packet := frame[header.EthernetMinimumSize:]
	switch eth.Type() {
	case header.ARPProtocolNumber:
		a := header.ARP(packet)
		return a.IsValid() && (a.Op() != header.ARPRequest || g.owns(a.ProtocolAddressTarget()))
	case header.IPv4ProtocolNumber:
		ip := header.IPv4(packet)
		if !ip.IsValid(len(packet)) {
			return false
		}
		if ip.TransportProtocol() != header.ICMPv4ProtocolNumber || g.owns(ip.DestinationAddressSlice()) {
			return true
		}
		if g.pings != nil && g.allows(g.config.Load(), addrOf(ip.DestinationAddressSlice())) {
			g.pings.ask(frame)
		}
		return false
	case header.IPv6ProtocolNumber:
		return g.admit6(packet)
	}
	return false
}

func (g *Gateway) admit6(packet []byte) bool {
	ip := header.IPv6(packet)
	if !ip.IsValid(len(packet)) {
		return false
	}
	if ip.TransportProtocol() != header.ICMPv6ProtocolNumber {
		return true
	}
	icmp := header.ICMPv6(ip.Payload())
	if len(icmp) < header.ICMPv6MinimumSize {
		return false
	}
	switch icmp.Type() {
	case header.ICMPv6NeighborSolicit:
		return len(icmp) >= header.ICMPv6NeighborSolicitMinimumSize && g.owns(icmp.MessageBody()[4:20])
	case header.ICMPv6EchoRequest:
		return g.owns(ip.DestinationAddressSlice()) || header.IsV6MulticastAddress(ip.DestinationAddress())
	}
	return true
}

// owns says whether an address is the gateway's own.
func (g *Gateway) owns(b []byte) bool { return slices.Contains(g.own, addrOf(b)) }

func fromStack(a tcpip.Address) netip.Addr { return addrOf(a.AsSlice()) }

func addrOf(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	return a
}

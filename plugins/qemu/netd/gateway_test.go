package netd

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/qemu/netd/wire"
	"github.com/miekg/dns"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// TestDial reaches machines as ssh would, on two networks that know nothing of each other's equal addresses.
func TestDial(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set(Network{Name: "lan", CIDR: office}, Network{Name: "office", CIDR: office, MTU: 9000}, Network{Name: "bare"})
	any4, any6 := netip.IPv4Unspecified(), netip.IPv6Unspecified()
	one := w.guest("lan", "a", "10.20.0.10")
	two := w.guest("office", "a", "10.20.0.10")
	late := w.guest("bare", "late", "") // no address yet, or no longer
	one.listenTCP(any4, 22, "one")
	two.listenTCP(any4, 22, "two")
	late.listenTCP(any6, 22, "late")
	tests := []struct {
		name string
		r    DialRequest
		want string
		code Code
	}{
		{name: "address", r: DialRequest{Network: "lan", Addr: netip.MustParseAddr("10.20.0.10"), Port: 22}, want: "one"},
		{name: "same address", r: DialRequest{Network: "office", Addr: netip.MustParseAddr("10.20.0.10"), Port: 22}, want: "two"},
		{name: "address that answers, MAC that does not listen", r: DialRequest{Network: "lan", MAC: one.mac.String(), Addr: netip.MustParseAddr("10.20.0.10"), Port: 22}, want: "one"},
		{name: "MAC", r: DialRequest{Network: "bare", MAC: late.mac.String(), Port: 22}, want: "late"},
		{name: "MAC, and an address that is not there", r: DialRequest{Network: "bare", MAC: late.mac.String(), Addr: netip.MustParseAddr("10.20.0.77"), Port: 22}, want: "late"},
		{name: "closed", r: DialRequest{Network: "lan", Addr: netip.MustParseAddr("10.20.0.10"), Port: 23}, code: Refused},
		{name: "closed and nobody", r: DialRequest{Network: "lan", MAC: "02:00:00:00:99:99", Addr: netip.MustParseAddr("10.20.0.10"), Port: 23}, code: Refused},
		{name: "nobody", r: DialRequest{Network: "lan", Addr: netip.MustParseAddr("10.20.0.99"), Port: 22}, code: Unreachable},
		{name: "nobody by MAC", r: DialRequest{Network: "lan", MAC: "02:00:00:00:99:99", Port: 22}, code: Unreachable},
		{name: "elsewhere", r: DialRequest{Network: "lan", Addr: netip.MustParseAddr("192.0.2.1"), Port: 22}, code: Unreachable},
		{name: "no such network", r: DialRequest{Network: "wan", Addr: netip.MustParseAddr("10.20.0.10"), Port: 22}, code: NoNetwork},
		{name: "nothing", r: DialRequest{Network: "lan", Port: 22}, code: Invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
			defer cancel()
			c, err := w.Dial(ctx, tt.r)
			if CodeOf(err) != tt.code {
				t.Fatalf("error %v (%s), want %q", err, CodeOf(err), tt.code)
			}
			if err == nil {
				if got := converse(t, c, "1234"); got != tt.want+"\nbye after 4ns" {
					t.Errorf("got %q", got)
				}
			}
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := w.Dial(ctx, DialRequest{Network: "lan", Addr: netip.MustParseAddr("10.20.0.98"), Port: 22}); CodeOf(err) != Timeout {
		t.Errorf("dial with little time: %v", err)
	}
}

// TestChangeKeepsConnections changes all that may change while a connection through the gateway lasts.
func TestChangeKeepsConnections(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set(Network{Name: "lan", CIDR: office})
	g := w.guest("lan", "a", "10.20.0.10")
	g.listenTCP(netip.IPv4Unspecified(), 22, "hello")
	c, err := w.Dial(t.Context(), DialRequest{Network: "lan", Addr: netip.MustParseAddr("10.20.0.10"), Port: 22})
	if err != nil {
		t.Fatal(err)
	}
	n := sample()
	n.Name, n.Uplink, n.Join, n.Forward, n.CIDR6 = "lan", false, nil, nil, netip.Prefix{}
	w.set(n)
	if got := converse(t, c, "x"); got != "hello\nbye after 1ns" {
		t.Errorf("got %q", got)
	}
	w.set(Network{Name: "lan", CIDR: netip.MustParsePrefix("10.20.0.0/25")}) // the door moves
	c, err = w.Dial(t.Context(), DialRequest{Network: "lan", Addr: netip.MustParseAddr("10.20.0.10"), Port: 22})
	if err != nil {
		t.Fatal(err)
	}
	if got := converse(t, c, "x"); got != "hello\nbye after 1ns" {
		t.Errorf("after the change: got %q", got)
	}
	if w.network("lan").Ports[0].Redials != 0 {
		t.Error("the port was lost over a change")
	}
}

// TestDHCP has a client go through the life of a lease.
func TestDHCP(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := netip.MustParseAddr
	n := Network{
		Name: "lan", CIDR: office, Uplink: true, MTU: 9000, DHCP: &lab.Range{From: a("10.20.0.100"), To: a("10.20.0.101")}, Domain: "quickstart.lab",
		Leases: []Lease{{MAC: "02:00:00:00:03:61", Addr: a("10.20.0.10"), Name: "web"}},
		Routes: []Route{{Prefix: netip.MustParsePrefix("10.30.0.0/16"), Via: a("10.20.0.20")}},
	}
	w.set(n, Network{Name: "none", CIDR: office})
	known, stranger := w.guest("lan", "a", ""), w.guest("lan", "b", "")
	ack := known.lease()
	for what, v := range map[string][2]string{
		"address":   {ack.YourIPAddr.String(), "10.20.0.10"},
		"server":    {ack.ServerIdentifier().String(), "10.20.0.1"},
		"router":    {ack.Router()[0].String(), "10.20.0.1"},
		"dns":       {ack.DNS()[0].String(), "10.20.0.1"},
		"mask":      {ack.SubnetMask().String(), "ffffff00"},
		"host name": {ack.HostName(), "web"},
		"domain":    {ack.DomainName(), "quickstart.lab"},
		"search":    {strings.Join(ack.DomainSearch().Labels, " "), "quickstart.lab"},
		"routes":    {dhcpv4.Routes(ack.ClasslessStaticRoute()).String(), "route to 10.30.0.0/16 via 10.20.0.20; route to 0.0.0.0/0 via 10.20.0.1"},
	} {
		if strings.TrimSuffix(v[0], "; ") != v[1] {
			t.Errorf("%s: %q, want %q", what, v[0], v[1])
		}
	}
	if ack := stranger.lease(); ack.YourIPAddr.String() != "10.20.0.100" {
		t.Errorf("a stranger got %s", ack.YourIPAddr)
	}
	leases := w.network("lan").Leases
	if len(leases) != 2 || leases[0].MAC != known.mac.String() || leases[1].Addr != a("10.20.0.100") {
		t.Errorf("leases %+v", leases)
	}
	if none := w.guest("none", "a", ""); none.exchange(dhcpv4.MessageTypeDiscover) != nil {
		t.Error("a network without DHCP gave an answer")
	}
}

// lease asks for an address as a client would.
func (g *guest) lease() *dhcpv4.DHCPv4 {
	g.Helper()
	offer := g.exchange(dhcpv4.MessageTypeDiscover)
	if offer == nil {
		g.Fatal("no offer")
	}
	ack := g.exchange(dhcpv4.MessageTypeRequest, dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(offer.YourIPAddr)),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(offer.ServerIdentifier())))
	if ack == nil || ack.MessageType() != dhcpv4.MessageTypeAck {
		g.Fatalf("no lease: %v", ack)
	}
	return ack
}

// exchange broadcasts a message without having an address, and returns the answer; nil after a while.
func (g *guest) exchange(kind dhcpv4.MessageType, more ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	g.Helper()
	m, err := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithHwAddr(g.mac), dhcpv4.WithMessageType(kind)}, more...)...)
	if err != nil {
		g.Fatal(err)
	}
	for range 3 {
		g.broadcast(m.ToBytes())
		late := time.After(300 * time.Millisecond)
		for waiting := true; waiting; {
			select {
			case b := <-g.dhcp:
				if r, err := dhcpv4.FromBytes(b); err == nil && r.TransactionID == m.TransactionID {
					return r
				}
			case <-late:
				waiting = false
			}
		}
	}
	return nil
}

// broadcast sends a DHCP client's datagram as a frame: no stack sends from an address that it does not have.
func (g *guest) broadcast(payload []byte) {
	const at = header.EthernetMinimumSize + header.IPv4MinimumSize
	f := make([]byte, at+header.UDPMinimumSize+len(payload))
	header.Ethernet(f).Encode(&header.EthernetFields{SrcAddr: tcpip.LinkAddress(g.mac), DstAddr: header.EthernetBroadcastAddress, Type: ipv4.ProtocolNumber})
	ip := header.IPv4(f[header.EthernetMinimumSize:])
	ip.Encode(&header.IPv4Fields{TotalLength: uint16(len(ip)), TTL: 64, Protocol: uint8(udp.ProtocolNumber), DstAddr: header.IPv4Broadcast, SrcAddr: header.IPv4Any})
	ip.SetChecksum(^ip.CalculateChecksum())
	u := header.UDP(f[at:])
	u.Encode(&header.UDPFields{SrcPort: 68, DstPort: 67, Length: uint16(len(u))})
	copy(u.Payload(), payload)
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, err := g.conn.Write(wire.Append(nil, f)); err != nil {
		g.Error(err)
	}
}

// TestDNS asks the gateway by UDP and TCP.
func TestDNS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	web := netip.MustParseAddr("10.20.0.10")
	w.set(Network{Name: "lan", CIDR: office, Domain: "quickstart.lab", Records: []Record{{Name: "web", Addr: web}}}, Network{Name: "none", CIDR: office})
	g := w.guest("lan", "a", "10.20.0.11")
	for _, network := range []string{"udp", "tcp"} {
		for name, want := range map[string]string{"web.": "10.20.0.10", "WEB.quickstart.lab.": "10.20.0.10", "db.quickstart.lab.": "NXDOMAIN", "example.org.": "REFUSED"} {
			if got := g.resolve(network, "10.20.0.254", name); got != want {
				t.Errorf("%s %s: %s, want %s", network, name, got, want)
			}
		}
	}
	if got := w.guest("none", "a", "10.20.0.11").resolve("udp", "10.20.0.254", "web."); got != "REFUSED" {
		t.Errorf("without records: %s", got)
	}
}

// resolve returns the first address, or the response code.
func (g *guest) resolve(network, server, name string) string {
	g.Helper()
	to := full(netip.MustParseAddr(server), 53)
	var conn net.Conn
	var err error
	if network == "udp" {
		conn, err = gonet.DialUDP(g.stack, nil, &to, ipv4.ProtocolNumber)
	} else {
		conn, err = gonet.DialTCP(g.stack, to, ipv4.ProtocolNumber)
	}
	if err != nil {
		g.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	c := dns.Conn{Conn: conn}
	b, err := new(dns.Msg).SetQuestion(name, dns.TypeA).Pack()
	if err != nil {
		g.Fatal(err)
	}
	if network == "udp" { // dns.Conn knows packets only of package net
		_, err = conn.Write(b)
	} else {
		_, err = c.Write(b)
	}
	if err != nil {
		g.Fatal(err)
	}
	buf := make([]byte, 2000)
	var n int
	if network == "udp" {
		n, err = conn.Read(buf)
	} else {
		n, err = c.Read(buf)
	}
	if err != nil {
		g.Fatal(err)
	}
	m := new(dns.Msg)
	if err := m.Unpack(buf[:n]); err != nil {
		g.Fatal(err)
	}
	if len(m.Answer) > 0 {
		return m.Answer[0].(*dns.A).A.String()
	}
	return dns.RcodeToString[m.Rcode]
}

package lease

import (
	"bytes"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/rfc1035label"
)

// Serve answers what comes in at conn until reading it fails, which closing it does.
func (s *Server) Serve(conn net.PacketConn) {
	buf := make([]byte, 2048)
	for {
		n, _, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		m, err := dhcpv4.FromBytes(buf[:n])
		if err != nil {
			continue // not ours to complain about: any machine may send anything
		}
		if reply := s.Answer(m, time.Now()); reply != nil {
			_, _ = conn.WriteTo(reply.ToBytes(), target(m, reply))
		}
	}
}

// target is where a reply goes (RFC 2131, 4.1): to the address the client has, else to everybody, which every client
// understands that has none yet.
func target(m, reply *dhcpv4.DHCPv4) net.Addr {
	if reply.MessageType() != dhcpv4.MessageTypeNak && !m.ClientIPAddr.IsUnspecified() && !m.IsBroadcast() {
		return &net.UDPAddr{IP: m.ClientIPAddr.To4(), Port: dhcpv4.ClientPort}
	}
	return &net.UDPAddr{IP: net.IPv4bcast.To4(), Port: dhcpv4.ClientPort}
}

// Answer is the reply to m at the time now; nil if there is none.
func (s *Server) Answer(m *dhcpv4.DHCPv4, now time.Time) *dhcpv4.DHCPv4 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.OpCode != dhcpv4.OpcodeBootRequest || len(m.ClientHWAddr) != 6 || !s.config.Subnet.IsValid() ||
		!m.GatewayIPAddr.IsUnspecified() { // relayed: from a network that is not this one
		return nil
	}
	if id := addr(m.ServerIdentifier()); id.IsValid() && id != s.config.Server {
		return nil // the client has chosen another server
	}
	mac := m.ClientHWAddr.String()
	wish := addr(m.RequestedIPAddress())
	switch m.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		a := s.pick(mac, wish, now)
		if !a.IsValid() {
			return nil
		}
		s.hold(mac, a, now.Add(offered))
		return s.reply(m, dhcpv4.MessageTypeOffer, a)
	case dhcpv4.MessageTypeRequest:
		if !wish.IsValid() {
			wish = addr(m.ClientIPAddr)
		}
		a := s.pick(mac, wish, now)
		if !a.IsValid() {
			return nil // a stranger without a range: another server's client, perhaps
		}
		if a != wish {
			return s.refuse(m)
		}
		s.hold(mac, a, now.Add(Time))
		return s.reply(m, dhcpv4.MessageTypeAck, a)
	case dhcpv4.MessageTypeInform:
		if _, known := s.config.static(mac); known || s.config.Range != nil {
			return s.reply(m, dhcpv4.MessageTypeAck, netip.Addr{})
		}
	case dhcpv4.MessageTypeRelease:
		delete(s.leases, mac)
	case dhcpv4.MessageTypeDecline:
		delete(s.leases, mac)
		if s.config.Range.Contains(wish) {
			s.hold("declined "+wish.String(), wish, now.Add(declined))
		}
	}
	return nil
}

func (s *Server) refuse(m *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
	r, err := dhcpv4.NewReplyFromRequest(m, dhcpv4.WithMessageType(dhcpv4.MessageTypeNak),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(s.config.Server.AsSlice())))
	if err != nil {
		return nil
	}
	return r
}

// reply gives a (zero: only the options) with all that the configuration says.
func (s *Server) reply(m *dhcpv4.DHCPv4, t dhcpv4.MessageType, a netip.Addr) *dhcpv4.DHCPv4 {
	r, err := dhcpv4.NewReplyFromRequest(m, dhcpv4.WithMessageType(t))
	if err != nil {
		return nil
	}
	c := &s.config
	r.ServerIPAddr = c.Server.AsSlice()
	set := r.UpdateOption
	set(dhcpv4.OptServerIdentifier(c.Server.AsSlice()))
	set(dhcpv4.OptSubnetMask(net.CIDRMask(c.Subnet.Bits(), 32)))
	if a.IsValid() {
		r.YourIPAddr = a.AsSlice()
		set(dhcpv4.OptIPAddressLeaseTime(Time))
		set(dhcpv4.OptRenewTimeValue(Time / 2))
		set(dhcpv4.OptRebindingTimeValue(Time * 7 / 8))
		if fixed, ok := c.static(m.ClientHWAddr.String()); ok && fixed.Name != "" {
			set(dhcpv4.OptHostName(fixed.Name))
		}
	}
	if c.Router.IsValid() {
		set(dhcpv4.OptRouter(c.Router.AsSlice()))
	}
	if c.DNS.IsValid() {
		set(dhcpv4.OptDNS(c.DNS.AsSlice()))
	}
	if c.Domain != "" {
		set(dhcpv4.OptDomainName(c.Domain))
		set(dhcpv4.OptDomainSearch(&rfc1035label.Labels{Labels: strings.Fields(c.Domain)}))
	}
	if c.MTU >= 68 && c.MTU <= 65535 {
		set(dhcpv4.Option{Code: dhcpv4.OptionInterfaceMTU, Value: dhcpv4.Uint16(c.MTU)})
	}
	if routes := c.routes(a); len(routes) > 0 {
		set(dhcpv4.OptClasslessStaticRoute(routes...))
	}
	switch {
	case c.Script != "" && isIPXE(m):
		set(dhcpv4.OptBootFileName(c.Script))
	case c.IPXE != "" && strings.HasPrefix(m.ClassIdentifier(), httpARM64):
		set(dhcpv4.OptClassIdentifier("HTTPClient"))
		set(dhcpv4.OptBootFileName(c.IPXE))
	}
	return r
}

// httpARM64 is how a firmware of arm64 begins that starts from what HTTP gives (UEFI 2.10, 24.7.3).
const httpARM64 = "HTTPClient:Arch:00019"

// isIPXE says whether a client takes a URL for a file name. It says so by its user class, without the length before it that
// RFC 3004 wants.
func isIPXE(m *dhcpv4.DHCPv4) bool {
	return bytes.Contains(m.Options.Get(dhcpv4.OptionUserClassInformation), []byte("iPXE"))
}

// routes are the classless routes for the client at a. With them a client ignores the router option (RFC 3442), so
// the default route is among them; none that leads through the client itself.
func (c *Config) routes(a netip.Addr) []*dhcpv4.Route {
	var all []*dhcpv4.Route
	for _, r := range c.Routes {
		if r.Prefix.Addr().Is4() && r.Via.IsValid() && r.Via != a {
			p := r.Prefix.Masked()
			all = append(all, &dhcpv4.Route{Dest: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}, Router: r.Via.AsSlice()})
		}
	}
	if len(all) > 0 && c.Router.IsValid() {
		all = append(all, &dhcpv4.Route{Dest: &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}, Router: c.Router.AsSlice()})
	}
	return all
}

// addr is zero for an address that is absent or 0.0.0.0.
func addr(ip net.IP) netip.Addr {
	a, ok := netip.AddrFromSlice(ip)
	if a = a.Unmap(); !ok || a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}

package netd

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/qemu/netd/wire"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

var office6 = netip.MustParsePrefix("fd00:20::/64")

// tell answers each connection with the address it comes from.
func (g *guest) tell(addr netip.Addr, port uint16) {
	g.Helper()
	l, err := gonet.ListenTCP(g.stack, full(addr, port), proto(addr))
	if err != nil {
		g.Fatal(err)
	}
	g.Cleanup(l.Shutdown)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			_, _ = io.WriteString(c, host)
			c.Close()
		}
	}()
}

// TestSource checks where labctl's connections come from: that is what machines' firewalls let in, and nothing else.
func TestSource(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set(
		Network{Name: "isolated", CIDR: office, CIDR6: office6},
		Network{Name: "uplink", CIDR: office, CIDR6: office6, Uplink: true},
		Network{Name: "six", CIDR: office6},
	)
	for name, want := range map[string][2]string{
		"isolated": {lab.Door(office).String(), lab.Door(office6).String()},
		"uplink":   {lab.Gateway(office).String(), lab.Gateway(office6).String()},
		"six":      {"", lab.Door(office6).String()},
	} {
		a := netip.MustParseAddr
		own := map[string]string{"10.20.0.10": want[0], "fd00:20::10": want[1]}
		g := w.guest(name, "a", "")
		g.address(netip.PrefixFrom(a("fd00:20::10"), 64))
		if name == "six" {
			delete(own, "10.20.0.10")
		} else {
			g.address(netip.PrefixFrom(a("10.20.0.10"), 24))
			g.tell(a("10.20.0.10"), 22)
		}
		g.tell(a("::"), 23)
		mac, err := net.ParseMAC(w.network(name).Gateway.MAC)
		if err != nil {
			t.Fatal(err)
		}
		own[""] = LinkLocal(mac).String() // by MAC
		for to, from := range own {
			r := DialRequest{Network: name, Port: 23, MAC: g.mac.String()}
			if to != "" {
				r.Addr, r.MAC = a(to), ""
				if r.Addr.Is4() {
					r.Port = 22
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			c, err := w.Dial(ctx, r)
			cancel()
			if err != nil {
				t.Errorf("%s at %q: %v", name, to, err)
				continue
			}
			got, err := io.ReadAll(c)
			if err != nil || strings.Split(string(got), "%")[0] != from {
				t.Errorf("%s at %q: a connection from %s, %v; want %s", name, to, got, err, from)
			}
			c.Close()
		}
	}
}

// TestRouters has two routers on one uplink, each with networks behind it, in both families: reached from the host,
// and led out and back.
func TestRouters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	route := func(to, via string) Route {
		return Route{Prefix: netip.MustParsePrefix(to), Via: netip.MustParseAddr(via)}
	}
	w.set(Network{Name: "lan", CIDR: office, CIDR6: office6, Uplink: true, HostAccess: true, Routes: []Route{
		route("10.30.0.0/16", "10.20.0.10"), route("10.40.0.0/16", "10.20.0.11"),
		route("fd00:30::/64", "fd00:20::10"), route("fd00:40::/64", "fd00:20::11"),
	}})
	here4, here6 := listener(t, "127.0.0.1:0"), listener(t, "[::1]:0")
	for router, own := range map[string][2]string{"a": {"10.20.0.10", "10.30.0.5"}, "b": {"10.20.0.11", "10.40.0.5"}} {
		g := w.guest("lan", router, own[0])
		last, site := own[0][len(own[0])-2:], strings.Split(own[1], ".")[1]
		g.address(netip.PrefixFrom(netip.MustParseAddr("fd00:20::"+last), 64))
		for _, behind := range []netip.Addr{netip.MustParseAddr(own[1]), netip.MustParseAddr("fd00:" + site + "::5")} {
			g.address(netip.PrefixFrom(behind, behind.BitLen())) // the machine behind is, for us, the router itself
			g.listenTCP(behind, 22, router)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			c, err := w.Dial(ctx, DialRequest{Network: "lan", Addr: behind, Port: 22})
			if err != nil {
				t.Fatalf("%s behind %s: %v", behind, router, err)
			}
			if got := converse(t, c, "x"); got != router+"\nbye after 1ns" {
				t.Errorf("%s behind %s: %q", behind, router, got)
			}
			gateway, here := lab.Gateway(office), here4
			if behind.Is6() {
				gateway, here = lab.Gateway(office6), here6
			}
			out, err := gonet.DialTCPWithBind(ctx, g.stack, full(behind, 0), full(gateway, here), proto(behind))
			if err != nil {
				t.Fatalf("out from %s: %v", behind, err)
			}
			if got := converse(t, out, "x"); got != "host\nbye after 1ns" {
				t.Errorf("out from %s: %q", behind, got)
			}
		}
	}
}

// listener is a server on the host that says "host"; its port.
func listener(t *testing.T, at string) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Skipf("this host has no %s: %v", at, err)
	}
	t.Cleanup(func() { l.Close() })
	go greet(l, "host")
	return l.Addr().(*net.TCPAddr).AddrPort().Port()
}

// TestRouterTakesOver makes an isolated network of an uplink, where a router has the first address from then on, and
// an uplink of it again. The machine on it keeps its cable and its connections to its neighbours.
func TestRouterTakesOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := netip.MustParseAddr
	g1, g6 := lab.Gateway(office), lab.Gateway(office6)
	uplink := Network{Name: "lan", CIDR: office, CIDR6: office6, Uplink: true, HostAccess: true, Domain: "d.lab",
		DHCP: &lab.Range{From: a("10.20.0.100"), To: a("10.20.0.110")}, Records: []Record{{Name: "web", Addr: a("10.20.0.10")}}}
	isolated := Network{Name: "lan", CIDR: office, CIDR6: office6, Domain: "d.lab"}
	w.set(uplink)
	port := listener(t, "127.0.0.1:0")
	host := w.guest("lan", "a", "10.20.0.10")
	host.address(netip.PrefixFrom(a("fd00:20::10"), 64))
	mate := w.guest("lan", "m", "10.20.0.11")
	mate.listenTCP(netip.IPv4Unspecified(), 80, "mate")
	lasting, err := host.dialTCP(netip.MustParseAddrPort("10.20.0.11:80"))
	if err != nil {
		t.Fatal(err)
	}
	works := func(when string) {
		t.Helper()
		c, err := host.dialTCP(netip.AddrPortFrom(g1, port))
		if err != nil {
			t.Fatalf("%s: NAT: %v", when, err)
		}
		if got := converse(t, c, "x"); got != "host\nbye after 1ns" {
			t.Errorf("%s: NAT: %q", when, got)
		}
		if got := host.resolve("udp", g1.String(), "web."); got != "10.20.0.10" {
			t.Errorf("%s: DNS: %s", when, got)
		}
		if host.exchange(dhcpv4.MessageTypeDiscover) == nil {
			t.Errorf("%s: no DHCP", when)
		}
	}
	works("as an uplink")
	through, err := host.dialTCP(netip.AddrPortFrom(g1, port))
	if err != nil {
		t.Fatal(err)
	}

	w.set(isolated)
	_ = through.SetDeadline(time.Now().Add(300 * time.Millisecond)) // nobody is left who would answer, not even by a reset
	if b, err := io.ReadAll(through); err == nil || strings.Contains(string(b), "bye") {
		t.Errorf("a connection through NAT goes on: %q, %v", b, err)
	}
	through.Close()
	if host.exchange(dhcpv4.MessageTypeDiscover) != nil {
		t.Error("DHCP still answers")
	}
	if got := host.resolve("udp", lab.Door(office).String(), "web."); got != "REFUSED" {
		t.Errorf("DNS still answers at the door: %s", got)
	}
	for _, at := range []netip.Addr{g1, g6} {
		if got := host.finds(at); got != "" {
			t.Errorf("%s is still at %s", at, got)
		}
	}
	router := w.guest("lan", "r", g1.String())
	router.address(netip.PrefixFrom(g6, 64))
	router.listenTCP(netip.IPv4Unspecified(), 53, "router")
	for _, at := range []netip.Addr{g1, g6} {
		if got, want := host.finds(at), router.mac.String(); got != want {
			t.Errorf("%s is at %q, not at the router's %s", at, got, want)
		}
	}
	c, err := host.dialTCP(netip.AddrPortFrom(g1, 53))
	if err != nil {
		t.Fatal(err)
	}
	if got := converse(t, c, "x"); got != "router\nbye after 1ns" {
		t.Errorf("at the router: %q", got)
	}
	if got := host.ping(t, netip.MustParseAddr("192.0.2.1")); got != "silence" {
		t.Errorf("a ping outside: %s", got)
	}
	mateDial, err := w.Dial(t.Context(), DialRequest{Network: "lan", Addr: a("10.20.0.11"), Port: 80})
	if err != nil {
		t.Fatal(err)
	}
	if got := converse(t, mateDial, "x"); got != "mate\nbye after 1ns" {
		t.Errorf("from the door: %q", got)
	}

	router.down() // destroyed; its neighbours remember it
	ear := w.ear("lan")
	w.set(uplink)
	mac := w.network("lan").Gateway.MAC
	for _, what := range []string{"ARP for " + g1.String() + " from " + mac, "neighbour advertisement for " + g6.String() + " from " + mac} {
		if !ear.hears(what) {
			t.Errorf("no %s", what)
		}
	}
	for _, at := range []netip.Addr{g1, g6} {
		if got := host.finds(at); got != mac {
			t.Errorf("%s is at %q, not at the gateway's %s", at, got, mac)
		}
	}
	works("as an uplink again")
	if got := converse(t, lasting, "x"); got != "mate\nbye after 1ns" {
		t.Errorf("a connection that had nothing to do with it: %q", got)
	}
	for _, p := range w.network("lan").Ports {
		if p.Redials != 0 && p.Name != "r" {
			t.Errorf("port %s was lost", p.Name)
		}
	}
}

// ear is a port that only listens.
type ear chan string

// ear plugs one in.
func (w *world) ear(network string) ear {
	w.Helper()
	l, err := net.Listen("unix", filepath.Join(w.Folder(network), "ear"))
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { l.Close() })
	heard := make(ear, 1000)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		for r := wire.NewReader(c); ; {
			run, err := r.Next()
			if err != nil {
				return
			}
			for len(run) > 0 {
				var f []byte
				f, run = wire.Cut(run)
				select {
				case heard <- meaning(f):
				default:
				}
			}
		}
	}()
	w.until("the ear is connected", func() bool { return w.connected(network, "ear") })
	return heard
}

// meaning is what a frame announces, in words.
func meaning(f []byte) string {
	payload := f[header.EthernetMinimumSize:]
	switch header.Ethernet(f).Type() {
	case header.ARPProtocolNumber:
		a := header.ARP(payload)
		return fmt.Sprintf("ARP for %s from %s", net.IP(a.ProtocolAddressSender()), net.HardwareAddr(a.HardwareAddressSender()))
	case header.IPv6ProtocolNumber:
		ip := header.IPv6(payload)
		m := header.ICMPv6(ip.Payload())
		if ip.TransportProtocol() != header.ICMPv6ProtocolNumber || m.Type() != header.ICMPv6NeighborAdvert ||
			m.Checksum() != header.ICMPv6Checksum(header.ICMPv6ChecksumParams{Header: m, Src: ip.SourceAddress(), Dst: ip.DestinationAddress()}) {
			break
		}
		na := header.NDPNeighborAdvert(m.MessageBody())
		it, err := na.Options().Iter(true)
		if err != nil {
			break
		}
		for o, done, err := it.Next(); err == nil && !done; o, done, err = it.Next() {
			if t, ok := o.(header.NDPTargetLinkLayerAddressOption); ok && na.OverrideFlag() {
				return fmt.Sprintf("neighbour advertisement for %s from %s", na.TargetAddress(), net.HardwareAddr(t.EthernetAddress()))
			}
		}
	}
	return ""
}

// hears says whether something comes within two seconds.
func (e ear) hears(what string) bool {
	for late := time.After(2 * time.Second); ; {
		select {
		case said := <-e:
			if said == what {
				return true
			}
		case <-late:
			return false
		}
	}
}

// finds asks the network who has an address now, whatever the machine remembers; "" if nobody answers.
func (g *guest) finds(at netip.Addr) string {
	g.Helper()
	p := proto(at)
	_ = g.stack.RemoveNeighbor(1, p, tcpip.AddrFromSlice(at.AsSlice()))
	found := make(chan string, 1)
	terr := g.stack.GetLinkAddress(1, tcpip.AddrFromSlice(at.AsSlice()), tcpip.Address{}, p, func(r stack.LinkResolutionResult) {
		if r.Err == nil {
			found <- net.HardwareAddr(r.LinkAddress).String()
		} else {
			found <- ""
		}
	})
	if terr == nil {
		return <-found
	}
	select {
	case mac := <-found:
		return mac
	case <-time.After(10 * time.Second):
		g.Fatalf("no end of asking for %s: %v", at, terr)
		return ""
	}
}

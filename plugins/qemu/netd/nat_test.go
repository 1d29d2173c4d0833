package netd

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// TestNAT leads out to the host, which is all the outside that a test has, and is kept from it.
func TestNAT(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := Network{Name: "lan", CIDR: office, Uplink: true, HostAccess: true, Routes: []Route{{Prefix: netip.MustParsePrefix("10.30.0.0/16"), Via: netip.MustParseAddr("10.20.0.20")}}}
	w.set(n)
	g := w.guest("lan", "a", "10.20.0.10")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go greet(l, "host")
	port := l.Addr().(*net.TCPAddr).AddrPort().Port()
	gw := netip.AddrPortFrom(lab.Gateway(office), port)

	c, err := g.dialTCP(gw)
	if err != nil {
		t.Fatal(err)
	}
	if got := converse(t, c, strings.Repeat("x", 3000000)); got != "host\nbye after 3ms" {
		t.Errorf("TCP: %q", got)
	}
	if got := g.echo(t, gw.Addr()); got != "ping" {
		t.Errorf("UDP: %q", got)
	}
	// Many at once: more than gvisor-tap-vsock's forwarder lets wait.
	var all sync.WaitGroup
	for range 40 {
		all.Go(func() {
			c, err := g.dialTCP(gw)
			if err != nil {
				t.Error(err)
				return
			}
			if got := converse(t, c, "x"); got != "host\nbye after 1ns" {
				t.Errorf("one of many: %q", got)
			}
		})
	}
	all.Wait()

	own := hostAddr(t)
	if own.IsValid() {
		l2, err := net.Listen("tcp", netip.AddrPortFrom(own, 0).String())
		if err != nil {
			t.Fatal(err)
		}
		defer l2.Close()
		go greet(l2, "host")
		to := l2.Addr().(*net.TCPAddr).AddrPort()
		if c, err := g.dialTCP(to); err != nil {
			t.Errorf("the host's own address with access: %v", err)
		} else if got := converse(t, c, "x"); got != "host\nbye after 1ns" {
			t.Errorf("the host's own address with access: %q", got)
		}
		defer func() {
			if c, err := g.dialTCP(to); err == nil {
				t.Errorf("reached %s without access: %q", to, converse(t, c, "x"))
			}
		}()
	}
	n.HostAccess = false
	w.set(n)
	for _, to := range []netip.Addr{gw.Addr(), netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("0.0.0.1"), netip.MustParseAddr("10.30.0.1")} {
		if c, err := g.dialTCP(netip.AddrPortFrom(to, port)); err == nil {
			t.Errorf("reached %s without access", to)
			c.Close()
		}
	}
}

// hostAddr is an IPv4 address of the host that is not its loopback's; zero if it has none.
func hostAddr(t *testing.T) netip.Addr {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() {
			return p.Addr()
		}
	}
	return netip.Addr{}
}

// echo sends a datagram to a server on the host's loopback and returns what it sends back.
func (g *guest) echo(t *testing.T, gw netip.Addr) string {
	t.Helper()
	s, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	go func() {
		buf := make([]byte, 100)
		n, from, err := s.ReadFrom(buf)
		if err == nil {
			_, _ = s.WriteTo(buf[:n], from)
		}
	}()
	to := full(gw, s.LocalAddr().(*net.UDPAddr).AddrPort().Port())
	c, err := gonet.DialUDP(g.stack, nil, &to, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(c, "ping"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

// TestSilentHosts has connections wait for hosts that say nothing, while others are made. gvisor-tap-vsock's forwarder
// takes no more after ten of them.
func TestSilentHosts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set(Network{Name: "lan", CIDR: office, Uplink: true, HostAccess: true})
	g := w.guest("lan", "a", "10.20.0.10")
	silent := silentPort(t)
	gw := lab.Gateway(office)
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	defer waiting.Wait()
	defer cancel()
	for range 60 {
		waiting.Go(func() {
			if c, err := gonet.DialContextTCP(ctx, g.stack, full(gw, silent), ipv4.ProtocolNumber); err == nil {
				t.Error("the silent host has answered")
				c.Close()
			}
		})
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go greet(l, "host")
	time.Sleep(200 * time.Millisecond)
	c, err := g.dialTCP(netip.AddrPortFrom(gw, l.Addr().(*net.TCPAddr).AddrPort().Port()))
	if err != nil {
		t.Fatal(err)
	}
	if got := converse(t, c, "x"); got != "host\nbye after 1ns" {
		t.Errorf("got %q", got)
	}
	cancel()
	waiting.Wait()
	w.stop() // must not wait for them either
}

// silentPort is a port of the loopback where connections are not answered: its backlog is full.
func silentPort(t *testing.T) uint16 {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(name.(*unix.SockaddrInet4).Port))
	for range 20 {
		c, err := net.DialTimeout("tcp", at.String(), 200*time.Millisecond)
		if err != nil {
			return at.Port()
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Skip("this system's backlog does not fill up")
	return 0
}

// TestPing asks the gateway, which answers itself, and a host outside (the loopback, with access), which answers if the
// system lets us ask. What does not exist must not seem to answer.
func TestPing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set(Network{Name: "lan", CIDR: office, Uplink: true, HostAccess: true})
	g := w.guest("lan", "a", "10.20.0.10")
	how := w.network("lan").Gateway.Ping
	t.Logf("pings go out by: %s", how)
	if got := g.ping(t, lab.Gateway(office)); got != "reply" {
		t.Errorf("the gateway: %s", got)
	}
	want := "reply"
	if strings.HasPrefix(how, "not allowed") {
		want = "prohibited"
	}
	if own := hostAddr(t); own.IsValid() {
		if got := g.ping(t, own); got != want {
			t.Errorf("the host: %s, want %s", got, want)
		}
	}
	n := w.network("lan").Network
	n.HostAccess = false
	w.set(n)
	for _, a := range []string{"10.20.0.1", "127.0.0.1", "169.254.169.254"} {
		want := map[bool]string{true: "reply", false: "silence"}[a == "10.20.0.1"]
		if got := g.ping(t, netip.MustParseAddr(a)); got != want {
			t.Errorf("%s without access: %s, want %s", a, got, want)
		}
	}
}

// ping sends one echo request with 100 bytes and says what became of it.
func (g *guest) ping(t *testing.T, to netip.Addr) string {
	t.Helper()
	var wq waiter.Queue
	ep, terr := g.stack.NewEndpoint(icmp.ProtocolNumber4, ipv4.ProtocolNumber, &wq)
	if terr != nil {
		t.Fatal(terr)
	}
	defer ep.Close()
	entry, ready := waiter.NewChannelEntry(waiter.ReadableEvents | waiter.EventErr)
	wq.EventRegister(&entry)
	defer wq.EventUnregister(&entry)
	dst := full(to, 0)
	if terr := ep.Connect(dst); terr != nil {
		t.Fatal(terr)
	}
	msg := header.ICMPv4(make([]byte, header.ICMPv4MinimumSize+100))
	msg.SetType(header.ICMPv4Echo)
	msg.SetSequence(7)
	copy(msg.Payload(), "hello")
	if _, terr := ep.Write(bytes.NewReader(msg), tcpip.WriteOptions{}); terr != nil {
		t.Fatal(terr)
	}
	refused := g.stack.Stats().ICMP.V4.PacketsReceived.DstUnreachable
	before := refused.Value()
	select {
	case <-ready:
	case <-time.After(500 * time.Millisecond):
		if refused.Value() > before { // this stack does not tell its sockets
			return "prohibited"
		}
		return "silence"
	}
	var b bytes.Buffer
	if _, terr := ep.Read(&b, tcpip.ReadOptions{}); terr != nil {
		t.Fatal(terr)
	}
	if got := header.ICMPv4(b.Bytes()); got.Type() != header.ICMPv4EchoReply || got.Sequence() != 7 || !strings.HasPrefix(string(got.Payload()), "hello") || len(got.Payload()) != 100 {
		return "something else"
	}
	return "reply"
}

// TestBehindRouter has an address that only a route leads to: reached from the host, and led out and back.
func TestBehindRouter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set(Network{Name: "lan", CIDR: office, Uplink: true, HostAccess: true,
		Routes: []Route{{Prefix: netip.MustParsePrefix("10.30.0.0/16"), Via: netip.MustParseAddr("10.20.0.10")}}})
	g := w.guest("lan", "a", "10.20.0.10")
	behind := netip.MustParseAddr("10.30.0.5")
	g.address(netip.PrefixFrom(behind, 32)) // the machine behind is, for us, the router itself
	g.listenTCP(behind, 22, "behind")
	c, err := w.Dial(t.Context(), DialRequest{Network: "lan", Addr: behind, Port: 22})
	if err != nil {
		t.Fatal(err)
	}
	if got := converse(t, c, "x"); got != "behind\nbye after 1ns" {
		t.Errorf("in: %q", got)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go greet(l, "host")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	out, err := gonet.DialTCPWithBind(ctx, g.stack, full(behind, 0), full(lab.Gateway(office), l.Addr().(*net.TCPAddr).AddrPort().Port()), ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	if got := converse(t, out, "x"); got != "host\nbye after 1ns" {
		t.Errorf("out: %q", got)
	}
}

// TestForeignAddresses checks that an uplink's gateway, for which the stack takes all addresses for its own, does not
// claim its neighbours'.
func TestForeignAddresses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set(Network{Name: "lan", CIDR: office, Uplink: true})
	g := w.guest("lan", "a", "10.20.0.10")
	for _, to := range []string{"10.20.0.77", LinkLocal(net.HardwareAddr{2, 0, 0, 0, 9, 9}).String()} {
		a := netip.MustParseAddr(to)
		ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
		defer cancel()
		if _, err := gonet.DialContextTCP(ctx, g.stack, full(a, 80), proto(a)); err == nil {
			t.Errorf("connected to %s, which nobody has", to)
		}
	}
	if n := g.stack.Stats().ARP.RepliesReceived.Value(); n != 0 {
		t.Errorf("%d ARP replies for an address that nobody has", n)
	}
	if n := g.stack.Stats().ICMP.V6.PacketsReceived.NeighborAdvert.Value(); n != 0 {
		t.Errorf("%d neighbour advertisements for an address that nobody has", n)
	}
}

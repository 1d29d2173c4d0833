package netd

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/plugins/qemu/netd/wire"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// world is a network process without the process: its inside, in a folder of its own.
type world struct {
	*testing.T
	Paths
	Client
	stop func()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	p := testPaths(t)
	for _, d := range []string{p.Dir, p.Run} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- reside(ctx, p, slog.New(slog.DiscardHandler)) }()
	w := &world{T: t, Paths: p, Client: Client{p.Socket()}}
	w.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("serve: %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("serve does not end")
		}
	})
	t.Cleanup(w.stop)
	w.until("the control socket answers", func() bool {
		_, err := w.Status(t.Context())
		return err == nil
	})
	return w
}

// testPaths are in a folder whose path is short enough for sockets.
func testPaths(t *testing.T) Paths {
	t.Helper()
	d, err := os.MkdirTemp("", "nd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(d) })
	return Paths{Dir: filepath.Join(d, "d"), Run: filepath.Join(d, "r")}
}

func (w *world) until(what string, ok func() bool) {
	w.Helper()
	until(w.T, what, ok)
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 10s until %s", what)
		}
	}
}

// set makes networks; their keys are their names.
func (w *world) set(networks ...Network) {
	w.Helper()
	for _, n := range networks {
		n.Key = n.Name
		if n.MTU == 0 {
			n.MTU = 1500
		}
		if err := w.Set(w.Context(), n); err != nil {
			w.Fatal(err)
		}
	}
}

// network is the status of one network.
func (w *world) network(name string) NetworkStatus {
	w.Helper()
	s, err := w.Status(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	for _, n := range s.Networks {
		if n.Network.Name == name {
			return n
		}
	}
	w.Fatalf("no network %s", name)
	return NetworkStatus{}
}

// guest is a machine: a TCP/IP stack behind a listening unix socket, as QEMU has it.
type guest struct {
	*testing.T
	stack *stack.Stack
	link  *channel.Endpoint
	mac   net.HardwareAddr
	path  string
	dhcp  chan []byte // datagrams to a DHCP client

	mu     sync.Mutex
	listen *net.UnixListener
	conn   net.Conn
}

// guest plugs a machine into a network, and gives it an address, unless that is "", with a default route by the
// network's gateway.
func (w *world) guest(network, name, addr string) *guest {
	w.Helper()
	n := w.network(network)
	g := &guest{T: w.T, mac: net.HardwareAddr{2, 0, 0, 0, byte(len(network)), name[0]}, path: filepath.Join(w.Folder(network), name), dhcp: make(chan []byte, 16)}
	// Room for a burst: what a stack sends beyond it is lost, and its recovery takes seconds.
	g.link = channel.New(16384, 65536, tcpip.LinkAddress(g.mac))
	g.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{arp.NewProtocol, ipv4.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6},
	})
	g.link.SetMTU(uint32(n.Network.MTU + header.EthernetMinimumSize))
	if err := g.stack.CreateNIC(1, ethernet.New(g.link)); err != nil {
		w.Fatal(err)
	}
	linkLocal := LinkLocal(g.mac)
	g.address(netip.PrefixFrom(linkLocal, 64))
	routes := []tcpip.Route{{Destination: header.IPv6EmptySubnet, NIC: 1}}
	if addr != "" {
		g.address(netip.PrefixFrom(netip.MustParseAddr(addr), n.Network.CIDR.Bits()))
	}
	if n.Network.CIDR.IsValid() {
		c := n.Network.CIDR.Masked()
		own := tcpip.AddressWithPrefix{Address: tcpip.AddrFromSlice(c.Addr().AsSlice()), PrefixLen: c.Bits()}.Subnet()
		routes = append(routes, tcpip.Route{Destination: own, NIC: 1},
			tcpip.Route{Destination: header.IPv4EmptySubnet, Gateway: tcpip.AddrFromSlice(n.Gateway.Addr.AsSlice()), NIC: 1})
	}
	g.stack.SetRouteTable(routes)
	g.up()
	ctx, cancel := context.WithCancel(context.Background())
	go g.send(ctx)
	w.Cleanup(func() {
		g.down()
		cancel()
		g.stack.Destroy()
	})
	w.until(name+" is connected", func() bool { return w.connected(network, name) })
	return g
}

func (w *world) connected(network, name string) bool {
	for _, p := range w.network(network).Ports {
		if p.Name == name {
			return p.Connected
		}
	}
	return false
}

func (g *guest) address(p netip.Prefix) {
	g.Helper()
	proto := tcpip.NetworkProtocolNumber(ipv4.ProtocolNumber)
	if p.Addr().Is6() {
		proto = ipv6.ProtocolNumber
	}
	if err := g.stack.AddProtocolAddress(1, tcpip.ProtocolAddress{Protocol: proto, AddressWithPrefix: tcpip.AddressWithPrefix{
		Address: tcpip.AddrFromSlice(p.Addr().AsSlice()), PrefixLen: p.Bits()}}, stack.AddressProperties{}); err != nil {
		g.Fatal(err)
	}
}

// up listens and serves one connection at a time.
func (g *guest) up() {
	g.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: g.path})
	if err != nil {
		g.Fatal(err)
	}
	g.mu.Lock()
	g.listen = l
	g.mu.Unlock()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			g.mu.Lock()
			g.conn = c
			g.mu.Unlock()
			g.receive(c)
		}
	}()
}

// down is the end of QEMU: socket and connection.
func (g *guest) down() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.listen.Close()
	if g.conn != nil {
		g.conn.Close()
	}
}

func (g *guest) receive(c net.Conn) {
	r := wire.NewReader(c)
	for {
		run, err := r.Next()
		if err != nil {
			return
		}
		for len(run) > 0 {
			var f []byte
			f, run = wire.Cut(run)
			if a := header.Ethernet(f).DestinationAddress(); a != tcpip.LinkAddress(g.mac) && !header.IsMulticastEthernetAddress(a) {
				continue
			}
			if u := f[min(len(f), 14+20):]; len(u) > 8 && header.Ethernet(f).Type() == ipv4.ProtocolNumber && header.UDP(u).DestinationPort() == 68 {
				select {
				case g.dhcp <- bytes.Clone(u[8:]):
				default:
				}
			}
			pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(f)})
			g.link.InjectInbound(0, pkt)
			pkt.DecRef()
		}
	}
}

func (g *guest) send(ctx context.Context) {
	for pkt := g.link.ReadContext(ctx); pkt != nil; pkt = g.link.ReadContext(ctx) {
		g.mu.Lock()
		if g.conn != nil {
			_, _ = g.conn.Write(wire.Append(nil, pkt.ToView().AsSlice()))
		}
		g.mu.Unlock()
		pkt.DecRef()
	}
}

// listenTCP answers each connection with the name until it is read to its end, and then with "bye".
func (g *guest) listenTCP(addr netip.Addr, port uint16, hello string) {
	g.Helper()
	l, err := gonet.ListenTCP(g.stack, full(addr, port), proto(addr))
	if err != nil {
		g.Fatal(err)
	}
	g.Cleanup(l.Shutdown)
	go greet(l, hello)
}

func (g *guest) dialTCP(to netip.AddrPort) (*gonet.TCPConn, error) {
	ctx, cancel := context.WithTimeout(g.Context(), 5*time.Second)
	defer cancel()
	return gonet.DialContextTCP(ctx, g.stack, full(to.Addr(), to.Port()), proto(to.Addr()))
}

func full(a netip.Addr, port uint16) tcpip.FullAddress {
	f := tcpip.FullAddress{NIC: 1, Port: port}
	if !a.IsUnspecified() {
		f.Addr = tcpip.AddrFromSlice(a.AsSlice())
	}
	return f
}

func proto(a netip.Addr) tcpip.NetworkProtocolNumber {
	if a.Is4() {
		return ipv4.ProtocolNumber
	}
	return ipv6.ProtocolNumber
}

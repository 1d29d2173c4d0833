package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	// pending bounds the TCP connections that wait for an answer from outside, in all and of one machine. What is
	// beyond is not answered, so the machine tries again.
	pending, pendingEach = 1024, 128
	// outside is how long the world may take to accept a connection.
	outside = 10 * time.Second
	// flows bounds the UDP conversations, in all and of one machine; idle is when one ends (RFC 4787, REQ-5).
	flows, flowsEach = 1024, 256
	idle             = 2 * time.Minute
	datagram         = 65535
)

// nat leads what machines send to the world outside through the host's own sockets.
type nat struct {
	gw      *Gateway
	host    hostAddrs
	dialing quota
	talking quota

	mu     sync.Mutex
	closed bool
	open   map[io.Closer]bool
	busy   sync.WaitGroup

	denied atomic.Uint64
}

func newNAT(g *Gateway) *nat {
	return &nat{gw: g, open: map[io.Closer]bool{}, dialing: quota{all: pending, each: pendingEach}, talking: quota{all: flows, each: flowsEach}}
}

// outward is where a connection to dst goes; false if it must not.
func (n *nat) outward(dst netip.Addr) (netip.Addr, bool) {
	c := n.gw.config.Load()
	if slices.Contains(n.gw.own, dst) {
		if !c.HostAccess || dst.IsLinkLocalUnicast() {
			return dst, false
		}
		if dst.Is6() {
			return netip.IPv6Loopback(), true
		}
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), true
	}
	return dst, n.gw.allows(c, dst)
}

// tcp leads connections out until ctx ends.
func (n *nat) tcp(ctx context.Context) func(stack.TransportEndpointID, *stack.PacketBuffer) bool {
	return tcp.NewForwarder(n.gw.stack, 0, pending, func(r *tcp.ForwarderRequest) { n.connect(ctx, r) }).HandlePacket
}

// connect answers a machine's SYN when the world outside has answered ours.
func (n *nat) connect(ctx context.Context, r *tcp.ForwarderRequest) {
	id := r.ID()
	src := fromStack(id.RemoteAddress)
	dst, ok := n.outward(fromStack(id.LocalAddress))
	if !ok {
		n.denied.Add(1)
		r.Complete(true)
		return
	}
	if !n.enter() {
		r.Complete(true)
		return
	}
	defer n.busy.Done()
	if !n.dialing.take(src) {
		r.Complete(false)
		return
	}
	far, err := dial(ctx, netip.AddrPortFrom(dst, id.LocalPort))
	if err != nil {
		n.dialing.give(src)
		var timeout net.Error
		r.Complete(!errors.As(err, &timeout) || !timeout.Timeout())
		return
	}
	var wq waiter.Queue
	ep, terr := r.CreateEndpoint(&wq)
	n.dialing.give(src)
	r.Complete(false)
	if terr != nil {
		far.Close()
		return
	}
	keepalive(ep)
	near := gonet.NewTCPConn(&wq, ep)
	if !n.add(near) {
		near.Close()
		far.Close()
		return
	}
	Relay(near, far)
	n.drop(near)
}

func dial(ctx context.Context, to netip.AddrPort) (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(ctx, outside)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", to.String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// closer makes a function an io.Closer; its address tells it from others.
type closer func()

func (c *closer) Close() error {
	(*c)()
	return nil
}

// udp refuses what must not go out, so that the stack says so, and opens a conversation for the rest.
func (n *nat) udp() func(stack.TransportEndpointID, *stack.PacketBuffer) bool {
	f := udp.NewForwarder(n.gw.stack, n.converse)
	return func(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
		if _, ok := n.outward(fromStack(id.LocalAddress)); !ok {
			n.denied.Add(1)
			return false
		}
		return f.HandlePacket(id, pkt)
	}
}

func (n *nat) converse(r *udp.ForwarderRequest) {
	id := r.ID()
	src := fromStack(id.RemoteAddress)
	dst, ok := n.outward(fromStack(id.LocalAddress))
	if !ok || !n.talking.take(src) {
		return
	}
	far, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(dst, id.LocalPort)))
	if err != nil {
		n.talking.give(src)
		return
	}
	var wq waiter.Queue
	ep, terr := r.CreateEndpoint(&wq)
	if terr != nil {
		n.talking.give(src)
		far.Close()
		return
	}
	near := gonet.NewUDPConn(&wq, ep)
	if !n.enter() {
		n.talking.give(src)
		near.Close()
		far.Close()
		return
	}
	both := closer(func() {
		near.Close()
		far.Close()
	})
	if !n.add(&both) {
		both.Close()
	}
	go func() {
		defer n.busy.Done()
		var last atomic.Int64
		var back sync.WaitGroup
		back.Go(func() { datagrams(near, far, &last); both.Close() })
		datagrams(far, near, &last)
		both.Close()
		back.Wait()
		n.drop(&both)
		n.talking.give(src)
	}()
}

// datagrams copies from src to dst until one is closed or neither direction has had any for long.
func datagrams(dst, src net.Conn, last *atomic.Int64) {
	buf := make([]byte, datagram)
	last.Store(time.Now().UnixNano())
	for {
		_ = src.SetReadDeadline(time.Unix(0, last.Load()).Add(idle))
		k, err := src.Read(buf)
		var timeout net.Error
		switch {
		case err == nil:
			last.Store(time.Now().UnixNano())
			_, _ = dst.Write(buf[:k])
		case errors.As(err, &timeout) && timeout.Timeout():
			if time.Since(time.Unix(0, last.Load())) >= idle {
				return
			}
		case !errors.Is(err, syscall.ECONNREFUSED): // that one only says that nobody listens yet
			return
		}
	}
}

// enter counts the caller in until busy.Done; false once closed.
func (n *nat) enter() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.closed {
		n.busy.Add(1)
	}
	return !n.closed
}

// add has c closed by close; false if that has been.
func (n *nat) add(c io.Closer) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.closed {
		n.open[c] = true
	}
	return !n.closed
}

func (n *nat) drop(c io.Closer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.open, c)
}

// close ends everything under way and waits for it.
func (n *nat) close() {
	n.mu.Lock()
	n.closed = true
	for c := range n.open {
		_ = c.Close()
	}
	n.mu.Unlock()
	n.busy.Wait()
}

// quota counts what machines have under way.
type quota struct {
	all, each int
	mu        sync.Mutex
	total     int
	of        map[netip.Addr]int
}

func (q *quota) take(a netip.Addr) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.total >= q.all || q.of[a] >= q.each {
		return false
	}
	if q.of == nil {
		q.of = map[netip.Addr]int{}
	}
	q.total++
	q.of[a]++
	return true
}

func (q *quota) give(a netip.Addr) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.total--
	if q.of[a]--; q.of[a] == 0 {
		delete(q.of, a)
	}
}

// keepalive finds out within two minutes that a machine is gone without a word.
func keepalive(ep tcpip.Endpoint) {
	ep.SocketOptions().SetKeepAlive(true)
	after, every := tcpip.KeepaliveIdleOption(time.Minute), tcpip.KeepaliveIntervalOption(15*time.Second)
	_ = ep.SetSockOpt(&after)
	_ = ep.SetSockOpt(&every)
	_ = ep.SetSockOptInt(tcpip.KeepaliveCountOption, 4)
}

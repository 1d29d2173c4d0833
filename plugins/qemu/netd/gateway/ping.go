package gateway

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

const (
	echoes   = 1024             // pings under way
	echoLife = 10 * time.Second // how long one may take
)

// pinger sends machines' pings on through the host: by an unprivileged ping socket (Linux: where the user's group is
// within net.ipv4.ping_group_range; macOS: always) or, as root, a raw one. Without either a ping is answered with
// "prohibited", so that nobody takes silence for a dead network.
type pinger struct {
	link *link
	how  string
	conn *icmp.PacketConn // nil: not allowed
	raw  bool
	done sync.WaitGroup

	mu   sync.Mutex
	next uint16
	wait map[uint16]echo // by our sequence number
}

// echo is a ping under way: the machine's frame up to its data.
type echo struct {
	dst  netip.Addr
	head [header.EthernetMinimumSize]byte
	from tcpip.Address
	to   tcpip.Address
	id   uint16
	seq  uint16
	sent time.Time
}

func newPinger(l *link) *pinger {
	p := &pinger{link: l, wait: map[uint16]echo{}}
	var err error
	if p.conn, err = icmp.ListenPacket("udp4", "0.0.0.0"); err == nil {
		p.how = "ping socket"
	} else if p.conn, err = icmp.ListenPacket("ip4:icmp", "0.0.0.0"); err == nil {
		p.how, p.raw = "raw socket", true
	} else {
		p.conn, p.how = nil, "not allowed: "+err.Error()
		return p
	}
	p.done.Go(p.answers)
	return p
}

// ask sends the echo request in frame on, or says that it cannot. Other messages end here.
func (p *pinger) ask(frame []byte) {
	ip := header.IPv4(frame[header.EthernetMinimumSize:])
	msg := header.ICMPv4(ip.Payload())
	if ip.More() || ip.FragmentOffset() != 0 || len(msg) < header.ICMPv4MinimumSize || msg.Type() != header.ICMPv4Echo {
		return
	}
	e := echo{dst: addrOf(ip.DestinationAddressSlice()), from: ip.SourceAddress(), to: ip.DestinationAddress(), id: msg.Ident(), seq: msg.Sequence(), sent: time.Now()}
	copy(e.head[:], frame)
	if p.conn == nil {
		p.prohibited(e, ip)
		return
	}
	p.mu.Lock()
	if len(p.wait) >= echoes {
		for k, w := range p.wait {
			if time.Since(w.sent) > echoLife {
				delete(p.wait, k)
			}
		}
	}
	if len(p.wait) >= echoes {
		p.mu.Unlock()
		return
	}
	p.next++
	seq := p.next
	p.wait[seq] = e
	p.mu.Unlock()
	out, err := (&icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: int(e.id), Seq: int(seq), Data: msg.Payload()}}).Marshal(nil)
	if err != nil {
		return
	}
	var to net.Addr = &net.UDPAddr{IP: e.dst.AsSlice()}
	if p.raw {
		to = &net.IPAddr{IP: e.dst.AsSlice()}
	}
	_, _ = p.conn.WriteTo(out, to) // no route: silence, as it is outside
}

// answers hands replies back until the socket is closed.
func (p *pinger) answers() {
	buf := make([]byte, datagram)
	for {
		n, peer, err := p.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		m, err := icmp.ParseMessage(1, buf[:n])
		if err != nil || m.Type != ipv4.ICMPTypeEchoReply {
			continue
		}
		body, ok := m.Body.(*icmp.Echo)
		if !ok {
			continue
		}
		p.mu.Lock()
		e, ok := p.wait[uint16(body.Seq)]
		if ok = ok && e.dst == peerAddr(peer) && (!p.raw || body.ID == int(e.id)); ok {
			delete(p.wait, uint16(body.Seq))
		}
		p.mu.Unlock()
		if ok && time.Since(e.sent) < echoLife {
			p.reply(e, e.to, header.ICMPv4EchoReply, 0, e.id, e.seq, body.Data)
		}
	}
}

func peerAddr(a net.Addr) netip.Addr {
	switch a := a.(type) {
	case *net.UDPAddr:
		return a.AddrPort().Addr().Unmap()
	case *net.IPAddr:
		return addrOf(a.IP.To4())
	}
	return netip.Addr{}
}

// prohibited is "communication administratively filtered" (RFC 1122) with the beginning of what was sent.
func (p *pinger) prohibited(e echo, ip header.IPv4) {
	p.reply(e, e.to, header.ICMPv4DstUnreachable, header.ICMPv4AdminProhibited, 0, 0, ip[:min(len(ip), int(ip.HeaderLength())+8)])
}

// reply sends an ICMP message back to where e came from.
func (p *pinger) reply(e echo, src tcpip.Address, t header.ICMPv4Type, code header.ICMPv4Code, id, seq uint16, data []byte) {
	const at = header.EthernetMinimumSize + header.IPv4MinimumSize
	size := at + header.ICMPv4MinimumSize + len(data)
	if uint32(size-header.EthernetMinimumSize) > p.link.MTU() {
		return
	}
	out := make([]byte, size)
	asked := header.Ethernet(e.head[:])
	header.Ethernet(out).Encode(&header.EthernetFields{SrcAddr: p.link.mac, DstAddr: asked.SourceAddress(), Type: header.IPv4ProtocolNumber})
	ip := header.IPv4(out[header.EthernetMinimumSize:])
	ip.Encode(&header.IPv4Fields{TotalLength: uint16(size - header.EthernetMinimumSize), TTL: 64, Protocol: uint8(header.ICMPv4ProtocolNumber), SrcAddr: src, DstAddr: e.from})
	ip.SetChecksum(^ip.CalculateChecksum())
	msg := header.ICMPv4(out[at:])
	msg.SetType(t)
	msg.SetCode(code)
	msg.SetIdent(id)
	msg.SetSequence(seq)
	copy(msg.Payload(), data)
	msg.SetChecksum(^checksum.Checksum(msg, 0))
	p.link.send(out)
}

func (p *pinger) close() {
	if p.conn != nil {
		_ = p.conn.Close()
		p.done.Wait()
	}
}

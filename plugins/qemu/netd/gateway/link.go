package gateway

import (
	"sync"
	"sync/atomic"

	"github.com/labctl-dev/labctl/plugins/qemu/netd/l2"
	"github.com/labctl-dev/labctl/plugins/qemu/netd/wire"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// link is the gateway's network interface: a port of the switch on one side, a link endpoint of the stack on the
// other.
type link struct {
	port  *l2.Port
	mac   tcpip.LinkAddress
	mtu   atomic.Uint32
	admit func(frame []byte) bool // says whether the stack may see a frame

	mu         sync.RWMutex
	dispatcher stack.NetworkDispatcher
	bufs       sync.Pool
}

var _ stack.LinkEndpoint = (*link)(nil)

// receive gives frames from the switch to the stack, which gets copies.
func (l *link) receive(framed []byte) error {
	l.mu.RLock()
	d := l.dispatcher
	l.mu.RUnlock()
	for len(framed) > 0 {
		var frame []byte
		frame, framed = wire.Cut(framed)
		if d == nil || !l.mine(frame) || !l.admit(frame) {
			continue
		}
		eth := header.Ethernet(frame)
		pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(frame[header.EthernetMinimumSize:])})
		pkt.NetworkProtocolNumber = eth.Type()
		pkt.PktType = kind(eth.DestinationAddress())
		d.DeliverNetworkPacket(eth.Type(), pkt)
		pkt.DecRef()
	}
	return nil
}

// mine says whether a frame is for this interface; the switch floods what it does not know.
func (l *link) mine(frame []byte) bool {
	eth := header.Ethernet(frame)
	dst := eth.DestinationAddress()
	return (dst == l.mac || header.IsMulticastEthernetAddress(dst)) && eth.SourceAddress() != l.mac
}

func kind(dst tcpip.LinkAddress) tcpip.PacketType {
	switch {
	case dst == header.EthernetBroadcastAddress:
		return tcpip.PacketBroadcast
	case header.IsMulticastEthernetAddress(dst):
		return tcpip.PacketMulticast
	}
	return tcpip.PacketHost
}

// WritePackets implements stack.LinkWriter: packets of the stack become frames.
func (l *link) WritePackets(pkts stack.PacketBufferList) (int, tcpip.Error) {
	buf, _ := l.bufs.Get().(*[]byte)
	if buf == nil {
		buf = new([]byte)
	}
	out := (*buf)[:0]
	n := 0
	for _, p := range pkts.AsSlice() {
		src := l.mac
		if a := p.EgressRoute.LocalLinkAddress; a != "" {
			src = a
		}
		var eth [header.EthernetMinimumSize]byte
		header.Ethernet(eth[:]).Encode(&header.EthernetFields{SrcAddr: src, DstAddr: p.EgressRoute.RemoteLinkAddress, Type: p.NetworkProtocolNumber})
		at := len(out)
		out = wire.Append(out, eth[:])
		for _, b := range p.AsSlices() {
			out = append(out, b...)
		}
		wire.Resize(out[at:])
		n++
	}
	l.port.Input(out)
	*buf = out
	l.bufs.Put(buf)
	return n, nil
}

// send sends one frame that the stack has not made.
func (l *link) send(frame []byte) { l.port.Input(wire.Append(nil, frame)) }

// Attach implements stack.LinkEndpoint.
func (l *link) Attach(d stack.NetworkDispatcher) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dispatcher = d
}

// IsAttached implements stack.LinkEndpoint.
func (l *link) IsAttached() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.dispatcher != nil
}

// MTU implements stack.LinkEndpoint.
func (l *link) MTU() uint32 { return l.mtu.Load() }

// SetMTU implements stack.LinkEndpoint.
func (l *link) SetMTU(mtu uint32) { l.mtu.Store(mtu) }

// LinkAddress implements stack.LinkEndpoint.
func (l *link) LinkAddress() tcpip.LinkAddress { return l.mac }

// SetLinkAddress implements stack.LinkEndpoint; the address is fixed.
func (l *link) SetLinkAddress(tcpip.LinkAddress) {}

// Capabilities implements stack.LinkEndpoint. What arrives came through memory: its checksums need no check.
func (l *link) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityResolutionRequired | stack.CapabilityRXChecksumOffload
}

// MaxHeaderLength implements stack.LinkEndpoint: WritePackets puts the header elsewhere.
func (l *link) MaxHeaderLength() uint16 { return 0 }

// ARPHardwareType implements stack.LinkEndpoint.
func (l *link) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareEther }

// AddHeader implements stack.LinkEndpoint.
func (l *link) AddHeader(*stack.PacketBuffer) {}

// ParseHeader implements stack.LinkEndpoint.
func (l *link) ParseHeader(*stack.PacketBuffer) bool { return true }

// Wait implements stack.LinkEndpoint.
func (l *link) Wait() {}

// Close implements stack.LinkEndpoint.
func (l *link) Close() {}

// SetOnCloseAction implements stack.LinkEndpoint.
func (l *link) SetOnCloseAction(func()) {}

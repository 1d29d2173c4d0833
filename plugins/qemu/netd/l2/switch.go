// Package l2 is a learning Ethernet switch for ports that are streams of frames. It moves frames in batches: what
// one read brought and goes to one port is copied once and written at once.
//
// No port can hold up another: each has a bounded queue, and what does not fit is dropped there and counted.
//
// It must not know IP, QEMU, networks' names or where its ports' sockets come from.
package l2

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/labctl-dev/labctl/plugins/qemu/netd/wire"
)

const (
	// Age is how long an address is remembered after its last frame (the default of IEEE 802.1D).
	Age = 300 * time.Second
	// maxAddrs bounds the table, so that a guest that invents addresses cannot fill the host's memory. What is not
	// remembered is flooded.
	maxAddrs = 8192
	// tagged is what a frame may be longer than its payload: header and one VLAN tag, in bytes.
	tagged = 18
)

// Switch is one layer-2 segment.
type Switch struct {
	now   func() time.Time
	mtu   atomic.Int64
	table table

	mu    sync.Mutex              // held to change ports
	ports atomic.Pointer[[]*Port] // the open ones, replaced as a whole
}

// New returns a switch without ports. mtu is the largest payload of a frame in bytes; now is the clock, time.Now
// outside tests.
func New(mtu int, now func() time.Time) *Switch {
	s := &Switch{now: now, table: table{addrs: map[uint64]*place{}}}
	s.ports.Store(&[]*Port{})
	s.SetMTU(mtu)
	return s
}

// SetMTU changes the largest payload; longer frames are dropped where they come in.
func (s *Switch) SetMTU(mtu int) { s.mtu.Store(int64(mtu)) }

// NewPort returns a closed port of s.
func (s *Switch) NewPort() *Port { return &Port{sw: s} }

func (s *Switch) add(p *Port) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ports := append([]*Port{p}, *s.ports.Load()...)
	s.ports.Store(&ports)
}

func (s *Switch) remove(p *Port) {
	s.mu.Lock()
	var ports []*Port
	for _, o := range *s.ports.Load() {
		if o != p {
			ports = append(ports, o)
		}
	}
	s.ports.Store(&ports)
	s.mu.Unlock()
	s.table.forget(p)
}

// input takes whole frames that came in at p. Neighbouring frames for the same port travel together as one run.
func (s *Switch) input(p *Port, framed []byte) {
	now := s.now().UnixNano()
	longest := int(s.mtu.Load()) + tagged
	var (
		run           []byte // start of the run in framed, cut to size when it ends
		size, frames  int
		to            *Port // nil: all others
		src, dst      uint64
		known         bool // src and dst are those of the frame before
		inBytes, inFr uint64
	)
	end := func() {
		if frames > 0 {
			s.forward(p, to, run[:size], frames)
		}
		frames, size = 0, 0
	}
	for rest := framed; len(rest) > 0; {
		var frame []byte
		here := rest
		frame, rest = wire.Cut(rest)
		switch {
		case len(frame) < wire.MinFrame:
			p.count.runts.Add(1)
			end()
			continue
		case len(frame) > longest:
			p.count.oversized.Add(1)
			end()
			continue
		}
		inFr++
		inBytes += uint64(len(frame))
		d, c := addresses(frame)
		if !known || d != dst || c != src {
			if !known || c != src {
				s.table.learn(c, p, now)
			}
			out := s.table.find(d, now)
			if out != to {
				end()
			}
			to, src, dst, known = out, c, d, true
		}
		if frames == 0 {
			run = here
		}
		frames++
		size += wire.HeaderSize + len(frame)
	}
	end()
	p.count.inFrames.Add(inFr)
	p.count.inBytes.Add(inBytes)
}

// forward queues a run at one port, or at all but where it came from.
func (s *Switch) forward(from, to *Port, run []byte, frames int) {
	switch {
	case to == from: // the destination is where the frames came from: they have arrived already
	case to != nil:
		to.put(run, frames)
	default:
		for _, o := range *s.ports.Load() {
			if o != from {
				o.put(run, frames)
			}
		}
	}
}

package l2

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"github.com/labctl-dev/labctl/plugins/qemu/netd/wire"
)

// Port is one socket of a switch. It keeps its counters while it is closed and opened again.
type Port struct {
	sw    *Switch
	plug  atomic.Pointer[plug] // nil while closed
	count counters
}

type counters struct {
	inFrames, inBytes, outFrames, outBytes, drops, runts, oversized atomic.Uint64
}

// Counters say what went through a port since it was made. In is from the machine to the switch.
type Counters struct {
	InFrames  uint64 `json:"in_frames"`
	InBytes   uint64 `json:"in_bytes"`
	OutFrames uint64 `json:"out_frames"`
	OutBytes  uint64 `json:"out_bytes"`
	Drops     uint64 `json:"drops"`     // frames to the machine that its queue had no room for
	Runts     uint64 `json:"runts"`     // frames from the machine, shorter than a header
	Oversized uint64 `json:"oversized"` // frames from the machine, longer than the network's MTU allows
}

// Counters returns the port's counters.
func (p *Port) Counters() Counters {
	c := &p.count
	return Counters{c.inFrames.Load(), c.inBytes.Load(), c.outFrames.Load(), c.outBytes.Load(), c.drops.Load(), c.runts.Load(), c.oversized.Load()}
}

// Open says whether the port is plugged in.
func (p *Port) Open() bool { return p.plug.Load() != nil }

// plug is the life of a port between being plugged in and pulled out.
type plug struct {
	queue queue
	done  sync.WaitGroup
}

// Plug opens the port: out is called with whole frames, one call at a time, from a goroutine that lives until Pull.
// An error of out is given to failed, once, and ends the calls. The slice belongs to the port again when out returns.
func (p *Port) Plug(out func(framed []byte) error, failed func(error)) {
	g := &plug{queue: queue{wake: make(chan struct{}, 1)}}
	g.done.Go(func() {
		for buf, frames := g.queue.take(nil); buf != nil; buf, frames = g.queue.take(buf) {
			if err := out(buf); err != nil {
				failed(err)
				g.queue.close()
				return
			}
			p.count.outFrames.Add(uint64(frames))
			p.count.outBytes.Add(uint64(len(buf) - frames*wire.HeaderSize))
		}
	})
	p.plug.Store(g)
	p.sw.add(p)
}

// Pull closes the port and waits until out is not running any more; so whatever out may wait for must have been ended
// before. What was queued is lost.
func (p *Port) Pull() {
	g := p.plug.Swap(nil)
	if g == nil {
		return
	}
	p.sw.remove(p)
	g.queue.close()
	g.done.Wait()
}

// Input takes whole frames, each behind its header, that the machine has sent. It never waits for another port.
func (p *Port) Input(framed []byte) { p.sw.input(p, framed) }

func (p *Port) put(run []byte, frames int) {
	if g := p.plug.Load(); g != nil {
		if lost := g.queue.put(run, frames); lost > 0 {
			p.count.drops.Add(uint64(lost))
		}
	}
}

// Serve plugs conn into the port, reads it until it ends or ctx does, pulls the port and closes conn. The error says
// why it ended: io.EOF, the context's, a *wire.LengthError, or the connection's.
func (p *Port) Serve(ctx context.Context, conn net.Conn) error {
	var once sync.Once
	var why error
	end := func(err error) {
		once.Do(func() {
			why = err
			_ = conn.Close() // wakes whoever reads or writes it
		})
	}
	stop := context.AfterFunc(ctx, func() { end(ctx.Err()) })
	defer stop()
	p.Plug(func(framed []byte) error {
		_, err := conn.Write(framed)
		return err
	}, end)
	r := wire.NewReader(conn)
	for {
		framed, err := r.Next()
		if err != nil {
			end(err)
			break
		}
		p.Input(framed)
	}
	p.Pull()
	if why == nil || errors.Is(why, net.ErrClosed) {
		why = io.EOF
	}
	return why
}

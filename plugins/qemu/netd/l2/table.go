package l2

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
)

// group is the bit of an address, as addresses returns it, that says broadcast or multicast.
const group = 1 << 40

// table remembers behind which port an address was last seen.
type table struct {
	mu    sync.RWMutex
	addrs map[uint64]*place
	swept int64
}

type place struct {
	port atomic.Pointer[Port]
	seen atomic.Int64 // unix nanoseconds
}

// addresses are a frame's destination and source as numbers.
func addresses(frame []byte) (dst, src uint64) {
	return binary.BigEndian.Uint64(frame) >> 16, binary.BigEndian.Uint64(frame[4:]) & (1<<48 - 1)
}

// find returns the port of an address; nil if it is not known, too old, or a group's.
func (t *table) find(addr uint64, now int64) *Port {
	if addr&group != 0 {
		return nil
	}
	t.mu.RLock()
	e := t.addrs[addr]
	t.mu.RUnlock()
	if e == nil || now-e.seen.Load() > int64(Age) {
		return nil
	}
	if p := e.port.Load(); p.Open() {
		return p
	}
	return nil
}

// learn notes that addr is behind p.
func (t *table) learn(addr uint64, p *Port, now int64) {
	if addr&group != 0 || addr == 0 {
		return
	}
	t.mu.RLock()
	e := t.addrs[addr]
	if e != nil {
		if e.port.Load() != p {
			e.port.Store(p)
		}
		if now-e.seen.Load() > int64(Age)/1000 { // not at every frame: the line would bounce between processors
			e.seen.Store(now)
		}
	}
	t.mu.RUnlock()
	if e != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweep(now)
	if len(t.addrs) >= maxAddrs || !p.Open() {
		return
	}
	e = &place{}
	e.port.Store(p)
	e.seen.Store(now)
	t.addrs[addr] = e
}

// sweep drops what is too old, at most ten times per Age unless the table is full.
func (t *table) sweep(now int64) {
	if wait := now - t.swept; wait < int64(Age)/10 && (len(t.addrs) < maxAddrs || wait < int64(Age)/300) {
		return
	}
	t.swept = now
	for a, e := range t.addrs {
		if now-e.seen.Load() > int64(Age) {
			delete(t.addrs, a)
		}
	}
}

// forget drops all that is behind p.
func (t *table) forget(p *Port) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for a, e := range t.addrs {
		if e.port.Load() == p {
			delete(t.addrs, a)
		}
	}
}

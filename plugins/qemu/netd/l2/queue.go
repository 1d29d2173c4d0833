package l2

import (
	"sync"

	"github.com/labctl-dev/labctl/plugins/qemu/netd/wire"
)

const (
	// queueLimit bounds what waits for one port, in bytes: some 1,300 frames of 1,500 bytes, or 30 of the largest.
	queueLimit = 2 << 20
	// keep is the largest buffer that an idle port holds on to, in bytes.
	keep = 256 << 10
)

// queue holds what waits for one port: framed bytes in one buffer, taken as a whole, so that a slow reader of the
// port gets few large writes.
type queue struct {
	mu     sync.Mutex
	buf    []byte
	frames int
	closed bool
	wake   chan struct{} // holds one token when buf may have become non-empty, or closed true
}

// put adds a run of whole frames and returns how many of them had no room.
func (q *queue) put(run []byte, frames int) (lost int) {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return 0
	}
	if len(q.buf)+len(run) > queueLimit {
		run, frames, lost = fit(run, frames, queueLimit-len(q.buf))
	}
	idle := len(q.buf) == 0
	q.buf = append(q.buf, run...)
	q.frames += frames
	q.mu.Unlock()
	if idle && frames > 0 {
		q.signal()
	}
	return lost
}

// fit cuts run after the last frame within room bytes.
func fit(run []byte, frames, room int) (head []byte, fits, lost int) {
	rest, n := run, 0
	for len(rest) > 0 {
		_, after := wire.Cut(rest)
		if len(run)-len(after) > room {
			break
		}
		rest = after
		n++
	}
	return run[:len(run)-len(rest)], n, frames - n
}

// take waits for frames and returns all of them; nil when the queue was closed. used is the buffer of the call before.
func (q *queue) take(used []byte) (buf []byte, frames int) {
	for {
		q.mu.Lock()
		if q.closed {
			q.mu.Unlock()
			return nil, 0
		}
		if len(q.buf) > 0 {
			buf, frames = q.buf, q.frames
			q.buf, q.frames = used[:0], 0
			q.mu.Unlock()
			return buf, frames
		}
		if cap(used) > keep {
			used = nil
		}
		if cap(q.buf) > keep {
			q.buf = nil
		}
		q.mu.Unlock()
		<-q.wake
	}
}

func (q *queue) close() {
	q.mu.Lock()
	q.closed, q.buf = true, nil
	q.mu.Unlock()
	q.signal()
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

package conn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// link is a byte stream of libvirt's protocol that asks a silent other side for a sign of life, as libvirt's own
// client does (virkeepalive.c): a ping between two packets; what comes back is dropped by whoever reads packets.
type link struct {
	net.Conn
	dead chan struct{} // closed once it is of no more use

	alive atomic.Int64 // when the other side last took or sent something, Unix nanoseconds
	bytes atomic.Int64 // written so far, pings aside

	wmu  sync.Mutex // one packet, or part of it, at a time
	head []byte     // the beginning of a packet, shorter than its length field
	left int        // of a packet under way, in bytes

	mu    sync.Mutex
	cause error
	wg    sync.WaitGroup
}

// watch makes a link of c that fails after a silence of limit.
func watch(c net.Conn, limit time.Duration) *link {
	l := &link{Conn: c, dead: make(chan struct{})}
	l.alive.Store(time.Now().UnixNano())
	l.wg.Add(1)
	go l.keep(limit)
	return l
}

// Dial implements go-libvirt's dialer.
func (l *link) Dial() (net.Conn, error) { return l, nil }

// keep pings six times within the limit and then gives up.
func (l *link) keep(limit time.Duration) {
	defer l.wg.Done()
	tick := time.NewTicker(limit / 6)
	defer tick.Stop()
	pinged := make(chan struct{}, 1) // has room for the ping under way, which may block with the connection
	for {
		select {
		case <-l.dead:
			return
		case <-tick.C:
		}
		silence := time.Since(time.Unix(0, l.alive.Load()))
		switch {
		case silence >= limit:
			l.fail(fmt.Errorf("no sign of life for %s", silence.Round(time.Millisecond)))
			return
		case silence >= limit/6:
			select {
			case pinged <- struct{}{}:
				l.wg.Add(1)
				go func() {
					defer l.wg.Done()
					l.ping()
					<-pinged
				}()
			default:
			}
		}
	}
}

// Program, version, procedure, type and serial of libvirt's keepalive message (virkeepaliveprotocol.x).
const (
	keepaliveProgram = 0x6b656570
	keepaliveVersion = 1
	keepalivePing    = 1
	messageEvent     = 2
)

func (l *link) ping() {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	if l.left > 0 || len(l.head) > 0 { // in the middle of a packet: the other side will be asked the next time
		return
	}
	l.Conn.Write(packet(header{Program: keepaliveProgram, Version: keepaliveVersion, Procedure: keepalivePing, Type: messageEvent}, nil))
}

// Read implements net.Conn.
func (l *link) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if n > 0 {
		l.alive.Store(time.Now().UnixNano())
	}
	if err != nil {
		l.fail(err)
	}
	return n, err
}

// Write implements net.Conn.
func (l *link) Write(p []byte) (int, error) {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	n, err := l.Conn.Write(p)
	l.count(p[:n])
	if n > 0 {
		l.alive.Store(time.Now().UnixNano())
		l.bytes.Add(int64(n))
	}
	if err != nil {
		l.fail(err)
	}
	return n, err
}

// count follows where packets begin and end.
func (l *link) count(p []byte) {
	for len(p) > 0 {
		if l.left > 0 {
			n := min(l.left, len(p))
			l.left -= n
			p = p[n:]
			continue
		}
		n := min(4-len(l.head), len(p))
		l.head = append(l.head, p[:n]...)
		p = p[n:]
		if len(l.head) == 4 {
			l.left = max(int(binary.BigEndian.Uint32(l.head))-4, 0)
			l.head = l.head[:0]
		}
	}
}

// fail ends the link for a reason; the first one counts.
func (l *link) fail(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause != nil {
		return
	}
	if errors.Is(cause, io.EOF) {
		cause = errors.New("the other side closed the connection")
	}
	l.cause = cause
	close(l.dead)
	l.Conn.Close()
}

// Close implements net.Conn and waits for what the link does by itself.
func (l *link) Close() error {
	l.fail(net.ErrClosed)
	l.wg.Wait()
	return nil
}

// lost is why the link is of no more use, nil while it is.
func (l *link) lost() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause
}

// sent grows with every byte that may have reached the other side.
func (l *link) sent() int64 { return l.bytes.Load() }

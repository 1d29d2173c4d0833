package l2

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/labctl-dev/labctl/plugins/qemu/netd/wire"
)

// bench is a switch with machines on real unix sockets and a clock that only tests move.
type bench struct {
	*testing.T
	sw    *Switch
	clock atomic.Int64
}

type machine struct {
	*testing.T
	port   *Port
	conn   net.Conn
	frames chan []byte
	ended  chan error
}

const mtu = 1500

func newBench(t *testing.T) *bench {
	b := &bench{T: t}
	b.clock.Store(int64(time.Hour))
	b.sw = New(mtu, func() time.Time { return time.Unix(0, b.clock.Load()) })
	return b
}

// plug adds a machine; one that is deaf never reads.
func (b *bench) plug(deaf bool) *machine {
	b.Helper()
	near, far := pair(b.T)
	m := &machine{b.T, b.sw.NewPort(), near, make(chan []byte, 100), make(chan error, 1)}
	go func() { m.ended <- m.port.Serve(context.Background(), far) }()
	b.Cleanup(func() { near.Close() })
	if !deaf {
		go m.read()
	}
	for !m.port.Open() {
		time.Sleep(time.Millisecond)
	}
	return m
}

func (m *machine) read() {
	defer close(m.frames)
	r := wire.NewReader(m.conn)
	for {
		run, err := r.Next()
		if err != nil {
			return
		}
		for len(run) > 0 {
			var f []byte
			f, run = wire.Cut(run)
			m.frames <- bytes.Clone(f)
		}
	}
}

func (m *machine) send(frames ...[]byte) {
	m.Helper()
	var out []byte
	for _, f := range frames {
		out = wire.Append(out, f)
	}
	if _, err := m.conn.Write(out); err != nil {
		m.Fatal(err)
	}
}

// gets fails unless the next frames of m are those.
func (m *machine) gets(want ...[]byte) {
	m.Helper()
	for _, w := range want {
		select {
		case f := <-m.frames:
			if diff := cmp.Diff(w, f); diff != "" {
				m.Fatal(diff)
			}
		case <-time.After(5 * time.Second):
			m.Fatalf("waited 5s for a frame of %d bytes", len(w))
		}
	}
}

// silent fails if any frame comes to m.
func (m *machine) silent() {
	m.Helper()
	select {
	case f := <-m.frames:
		m.Fatalf("unexpected frame %x", f[:min(len(f), 20)])
	case <-time.After(30 * time.Millisecond):
	}
}

// frame is one from machine src to dst, numbered 1 to 255; dst 255 is broadcast, 254 a multicast group.
func frame(dst, src byte, payload string) []byte {
	d := []byte{2, 0, 0, 0, 0, dst}
	switch dst {
	case 255:
		d = bytes.Repeat([]byte{255}, 6)
	case 254:
		d = []byte{0x33, 0x33, 0, 0, 0, 1}
	}
	return append(append(d, 2, 0, 0, 0, 0, src, 0x88, 0xb5), payload...)
}

func pair(t *testing.T) (net.Conn, net.Conn) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return c, s
}

func TestLearnsAndFloods(t *testing.T) {
	b := newBench(t)
	one, two, three := b.plug(false), b.plug(false), b.plug(false)

	one.send(frame(2, 1, "unknown"))
	two.gets(frame(2, 1, "unknown"))
	three.gets(frame(2, 1, "unknown"))

	two.send(frame(1, 2, "known"))
	one.gets(frame(1, 2, "known"))
	one.send(frame(2, 1, "known"), frame(255, 1, "broadcast"), frame(254, 1, "multicast"), frame(2, 1, "again"))
	two.gets(frame(2, 1, "known"), frame(255, 1, "broadcast"), frame(254, 1, "multicast"), frame(2, 1, "again"))
	three.gets(frame(255, 1, "broadcast"), frame(254, 1, "multicast"))
	one.send(frame(1, 1, "to myself"))
	for _, m := range []*machine{one, two, three} {
		m.silent()
	}
	want := Counters{InFrames: 6, OutFrames: 1, OutBytes: 14 + 5}
	got := one.port.Counters()
	got.InBytes = 0
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestMovesAndAges(t *testing.T) {
	b := newBench(t)
	one, two, three := b.plug(false), b.plug(false), b.plug(false)
	two.send(frame(255, 2, ""))
	one.gets(frame(255, 2, ""))
	three.gets(frame(255, 2, ""))
	one.send(frame(2, 1, "there"))
	two.gets(frame(2, 1, "there"))

	three.send(frame(1, 2, "moved")) // the address is behind another port now
	one.gets(frame(1, 2, "moved"))
	one.send(frame(2, 1, "there"))
	three.gets(frame(2, 1, "there"))
	two.silent()

	b.clock.Add(int64(Age) - int64(time.Second))
	one.send(frame(2, 1, "young"))
	three.gets(frame(2, 1, "young"))
	two.silent()
	b.clock.Add(2 * int64(time.Second))
	one.send(frame(2, 1, "old"))
	three.gets(frame(2, 1, "old"))
	two.gets(frame(2, 1, "old"))

	two.send(frame(1, 2, "back")) // and forgotten with its port
	one.gets(frame(1, 2, "back"))
	two.conn.Close()
	<-two.ended
	one.send(frame(2, 1, "gone"))
	three.gets(frame(2, 1, "gone"))
}

func TestTableIsBounded(t *testing.T) {
	tab := table{addrs: map[uint64]*place{}}
	p := New(mtu, time.Now).NewPort()
	p.Plug(func([]byte) error { return nil }, func(error) {})
	defer p.Pull()
	for i := range uint64(3 * maxAddrs) {
		tab.learn(i+1, p, int64(i))
	}
	if len(tab.addrs) > maxAddrs {
		t.Errorf("%d addresses", len(tab.addrs))
	}
	if tab.find(1, 0) != p {
		t.Error("an invented address has driven out an old one")
	}
	now := 2 * int64(Age)
	tab.learn(1<<39, p, now)
	if len(tab.addrs) != 1 || tab.find(1<<39, now) != p {
		t.Errorf("%d addresses after all but one are too old", len(tab.addrs))
	}
}

func TestPortThatNeverReads(t *testing.T) {
	b := newBench(t)
	one, two, deaf := b.plug(false), b.plug(false), b.plug(true)
	deaf.send(frame(255, 3, ""))
	one.gets(frame(255, 3, ""))
	two.gets(frame(255, 3, ""))
	big := frame(3, 1, string(make([]byte, mtu)))
	for range 200 {
		one.send(big, big, big, big, big, big, big, big, big, big)
		one.send(frame(2, 1, "alive"))
		two.gets(frame(2, 1, "alive"))
	}
	deaf.send(frame(1, 3, "I still talk"))
	one.gets(frame(1, 3, "I still talk"))
	c := deaf.port.Counters()
	if c.Drops == 0 || c.Drops >= 2000 {
		t.Errorf("%d frames dropped", c.Drops)
	}
	// A port that stands still is pulled at once all the same.
	deaf.conn.Close()
	select {
	case <-deaf.ended:
	case <-time.After(5 * time.Second):
		t.Fatal("the port is not let go")
	}
}

func TestBadFrames(t *testing.T) {
	b := newBench(t)
	one, two := b.plug(false), b.plug(false)
	fits := frame(2, 1, string(make([]byte, mtu+tagged-wire.MinFrame)))
	one.send([]byte("runt"), fits, append(fits, 1), make([]byte, wire.MaxFrame), frame(2, 1, "ok"))
	two.gets(fits, frame(2, 1, "ok"))
	if c := one.port.Counters(); c.Runts != 1 || c.Oversized != 2 || c.InFrames != 2 {
		t.Errorf("%+v", c)
	}
	b.sw.SetMTU(65520)
	large := frame(2, 1, string(make([]byte, 65520)))
	one.send(large)
	two.gets(large)

	if _, err := one.conn.Write([]byte("HTTP/1.0 200 OK\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	var bad *wire.LengthError
	if err := <-one.ended; !errors.As(err, &bad) {
		t.Errorf("ended with %v", err)
	}
	two.send(frame(1, 2, "nobody"))
	two.silent()
	two.conn.Close()
	if err := <-two.ended; !errors.Is(err, io.EOF) {
		t.Errorf("ended with %v", err)
	}
}

func TestServeEndsWithContext(t *testing.T) {
	b := newBench(t)
	near, far := pair(t)
	ctx, cancel := context.WithCancel(context.Background())
	p, ended := b.sw.NewPort(), make(chan error)
	go func() { ended <- p.Serve(ctx, far) }()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := near.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the machine's end: %v", err)
	}
}

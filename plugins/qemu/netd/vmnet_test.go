package netd

import (
	"bytes"
	"encoding/binary"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// vmnetd is what socket_vmnet is to those who dial it: every frame that one sends is sent to all others, one after the other,
// so that one who does not read holds up all.
type vmnetd struct {
	l     net.Listener
	turn  sync.Mutex // of who sends to all others
	mu    sync.Mutex // of conns; nobody holds it while sending
	conns map[net.Conn]bool
}

func newVMNetd(t *testing.T, path string) *vmnetd {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	d := &vmnetd{l: l, conns: map[net.Conn]bool{}}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			d.mu.Lock()
			d.conns[c] = true
			d.mu.Unlock()
			go d.serve(c)
		}
	}()
	t.Cleanup(d.end)
	return d
}

func (d *vmnetd) serve(c net.Conn) {
	for {
		frame, err := readFrame(c)
		if err != nil {
			d.mu.Lock()
			delete(d.conns, c)
			d.mu.Unlock()
			return
		}
		d.turn.Lock()
		d.mu.Lock()
		all := slices.Collect(maps.Keys(d.conns))
		d.mu.Unlock()
		for _, o := range all {
			if o != c {
				_, _ = o.Write(framed(frame))
			}
		}
		d.turn.Unlock()
	}
}

func (d *vmnetd) end() {
	d.l.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range d.conns {
		c.Close()
	}
}

// framed and readFrame are the framing by its description, not by our own code for it.
func framed(frame []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...)
}

func readFrame(c net.Conn) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return nil, err
	}
	frame := make([]byte, binary.BigEndian.Uint32(head[:]))
	_, err := io.ReadFull(c, frame)
	return frame, err
}

// frame is one of n bytes for everybody, from the station with a number.
func frame(from byte, n int) []byte {
	f := append([]byte{255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, from, 0x88, 0xb5}, make([]byte, n-14)...)
	for i := 14; i < n; i++ {
		f[i] = byte(i * int(from))
	}
	return f
}

// expect reads frames until those that are wanted have come, in their order; labctl's own host speaks between.
func expect(t *testing.T, c net.Conn, want ...[]byte) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(60 * time.Second))
	for len(want) > 0 {
		got, err := readFrame(c)
		if err != nil {
			t.Fatalf("%d frames have not come: %v", len(want), err)
		}
		if len(got) > 14 && bytes.Equal(got[12:14], []byte{0x88, 0xb5}) {
			if !bytes.Equal(got, want[0]) {
				t.Fatalf("a frame of %d bytes came where one of %d was due", len(got), len(want[0]))
			}
			want = want[1:]
		}
	}
}

// TestVMNet joins a network of macOS, as socket_vmnet gives it: frames of every length cross both ways, whatever pieces
// they come in; who does not read holds up nobody else of ours; and a service that was restarted is found again.
func TestVMNet(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(w.Dir, "vmnet")
	d := newVMNetd(t, path)
	if err := os.MkdirAll(w.Folder("lan"), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(w.Folder("lan"), "machine"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	w.set(Network{Name: "lan", Join: []string{path}})
	ours, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	joined := func() { w.until("the network of macOS is joined", func() bool { return w.connected("lan", path) }) }
	joined()
	theirs, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var in, out [][]byte
	var bytesIn, bytesOut []byte
	for n := 60; n <= 1514; n += 97 {
		in, out = append(in, frame(1, n)), append(out, frame(2, n))
		bytesIn, bytesOut = append(bytesIn, framed(frame(1, n))...), append(bytesOut, framed(frame(2, n))...)
	}
	for b := bytesIn; len(b) > 0; { // in pieces that end anywhere
		n := min(len(b), 37)
		if _, err := theirs.Write(b[:n]); err != nil {
			t.Fatal(err)
		}
		b = b[n:]
	}
	expect(t, ours, in...)
	if _, err := ours.Write(bytesOut); err != nil { // and in one
		t.Fatal(err)
	}
	expect(t, theirs, out...)

	// The service hangs: our machines still reach each other.
	d.mu.Lock()
	answers := sync.OnceFunc(d.mu.Unlock)
	defer answers() // or its end waits for good
	m, err := net.Listen("unix", filepath.Join(w.Folder("lan"), "other"))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	other, err := m.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	w.until("the other is connected", func() bool { return w.connected("lan", "other") })
	for range 4000 { // more than any socket takes
		if _, err := ours.Write(framed(frame(3, 1514))); err != nil {
			t.Fatal(err)
		}
		expect(t, other, frame(3, 1514))
	}
	answers()

	d.end()
	theirs.Close()
	w.until("it is seen to be gone", func() bool { return !w.connected("lan", path) })
	newVMNetd(t, path)
	joined()
	again, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	_ = ours.SetDeadline(time.Now().Add(time.Minute))
	w.until("a frame from there comes", func() bool {
		_, err := again.Write(framed(frame(4, 100)))
		_ = ours.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		got, rerr := readFrame(ours)
		return err == nil && rerr == nil && bytes.Equal(got, frame(4, 100))
	})
}

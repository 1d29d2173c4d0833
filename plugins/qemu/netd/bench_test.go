package netd

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containers/gvisor-tap-vsock/pkg/tap"
	"github.com/containers/gvisor-tap-vsock/pkg/types"
	"github.com/labctl-dev/labctl/plugins/qemu/netd/l2"
	"github.com/labctl-dev/labctl/plugins/qemu/netd/wire"
	"github.com/sirupsen/logrus"
)

// window bounds the frames under way, so that no switch has to drop one: both see the same offered load.
const window = 512

// BenchmarkSwitch sends frames from one unix socket to another through a switch; an operation is a frame. "single"
// writes one frame per system call, as QEMU does; "burst" writes 32.
func BenchmarkSwitch(b *testing.B) {
	logrus.SetOutput(io.Discard)
	for _, size := range []int{1500, 64} {
		for _, burst := range []int{1, 32} {
			for _, sw := range []struct {
				name string
				open func(context.Context, [2]net.Conn)
			}{{"ours", ours}, {"gvisor-tap-vsock", theirs}} {
				b.Run(fmt.Sprintf("%dB/burst=%d/%s", size, burst, sw.name), func(b *testing.B) {
					ctx, cancel := context.WithCancel(context.Background())
					defer cancel()
					var near, far [2]net.Conn
					for i := range near {
						near[i], far[i] = pair(b)
						defer near[i].Close()
						defer far[i].Close()
					}
					sw.open(ctx, far)
					stream(b, near[0], near[1], size, burst)
				})
			}
		}
	}
}

func ours(ctx context.Context, far [2]net.Conn) {
	sw := l2.New(1500, time.Now)
	for _, c := range far {
		go sw.NewPort().Serve(ctx, c)
	}
}

func theirs(ctx context.Context, far [2]net.Conn) {
	sw := tap.NewSwitch(false)
	gw, err := tap.NewLinkEndpoint(false, 1500, "02:ff:ff:ff:ff:ff", "10.0.0.1", nil)
	if err != nil {
		panic(err)
	}
	gw.Connect(sw)
	sw.Connect(gw)
	for _, c := range far {
		go sw.Accept(ctx, c, types.QemuProtocol)
	}
}

// stream sends b.N frames from one connection and waits until the other has them all.
func stream(b *testing.B, from, to net.Conn, size, burst int) {
	a, z := []byte{2, 0, 0, 0, 0, 1}, []byte{2, 0, 0, 0, 0, 2}
	frame := func(dst, src []byte) []byte {
		f := bytes.Join([][]byte{dst, src, {0x88, 0xb5}}, nil)
		return append(f, make([]byte, size-len(f))...)
	}
	// Both ends are learnt first, so that nothing is flooded.
	meet := func(w, r net.Conn, f []byte) {
		for range 50 {
			if _, err := w.Write(wire.Append(nil, f)); err != nil {
				b.Fatal(err)
			}
			_ = r.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			if _, err := io.ReadFull(r, make([]byte, wire.HeaderSize+len(f))); err == nil {
				_ = r.SetReadDeadline(time.Time{})
				return
			}
		}
		b.Fatal("no frame came through")
	}
	// One may be flooded to a gateway that is not there: not to broadcast, which theirs would hand to its stack.
	if _, err := to.Write(wire.Append(nil, frame(a, z))); err != nil {
		b.Fatal(err)
	}
	meet(from, to, frame(z, a))
	_ = from.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	_, _ = io.Copy(io.Discard, from)

	var got atomic.Int64
	room := make(chan struct{}, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1<<20)
		unit, n := int64(wire.HeaderSize+size), int64(0)
		for n < int64(b.N)*unit {
			k, err := to.Read(buf)
			if err != nil {
				return
			}
			n += int64(k)
			got.Store(n / unit)
			select {
			case room <- struct{}{}:
			default:
			}
		}
	}()
	batch := bytes.Repeat(wire.Append(nil, frame(z, a)), burst)
	b.SetBytes(int64(size))
	b.ResetTimer()
	for sent := 0; sent < b.N; sent += burst {
		for int64(sent)-got.Load() > window {
			<-room
		}
		n := min(burst, b.N-sent)
		if _, err := from.Write(batch[:n*(wire.HeaderSize+size)]); err != nil {
			b.Fatal(err)
		}
	}
	<-done
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "frames/s")
	if int(got.Load()) != b.N {
		b.Fatalf("%d of %d frames came through", got.Load(), b.N)
	}
}

// pair returns both ends of a unix stream connection.
func pair(t testing.TB) (net.Conn, net.Conn) {
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

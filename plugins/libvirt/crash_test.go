package libvirt

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/libvirt/conn"
	"github.com/labctl-dev/labctl/provider"
)

// TestCrash ends labctl at many points of an apply, a change and a destroy, as seen from libvirt: the connection
// breaks after so many packets and does not come back. The next apply goes on from there.
// LABCTL_SOAK is how many points are tried of each.
func TestCrash(t *testing.T) {
	onHost(t, func(w bench) {
		l := w.idle(2)
		l.Machines[0].Disks = append(l.Machines[0].Disks, lab.Disk{Name: "data", Size: lab.MiB})
		changed := w.idle(1) // one machine and one disk less, more memory, another range of addresses
		changed.Machines[0].Memory *= 2
		changed.Networks[1].DHCP = &lab.Range{From: netip.MustParseAddr("10.20.0.100"), To: netip.MustParseAddr("10.20.0.120")}
		changed.Domain = "other.lab" // for which its network is started anew
		none := lab.Lab{Name: l.Name, Target: l.Target}
		const all = 1 << 30
		makes, changes, clears := w.until(t, all, l), w.until(t, all, changed), w.until(t, all, none)
		w.gone(l.Name)
		t.Logf("packets: %d to make it, %d to change it, %d to destroy it", makes, changes, clears)
		points := 8
		if n, err := strconv.Atoi(os.Getenv("LABCTL_SOAK")); err == nil {
			points = n
		}
		for i := range points {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				w := bench{t, w.v, w.d}
				w.forgetImages()
				w.until(t, rand.IntN(makes), l)
				w.apply(l)
				w.settled(l)
				w.whole(l)
				w.until(t, rand.IntN(changes), changed)
				w.apply(changed)
				w.settled(changed)
				w.joined(2)
				w.whole(changed)
				w.until(t, rand.IntN(clears), none)
				w.clear(l)
			})
		}
	})
}

// forgetImages takes the images off the host, so that they are brought anew.
func (w bench) forgetImages() {
	w.Helper()
	if !strings.Contains(w.d.Virsh("pool-list", "--name"), poolPrefix+imagePool) {
		return
	}
	for _, name := range strings.Fields(w.d.Virsh("vol-list", poolPrefix+imagePool)) {
		if strings.HasPrefix(name, "labctl-image-") {
			w.d.Virsh("vol-delete", name, "--pool", poolPrefix+imagePool)
		}
	}
}

// until applies a lab through a connection that breaks after so many packets, and returns how many were sent.
func (w bench) until(t *testing.T, limit int, l lab.Lab) int {
	t.Helper()
	var did []string
	sent, err := w.cut(t, limit, func(v *virt) (err error) {
		did, err = bench{t, v, w.d}.try(t.Context(), l)
		return err
	})
	t.Logf("after %d packets: %v: %v", limit, did, err)
	return sent
}

// cut does something through a connection that breaks after so many packets, and returns how many were sent.
func (w bench) cut(t *testing.T, limit int, f func(v *virt) error) (sent int, err error) {
	t.Helper()
	p := newBreaker(t, w.d.Socket, limit)
	values := map[string]any{"uri": "qemu:///system?socket=" + p.path, "type": "qemu", "stop": "1s"}
	v, err := open(provider.Options{Home: w.v.home, Target: "local", Values: values})
	if err != nil {
		t.Fatal(err)
	}
	if v.host, err = conn.Open(v.opts.URI, conn.Options{Patience: 100 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	err = f(v)
	if p.broken() != (err != nil) {
		t.Errorf("the connection broke: %v; the error: %v", p.broken(), err)
	}
	if took := time.Since(begin); err != nil && took > 40*time.Second {
		t.Errorf("it took %s to notice", took)
	}
	v.host.Close()
	return p.end(), err
}

// breaker is a way to a socket that ends after so many packets: half of one more is passed on, or all of it, without
// its answer.
type breaker struct {
	path string
	l    net.Listener
	wg   sync.WaitGroup

	mu    sync.Mutex
	limit int
	sent  int
	dead  bool
	conns []net.Conn
}

func newBreaker(t *testing.T, socket string, limit int) *breaker {
	t.Helper()
	b := &breaker{path: filepath.Join(t.TempDir(), "s"), limit: limit}
	var err error
	if b.l, err = net.Listen("unix", b.path); err != nil {
		t.Fatal(err)
	}
	b.wg.Go(func() {
		for {
			in, err := b.l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("unix", socket)
			if err != nil {
				in.Close()
				continue
			}
			b.mu.Lock()
			b.conns = append(b.conns, in, out)
			b.mu.Unlock()
			b.wg.Go(func() {
				b.pass(out, in)
				out.Close()
			})
			b.wg.Go(func() {
				_, _ = io.Copy(in, out)
				in.Close()
			})
		}
	})
	return b
}

// pass passes packets on: a length of four bytes, which counts itself, and the rest.
func (b *breaker) pass(out io.Writer, in io.Reader) {
	for {
		head := make([]byte, 4)
		if _, err := io.ReadFull(in, head); err != nil {
			return
		}
		packet := append(head, make([]byte, binary.BigEndian.Uint32(head)-4)...)
		if _, err := io.ReadFull(in, packet[4:]); err != nil {
			return
		}
		b.mu.Lock()
		b.sent++
		last := b.sent > b.limit
		if last && b.sent%2 == 0 {
			packet = packet[:len(packet)/2]
		}
		_, err := out.Write(packet)
		if last {
			b.dead = true
			b.cut()
		}
		b.mu.Unlock()
		if err != nil || last {
			return
		}
	}
}

func (b *breaker) broken() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dead
}

// end breaks off what is left and returns how many packets were sent.
func (b *breaker) end() int {
	b.mu.Lock()
	b.cut()
	b.mu.Unlock()
	b.wg.Wait()
	return b.sent
}

// cut is called with mu held.
func (b *breaker) cut() {
	b.l.Close()
	for _, c := range b.conns {
		c.Close()
	}
}

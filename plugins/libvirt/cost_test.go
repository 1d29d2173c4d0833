package libvirt

import (
	"testing"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/libvirt/conn"
)

// TestRoundTrips counts what a look at a lab asks libvirt: what does not depend on the lab, and what each machine adds.
func TestRoundTrips(t *testing.T) {
	onHost(t, func(w bench) {
		looks := func(l lab.Lab) int {
			t.Helper()
			b := newBreaker(t, w.d.Socket, 1<<30)
			host, err := conn.Open("qemu:///system?socket="+b.path, conn.Options{})
			if err != nil {
				t.Fatal(err)
			}
			v := newBench(t, w.d, nil).v
			v.host = host
			if _, err := v.Observe(t.Context(), l); err != nil {
				t.Fatal(err)
			}
			host.Close()
			return b.end()
		}
		l := w.idle(1)
		w.apply(l)
		one := looks(l)
		l = w.idle(4)
		w.apply(l)
		four := looks(l)
		t.Logf("one machine: %d packets, four: %d", one, four)
		// A machine's two definitions, and its disk. The rest: two to connect, eight lists, two pools and their volumes,
		// two networks twice, an image.
		if each := (four - one) / 3; each > 3 || one > 2+8+2*3+2*2+1+1+3 {
			t.Errorf("one machine costs %d round trips, each more %d", one, each)
		}
		w.clear(l)
	})
}

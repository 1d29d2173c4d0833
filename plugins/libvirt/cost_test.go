package libvirt

import (
	"fmt"
	"testing"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/libvirt/conn"
)

// TestRoundTrips counts what a look at a lab asks libvirt, against the least that its API lets anybody ask: the lists,
// and the definitions of what is on the host.
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
		// Two to connect; pools twice, networks three times, domains four times, and the domains' states. Of a pool its
		// definition and its volumes. Of a network that runs both definitions and its ports. Of an image one volume. Of a
		// machine that runs both definitions, one if it is off, and its disk.
		floor := func(pools, networks, running, off int) int {
			return 2 + 2 + 3 + 4 + 1 + 2*pools + 3*networks + 1 + 3*running + 2*off
		}
		for _, c := range []struct{ machines, running int }{{1, 1}, {6, 4}, {20, 4}} { // that they are many is what counts
			l := w.idle(c.machines)
			for i := range l.Machines {
				if i >= c.running {
					l.Machines[i].Power = lab.Off
				}
			}
			w.apply(l)
			got, want := looks(l), floor(2, 2, c.running, c.machines-c.running)
			t.Logf("%d machines, %d of them run: %d packets", c.machines, c.running, got)
			if got > want {
				t.Errorf("%d machines: %d round trips, want %d", c.machines, got, want)
			}
		}
		// More pools, more networks, snapshots, and what is not the lab's: a foreign thing costs a definition each.
		l := w.idle(2)
		l.Pools = []lab.Pool{{Name: "fast", Path: "/var/lib/labctl/fast"}}
		l.Machines[0].Disks = append(l.Machines[0].Disks, lab.Disk{Name: "data", Size: lab.MiB, Pool: "fast"})
		for i := range 3 {
			l.Networks = append(l.Networks, other(l, "x", byte(i)).Networks[0])
			l.Networks[len(l.Networks)-1].Name = fmt.Sprint("net", i)
		}
		w.apply(l)
		for i := range 5 {
			w.d.Virsh("snapshot-create-as", "test-m1", fmt.Sprint("s", i), "--disk-only", "--diskspec", "vdb,snapshot=no", "--no-metadata")
		}
		w.define("net-define", "<network><name>own</name><bridge name='own0'/></network>")
		got, want := looks(l), floor(3, 5, 2, 0)+1+1
		t.Logf("with three pools, five networks and a foreign one: %d packets", got)
		if got > want {
			t.Errorf("%d round trips, want %d", got, want)
		}
		w.d.Virsh("net-undefine", "own")
		w.d.Virsh("pool-refresh", "labctl-disks")
		w.clear(l)
	})
}

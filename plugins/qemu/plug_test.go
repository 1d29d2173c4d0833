package qemu

import (
	"testing"

	"github.com/labctl-dev/labctl/lab"
)

// TestLive changes what can be changed while a real kernel runs, and looks at it from both sides.
func TestLive(t *testing.T) {
	t.Parallel()
	w := newWorld(t, map[string]any{"stop": "1s"})
	l := w.linux()
	w.apply(l)
	w.sees("m0", 0, "nics=2 virtio-disks=0 nvme0n1=16384")
	w.settled(l)
	pid := w.pid(l, "m0")
	m := &l.Machines[0]

	l.Networks = append(l.Networks, lab.Network{Name: "extra", CIDR: l.Networks[1].CIDR, MTU: 1500})
	m.NICs = append(m.NICs, lab.NIC{Network: "extra", Link: lab.Down})
	m.Disks = append(m.Disks, lab.Disk{Name: "data", Size: lab.MiB})
	l = lab.Complete(l)
	m = &l.Machines[0]
	at := w.said("m0")
	w.apply(l)
	w.sees("m0", at, "nics=3 virtio-disks=1")
	w.settled(l)

	at = w.said("m0")
	m.NICs = m.NICs[1:]
	m.NICs[1].Link = lab.Up
	m.NICs[0].Link = lab.Down
	m.Disks = m.Disks[:1]
	w.apply(l)
	w.sees("m0", at, "nics=2 virtio-disks=0")
	w.settled(l)
	if w.pid(l, "m0") != pid {
		t.Error("live changes cost the machine its process")
	}

	m.Disks[0].Size *= 2
	w.apply(l)
	w.sees("m0", 0, "nvme0n1=32768")
	w.settled(l)
	if w.pid(l, "m0") == pid {
		t.Error("an NVMe disk grew without a reboot, which QEMU cannot do")
	}
}

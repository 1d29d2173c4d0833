package libvirt

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/schema"
)

// TestDoors dials every machine of deployment 3 that has a packet filter, on each of its networks, with the ruleset
// that the machine will have. In place of machines there are network namespaces.
func TestDoors(t *testing.T) {
	onHost(t, func(w bench) {
		s, err := schema.Load(schema.Options{Args: []string{"../../labs/deploy3.cue"}})
		if err != nil {
			t.Fatal(err)
		}
		l := s.Lab
		for i := range l.Machines { // and a server with a filter of its own
			l.Machines[i].Firewall = l.Machines[i].Name == "jumpbox"
		}
		sets, err := nft.All(l)
		if err != nil || len(sets) < 3 {
			t.Fatalf("%d rulesets: %v", len(sets), err)
		}
		w.makeNetworks(l)
		uplinks, err := uplinkCIDRs(l, w.v.opts)
		if err != nil {
			t.Fatal(err)
		}
		for name, set := range sets {
			m, _ := l.Machine(name)
			addrs := reached(l, m, uplinks, w.v.opts)
			w.stand(l, m, uplinks, set)
			known := 0
			for _, a := range addrs {
				admitted := slices.ContainsFunc(m.NICs, func(nic lab.NIC) bool {
					n, _ := l.Network(nic.Network)
					return n.CIDR.IsValid() && (n.CIDR.Contains(a) || n.CIDR6.Contains(a) || a.Zone() == bridgeName(l.Name, n.Name))
				})
				if !admitted { // an uplink of which the filter cannot know who is there
					continue
				}
				known++
				if err := w.reaches(netip.AddrPortFrom(a, 22), time.Minute); err != nil {
					t.Errorf("%s is not let in by %s: %v", a, name, err)
				}
				if err := w.reaches(netip.AddrPortFrom(a, 23), time.Second/2); err == nil {
					t.Errorf("%s: everything is let in by %s", a, name)
				}
			}
			t.Logf("%s: %d of %v", name, known, addrs)
			if known < 2*(len(m.NICs)-1) { // the door, and its link-local address
				t.Errorf("%s is dialled at %v only", name, addrs)
			}
		}
	})
}

// makeNetworks makes only the networks of a lab.
func (w bench) makeNetworks(l lab.Lab) {
	w.Helper()
	desired, err := w.v.Expand(l, nil)
	if err != nil {
		w.Fatal(err)
	}
	for _, r := range desired {
		if r.Addr.Kind == kindNetwork {
			if err := w.v.Create(w.Context(), r, provider.Silent); err != nil {
				w.Fatal(err)
			}
		}
	}
}

// stand puts a network namespace in the place of a machine: on its networks, at its addresses, behind its ruleset, with
// something that listens on ports 22 and 23.
func (w bench) stand(l lab.Lab, m lab.Machine, uplinks map[string]netip.Prefix, set nft.Ruleset) {
	w.Helper()
	run := func(stdin []byte, line string) {
		w.Helper()
		words := strings.Fields(line)
		cmd := exec.Command(words[0], words[1:]...)
		cmd.Stdin = bytes.NewReader(stdin)
		if out, err := cmd.CombinedOutput(); err != nil {
			w.Fatalf("%s: %v: %s", line, err, out)
		}
	}
	run(nil, "ip netns add "+m.Name)
	run(nil, "ip -n "+m.Name+" link set lo up")
	for i, nic := range m.NICs {
		dev, host := nft.Interface(nic.Network), fmt.Sprintf("%.8s-%d", m.Name, i)
		run(nil, fmt.Sprintf("ip link add %s type veth peer name %s netns %s address %s", host, dev, m.Name, nic.MAC))
		run(nil, fmt.Sprintf("ip link set %s master %s up", host, bridgeName(l.Name, nic.Network)))
		n, _ := l.Network(nic.Network)
		v4, bits := nic.Addr, n.CIDR.Bits()
		if !v4.IsValid() {
			v4, bits = given(addressed(l, nic.Network, uplinks[nic.Network]), nic.Network, m.Name), uplinks[nic.Network].Bits()
		}
		run(nil, fmt.Sprintf("ip -n %s addr add %s/%d dev %s", m.Name, v4, bits, dev))
		if nic.Addr6.IsValid() {
			run(nil, fmt.Sprintf("ip -n %s addr add %s/%d dev %s nodad", m.Name, nic.Addr6, n.CIDR6.Bits(), dev))
		}
		run(nil, fmt.Sprintf("ip -n %s link set %s up", m.Name, dev))
	}
	run(set.Render(), "ip netns exec "+m.Name+" nft -f -")
	for _, port := range []int{22, 23} {
		c := w.listen(m.Name, port)
		w.Cleanup(func() { c.Close() })
		go func() {
			for {
				conn, err := c.Accept()
				if err != nil {
					return
				}
				conn.Close()
			}
		}()
	}
}

// listen listens in a network namespace.
func (w bench) listen(ns string, port int) net.Listener {
	w.Helper()
	var l net.Listener
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never back: the thread ends with the goroutine
		f, err := os.Open("/run/netns/" + ns)
		if err == nil {
			err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
			f.Close()
		}
		if err == nil {
			l, err = net.Listen("tcp", fmt.Sprintf(":%d", port))
		}
		done <- err
	}()
	if err := <-done; err != nil {
		w.Fatal(err)
	}
	return l
}

// reaches connects from the host. A bridge's fresh IPv6 addresses take a moment to be usable, and who dials meanwhile
// comes from another network's; so it tries again and again.
func (w bench) reaches(to netip.AddrPort, within time.Duration) error {
	ctx, cancel := context.WithTimeout(w.Context(), within)
	defer cancel()
	for {
		once, stop := context.WithTimeout(ctx, 2*time.Second)
		c, err := w.v.host.DialGuest(once, to)
		stop()
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

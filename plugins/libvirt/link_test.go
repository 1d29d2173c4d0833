package libvirt

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/labctl-dev/labctl/lab"
)

// cables are the bridges of the lab's networks and the taps of a machine's NICs: which devices they are, whose ports,
// and how often their carrier has changed.
func (w bench) cables(l lab.Lab, machine string) (bridges, taps map[string]string) {
	w.Helper()
	read := func(dev, file string) string {
		b, err := os.ReadFile(filepath.Join("/sys/class/net", dev, file))
		if err != nil {
			w.Fatal(err)
		}
		return strings.TrimSpace(string(b))
	}
	bridges, taps = map[string]string{}, map[string]string{}
	for _, n := range l.Networks {
		bridges[n.Name] = read(bridgeName(l.Name, n.Name), "ifindex")
	}
	for _, line := range strings.Split(w.d.Virsh("-q", "domiflist", domainName(l.Name, machine)), "\n") {
		if f := strings.Fields(line); len(f) > 2 {
			taps[f[2]] = fmt.Sprint(f[0], " ", read(f[0], "ifindex"), " ", read(f[0], "carrier_changes"))
		}
	}
	return bridges, taps
}

// TestLive changes a network under a machine that runs: what is promised to be live leaves the network and the
// machine's cable alone; what is not makes the network anew, and the machine's cable stays what it is, and leads there.
func TestLive(t *testing.T) {
	onHost(t, func(w bench) {
		l := w.idle(1)
		w.apply(l)
		bridges, taps := w.cables(l, "m0")
		check := func(what string, l lab.Lab, anew string) {
			t.Helper()
			w.apply(l)
			w.settled(l)
			b, c := w.cables(l, "m0")
			for name := range bridges {
				if (b[name] != bridges[name]) != (name == anew) {
					t.Errorf("%s: the bridge of %s was %s and is %s", what, name, bridges[name], b[name])
				}
			}
			if fmt.Sprint(c) != fmt.Sprint(taps) {
				t.Errorf("%s: the machine's cables were %v and are %v", what, taps, c)
			}
			w.joined(2 * len(l.Machines))
			bridges = b
		}
		live := l
		live.Networks = append([]lab.Network(nil), l.Networks...)
		live.Networks[1].DHCP = &lab.Range{From: netip.MustParseAddr("10.20.0.100"), To: netip.MustParseAddr("10.20.0.120")}
		anew := l
		anew.Domain = "other.lab"
		check("a lease and a name more", w.idle(2), "")
		check("a lease and a name less", l, "")
		live.Networks[1].DHCP.To = netip.MustParseAddr("10.20.0.130")
		check("another domain", anew, "lan")
		check("the domain back", l, "lan")
		check("a first range", live, "")
		live.Networks[1].DHCP = &lab.Range{From: netip.MustParseAddr("10.20.0.101"), To: netip.MustParseAddr("10.20.0.110")}
		check("another range", live, "")
		w.clear(l)
	})
}

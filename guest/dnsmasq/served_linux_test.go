package dnsmasq_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/lab"
)

// wire connects the router's interfaces, each with its addresses, to the clients' ends, called as the network and "-c".
func wire(s *space, l lab.Lab, router string, macs map[string]string) {
	m, _ := l.Machine(router)
	for _, nic := range m.NICs {
		n, _ := l.Network(nic.Network)
		far := nic.Network + "-c"
		lines := []string{fmt.Sprintf("ip link add %s type veth peer name %s", nic.Network, far)}
		if mac := macs[nic.Network]; mac != "" {
			lines = append(lines, fmt.Sprintf("ip link set %s address %s", far, mac))
		}
		for _, d := range []string{nic.Network, far} { // both ends are in one place, where their addresses are each other's own
			lines = append(lines, fmt.Sprintf("echo 0 > /proc/sys/net/ipv6/conf/%[1]s/accept_dad; echo 1 > /proc/sys/net/ipv4/conf/%[1]s/accept_local", d))
		}
		lines = append(lines, fmt.Sprintf("echo 1 > /proc/sys/net/ipv6/conf/%[1]s/accept_ra_from_local; echo 0 > /proc/sys/net/ipv6/conf/%[2]s/accept_ra", far, nic.Network))
		for _, v6 := range []bool{false, true} {
			a, _ := nic.Address(v6)
			if p, ok := n.Prefix(v6); ok {
				lines = append(lines, fmt.Sprintf("ip addr add %s dev %s", netip.PrefixFrom(a, p.Bits()), nic.Network))
			}
		}
		lines = append(lines, fmt.Sprintf("ip link set %s up; ip link set %s up", nic.Network, far))
		s.run(strings.Join(lines, "\n"))
	}
	s.run("ip link set lo up")
}

func interfaceOf(t *testing.T, l lab.Lab, machine, network string) lab.NIC {
	t.Helper()
	m, _ := l.Machine(machine)
	n, ok := m.NIC(network)
	if !ok {
		t.Fatal(machine, network)
	}
	return n
}

// TestServed runs dnsmasq and asks it everything.
func TestServed(t *testing.T) {
	program(t)
	s, l := newSpace(t), fixture()
	desk, both, six := interfaceOf(t, l, "desk", "staff"), interfaceOf(t, l, "both", "staff"), interfaceOf(t, l, "six", "lab6")
	wire(s, l, "inner", map[string]string{"staff": desk.MAC, "lab6": six.MAC})
	s.serve(l, "inner")
	addresses(t, s, desk, both, interfaceOf(t, l, "called", "staff"), six)
	autonomous(t, s, six)
	strangers(t, s, l)
	names(t, s, l)
}

// byMAC begins the DUID that is made of an Ethernet address.
const byMAC = "00:03:00:01:"

// addresses are those that labctl knew, with the routes that each machine needs.
func addresses(t *testing.T, s *space, desk, both, called, six lab.NIC) {
	a, o := s.dhcp4("staff-c", desk.MAC, 1, netip.Addr{})
	want := map[byte][]byte{1: {255, 255, 255, 0}, 3: {10, 20, 0, 1}, 6: {10, 20, 0, 1}, 15: []byte("served.lab"), 26: {0x05, 0x78}, 119: []byte("\x06served\x03lab\x00"), 121: nil}
	for code, w := range want {
		if !slices.Equal(o[code], w) {
			t.Errorf("option %d is %v, want %v", code, o[code], w)
		}
	}
	if a != desk.Addr {
		t.Errorf("desk is given %s, not %s", a, desk.Addr)
	}
	if a, o := s.dhcp4("staff-c", both.MAC, 1, netip.Addr{}); a != both.Addr || len(o[3]) > 0 {
		t.Errorf("both is given %s and router %v, want %s and none: its default route leads over perimeter", a, o[3], both.Addr)
	}
	if a := s.dhcp6("staff-c", byMAC+desk.MAC); a != desk.Addr6 {
		t.Errorf("desk is given %s, not %s", a, desk.Addr6)
	}
	if a := s.dhcp6("staff-c", called.DUID); a != called.Addr6 {
		t.Errorf("called is given %s by its DUID, not %s", a, called.Addr6)
	}
	if a, _ := s.dhcp4("lab6-c", six.MAC, 1, netip.Addr{}); a != six.Addr { // static, but its firmware may ask
		t.Errorf("six is given %s, not %s", a, six.Addr)
	}
	s.patience = 4
	defer func() { s.patience = 40 }()
	if a, _ := s.dhcp4("perimeter-c", desk.MAC, 1, netip.Addr{}); a.IsValid() {
		t.Errorf("%s is given on a network that is not served", a)
	}
	if a := s.dhcp6("staff-c", byMAC+"02:99:00:00:00:01"); a.IsValid() {
		t.Errorf("a stranger is given %s", a)
	}
}

// autonomous is the address that the kernel makes of what is advertised.
func autonomous(t *testing.T, s *space, six lab.NIC) {
	got := ""
	for range 100 {
		if got = s.run("ip -6 -o addr show dev lab6-c scope global | awk '{print $4}'; ip -6 route show default dev lab6-c | cut -d' ' -f1,2"); strings.Contains(got, "default") {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if want := six.Addr6.String() + "/64\ndefault via"; got != want {
		t.Errorf("six has %q, want %q", got, want)
	}
	if got := s.run("ip -6 -o addr show dev staff-c scope global"); got != "" {
		t.Errorf("an address of its own where the router gives them: %s", got)
	}
}

// strangers get addresses of the range, keep them when dnsmasq starts anew, and no name.
func strangers(t *testing.T, s *space, l lab.Lab) {
	first, _ := s.dhcp4("staff-c", "02:99:00:00:00:01", 1, netip.Addr{})
	if a, o := s.dhcp4("staff-c", "02:99:00:00:00:01", 3, first); a != first || !slices.Equal(o[53], []byte{5}) || !slices.Equal(o[3], []byte{10, 20, 0, 1}) {
		t.Errorf("a stranger asked for %s and got %s, %v", first, a, o)
	}
	n, _ := l.Network("staff")
	if !n.DHCP.Contains(first) {
		t.Errorf("a stranger got %s", first)
	}
	s.stop()
	s.serve(l, "inner")
	if a, o := s.dhcp4("staff-c", "02:99:00:00:00:01", 3, first); a != first || !slices.Equal(o[53], []byte{5}) {
		t.Errorf("after a restart the stranger that had %s got %s, %v", first, a, o)
	}
}

func names(t *testing.T, s *space, l lab.Lab) {
	r := s.resolver("10.20.0.1")
	host := func(name string) []string {
		got, err := r.LookupHost(t.Context(), name+".")
		if err != nil {
			got = []string{err.Error()[strings.LastIndex(err.Error(), ": ")+2:]}
		}
		slices.Sort(got)
		return got
	}
	web, both := interfaceOf(t, l, "web", "perimeter"), interfaceOf(t, l, "both", "staff")
	other := interfaceOf(t, l, "both", "perimeter")
	for name, want := range map[string][]string{
		"web.served.lab": {web.Addr.String(), web.Addr6.String()},
		"web":            {web.Addr.String(), web.Addr6.String()},
		// Of two IPv4 addresses the one on the asking network; dnsmasq has no such choice for IPv6.
		"both.served.lab":   {both.Addr.String(), other.Addr6.String(), both.Addr6.String()},
		"nobody.served.lab": {"no such host"},
		"nobody":            {"no such host"},
	} {
		slices.Sort(want)
		if diff := cmp.Diff(want, host(name)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for _, m := range l.Machines {
		for _, nic := range m.NICs {
			for _, v6 := range []bool{false, true} {
				a, ok := nic.Address(v6)
				if !ok {
					continue
				}
				if got, err := r.LookupAddr(t.Context(), a.String()); err != nil || !slices.Equal(got, []string{l.FQDN(m.Name) + "."}) {
					t.Errorf("%s is called %v, %v, not %s", a, got, err, l.FQDN(m.Name))
				}
			}
		}
	}
	for _, a := range []string{"10.30.0.99", "10.10.1.77", "fd00:20::77"} { // the lab's, and nobody's: not asked elsewhere
		if got, err := r.LookupAddr(t.Context(), a); err == nil || !strings.Contains(err.Error(), "no such host") {
			t.Errorf("%s is called %v, %v", a, got, err)
		}
	}
}

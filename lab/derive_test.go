package lab

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// labOn is a lab of machines on one network called "lan".
func labOn(n Network, machines ...string) Lab {
	n.Name = "lan"
	l := Lab{Name: "quick", Networks: []Network{n}}
	for _, m := range machines {
		l.Machines = append(l.Machines, Machine{Name: m, NICs: []NIC{{Network: "lan"}}})
	}
	return l
}

func on(cidr string) Network { return Network{CIDR: netip.MustParsePrefix(cidr)} }

func names(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("m%03d", i)
	}
	return all
}

// addrs are the addresses of a completed lab's machines; it fails on what no network may have.
func addrs(t *testing.T, l Lab) map[string]netip.Addr {
	t.Helper()
	n := l.Networks[0]
	got, seen := map[string]netip.Addr{}, map[netip.Addr]string{}
	for _, m := range l.Machines {
		a := m.NICs[0].Addr
		got[m.Name] = a
		switch other := seen[a]; {
		case !a.IsValid():
			continue
		case other != "":
			t.Errorf("%s: %s and %s both have %s", n.CIDR, other, m.Name, a)
		case !n.CIDR.Contains(a):
			t.Errorf("%s: %s has %s, outside", n.CIDR, m.Name, a)
		case m.NICs[0].Given:
		case a == n.CIDR.Masked().Addr() || a == Gateway(n.CIDR) || a == Door(n.CIDR) || a.Is4() && a == Broadcast(n.CIDR) || n.DHCP.Contains(a):
			t.Errorf("%s: %s has %s, which is reserved", n.CIDR, m.Name, a)
		}
		seen[a] = m.Name
	}
	return got
}

func TestEnds(t *testing.T) {
	for _, c := range []struct{ cidr, gateway, door, broadcast string }{
		{"10.0.0.0/24", "10.0.0.1", "10.0.0.254", "10.0.0.255"},
		{"10.0.0.77/24", "10.0.0.1", "10.0.0.254", "10.0.0.255"},
		{"10.0.0.0/8", "10.0.0.1", "10.255.255.254", "10.255.255.255"},
		{"0.0.0.0/0", "0.0.0.1", "255.255.255.254", "255.255.255.255"},
		{"10.0.0.0/30", "10.0.0.1", "10.0.0.2", "10.0.0.3"},
		{"10.0.0.0/31", "10.0.0.1", "10.0.0.0", "10.0.0.1"},
		{"255.255.255.255/32", "invalid IP", "invalid IP", "255.255.255.255"},
		{"fd00::/64", "fd00::1", "fd00::ffff:ffff:ffff:ffff", "fd00::ffff:ffff:ffff:ffff"},
		{"fd00::/127", "fd00::1", "fd00::1", "fd00::1"},
		{"fd00::/128", "invalid IP", "fd00::", "fd00::"},
		{"::/0", "::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
	} {
		p := netip.MustParsePrefix(c.cidr)
		if diff := cmp.Diff([]string{c.gateway, c.door, c.broadcast}, []string{Gateway(p).String(), Door(p).String(), Broadcast(p).String()}); diff != "" {
			t.Errorf("%s: gateway, door, broadcast: -want +got:\n%s", c.cidr, diff)
		}
	}
}

// TestFull puts more machines on a network than it has room for: as many as can get an address, the others none.
func TestFull(t *testing.T) {
	for _, c := range []struct {
		network Network
		room    int
	}{
		{on("10.0.0.0/32"), 0}, {on("10.0.0.0/31"), 0}, {on("10.0.0.0/30"), 0}, {on("10.0.0.0/29"), 4}, {on("10.0.0.0/28"), 12},
		{on("10.0.0.0/26"), 52}, {on("10.0.0.0/25"), 116}, {on("fd00::/128"), 0}, {on("fd00::/127"), 0}, {on("fd00::/126"), 0}, {on("fd00::/125"), 4}, {on("fd00::/121"), 116},
		{dhcp("10.0.0.0/28", "10.0.0.4", "10.0.0.7"), 8},
		{dhcp("10.0.0.0/28", "10.0.0.0", "10.0.0.15"), 0},
		{dhcp("10.0.0.0/28", "10.0.0.13", "10.0.0.15"), 11},
		{dhcp("fd00::/121", "fd00::10", "fd00::6f"), 20},
		{dhcp("10.0.0.0/28", "10.0.0.9", "10.0.0.4"), 12}, // the wrong way round: no range; Vet's business
	} {
		l := Complete(labOn(c.network, names(c.room+7)...))
		have := 0
		for _, a := range addrs(t, l) {
			if a.IsValid() {
				have++
			}
		}
		if have != c.room {
			t.Errorf("%s (DHCP %v): %d got an address, want %d", c.network.CIDR, c.network.DHCP, have, c.room)
		}
	}
}

func dhcp(cidr, from, to string) Network {
	n := on(cidr)
	n.DHCP = &Range{netip.MustParseAddr(from), netip.MustParseAddr(to)}
	return n
}

// TestHugeNetworks has so many addresses, and so large a DHCP range, that nothing may count them one by one.
func TestHugeNetworks(t *testing.T) {
	for _, n := range []Network{on("10.0.0.0/8"), on("0.0.0.0/0"), on("fd00::/64"), on("::/0"), on("fd00::/96"),
		dhcp("fd00::/64", "fd00::", "fd00::ffff:ffff"), dhcp("fd00::/96", "fd00::20", "fd00::ffff:ffff"), dhcp("10.0.0.0/8", "10.0.1.0", "10.255.255.254")} {
		for m, a := range addrs(t, Complete(labOn(n, names(20)...))) {
			if wholly := n.DHCP.Contains(netip.MustParseAddr("fd00::")) && n.CIDR.Bits() == 64; !a.IsValid() && !wholly {
				t.Errorf("%s (DHCP %v): %s got none", n.CIDR, n.DHCP, m)
			}
		}
	}
}

// TestStability takes every subset of a few machines on small networks: a machine may move only when another's place is
// in its way, that is when the other one stands between the machine's own first place and the place it got.
func TestStability(t *testing.T) {
	const n = 6
	for _, cidr := range []string{"10.0.0.0/24", "10.0.0.0/28", "10.0.0.0/29", "fd00::/64", "fd00::/124"} {
		alone := map[string]netip.Addr{}
		for _, m := range names(n) {
			alone[m] = addrs(t, Complete(labOn(on(cidr), m)))[m]
		}
		for set := range 1 << n {
			var members []string
			for i, m := range names(n) {
				if set>>i&1 == 1 {
					members = append(members, m)
				}
			}
			got := addrs(t, Complete(labOn(on(cidr), members...)))
			reversed := slices.Clone(members)
			slices.Reverse(reversed)
			if diff := cmp.Diff(got, addrs(t, Complete(labOn(on(cidr), reversed...))), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Fatalf("%s %v: the order of the spec matters: %s", cidr, members, diff)
			}
			for _, m := range members {
				if got[m] == alone[m] {
					continue
				}
				blocked := false
				for _, other := range members {
					blocked = blocked || other != m && got[other] == alone[m]
				}
				if !blocked {
					t.Errorf("%s %v: %s moved from %s to %s, though nobody is in its place", cidr, members, m, alone[m], got[m])
				}
			}
		}
	}
}

// TestGiven checks that addresses and MACs from the spec stay, also where they are unwise, and are avoided.
func TestGiven(t *testing.T) {
	free := Complete(labOn(on("10.0.0.0/24"), "web"))
	wanted := free.Machines[0].NICs[0].Addr
	l := labOn(on("10.0.0.0/24"), "web", "zz")
	l.Machines[1].NICs[0] = NIC{Network: "lan", Addr: wanted, Given: true, MAC: "02:AA:00:00:00:01"}
	got := Complete(l)
	if nic := got.Machines[1].NICs[0]; nic.Addr != wanted || !nic.Given || nic.MAC != "02:aa:00:00:00:01" {
		t.Errorf("a given interface became %+v", nic)
	}
	if a := got.Machines[0].NICs[0].Addr; a == wanted || !a.IsValid() {
		t.Errorf("web got %s, zz has %s", a, wanted)
	}
	l.Machines[1].NICs = []NIC{{Network: "lan", Addr: netip.MustParseAddr("10.0.0.200")}, {Network: "lan", Addr: wanted}} // twice on one network
	if a := Complete(l).Machines[0].NICs[0].Addr; a == wanted {
		t.Error("an address of a second interface on the same network was given away")
	}
}

// TestComplete checks that the caller's lab stays as it is, and that doing it again changes nothing.
func TestComplete(t *testing.T) {
	l := labOn(on("10.0.0.0/24"), "web", "db")
	l.Images = []Image{{Name: "z"}, {Name: "a"}}
	l.Targets = []Target{{Name: "z"}, {Name: "a"}}
	l.Secrets = []Secret{{Name: "z"}, {Name: "a"}}
	l.Networks = append(l.Networks, Network{Name: "dhcp", Uplink: true})
	l.Machines[0].NICs = append(l.Machines[0].NICs, NIC{Network: "dhcp"}, NIC{Network: "dangling"})
	before := fmt.Sprintf("%+v", l)
	got := Complete(l)
	if after := fmt.Sprintf("%+v", l); after != before {
		t.Errorf("the argument changed:\n%s\n%s", before, after)
	}
	opt := cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})
	if diff := cmp.Diff(got, Complete(got), opt); diff != "" {
		t.Errorf("completing twice: %s", diff)
	}
	if got.Images[0].Name != "a" || got.Targets[0].Name != "a" || got.Secrets[0].Name != "a" || got.Machines[0].Name != "db" || got.Networks[0].Name != "dhcp" {
		t.Error("not sorted")
	}
	if nics := got.Machines[1].NICs; nics[1].Addr.IsValid() || nics[2].Addr.IsValid() || nics[1].MAC == "" {
		t.Errorf("interfaces without a network that has addresses: %+v", nics)
	}
}

func TestMAC(t *testing.T) {
	if got, want := MAC("quickstart", "web", "lan"), "02:b7:35:21:cc:b6"; got != want {
		t.Errorf("MAC is %s, was %s: every machine of every user would get a new one", got, want)
	}
	form := regexp.MustCompile(`^02(:[0-9a-f]{2}){5}$`)
	seen := map[string]string{}
	for _, l := range []string{"a", "ab", "b"} {
		for _, m := range append(names(300), "a", "b", "bc") {
			for _, n := range []string{"a", "c", "bc"} {
				mac, who := MAC(l, m, n), l+"/"+m+"/"+n
				if !form.MatchString(mac) {
					t.Fatalf("%s is no local unicast address", mac)
				}
				if other := seen[mac]; other != "" {
					t.Errorf("%s and %s have the same", who, other)
				}
				seen[mac] = who
			}
		}
	}
}

// TestAllocationKept holds addresses of today: if one changes, running labs would be renumbered by a new labctl.
func TestAllocationKept(t *testing.T) {
	got := map[string]string{}
	for _, n := range []Network{on("10.20.0.0/24"), on("fd00::/64"), dhcp("10.20.0.0/26", "10.20.0.20", "10.20.0.50")} {
		for m, a := range addrs(t, Complete(labOn(n, "db", "web"))) {
			got[n.CIDR.String()+" "+m] = a.String()
		}
	}
	want := map[string]string{
		"10.20.0.0/24 db": "10.20.0.164", "10.20.0.0/24 web": "10.20.0.94",
		"10.20.0.0/26 db": "10.20.0.51", "10.20.0.0/26 web": "10.20.0.52",
		"fd00::/64 db": "fd00::1575:7af8", "fd00::/64 web": "fd00::7670:5b2a",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

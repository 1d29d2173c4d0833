package guest_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/lab"
)

// large is a lab of routers in a row, each with a network of hosts behind it.
func large(routers, hosts int) lab.Lab {
	l := lab.Lab{Name: "large", Domain: "large.lab", Networks: []lab.Network{{Name: "wan", Uplink: true, MTU: 1500}}}
	user := lab.Guest{User: "lab"}
	before := "wan"
	for r := range routers {
		n := fmt.Sprintf("net%03d", r)
		l.Networks = append(l.Networks, lab.Network{Name: n, CIDR: netip.MustParsePrefix(fmt.Sprintf("10.%d.0.0/16", r+1)), MTU: 1500, Assign: lab.DHCP})
		l.Machines = append(l.Machines, lab.Machine{Name: "r" + n, Router: true, Guest: user, NICs: []lab.NIC{{Network: before}, {Network: n}},
			Routing: &lab.Routing{DNS: []string{n}, DHCP: []string{n}}})
		for h := range hosts / routers {
			l.Machines = append(l.Machines, lab.Machine{Name: fmt.Sprintf("h%03d-%03d", r, h), Guest: user, NICs: []lab.NIC{{Network: n}}})
		}
		before = n
	}
	return lab.Arrange(l)
}

func BenchmarkSeeds(b *testing.B) {
	for _, size := range []struct{ routers, hosts int }{{2, 10}, {10, 100}, {50, 500}} {
		l := large(size.routers, size.hosts)
		b.Run(fmt.Sprintf("%drouters-%dhosts", size.routers, size.hosts), func(b *testing.B) {
			for b.Loop() {
				if _, err := guest.Seeds(l, guest.Keys{}, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Package netd is the network process of a QEMU lab: one detached process that holds all the lab's networks while
// plugins come and go. Each network is a switch (l2); every socket in its folder is a port of it; and labctl's own
// host on it is a gateway. Main is the process, Start and Stop its life, Client its control.
//
// It must not know machines, how QEMU is started, or the provider contract; and it keeps nothing on disk but what
// machines that install themselves have reported: whoever started it tells it its networks.
package netd

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/qemu/netd/gateway"
	"github.com/labctl-dev/labctl/plugins/qemu/netd/lease"
	"github.com/labctl-dev/labctl/plugins/qemu/netd/zone"
	"github.com/labctl-dev/labctl/provider/vmnet"
)

// Network is one network as it should be. It comes back from Status as it was Set: JSON keeps it exactly, but for
// slices that are empty and not nil, which come back nil. A field more or less is another Version: an older process
// would forget it.
type Network struct {
	Name string `json:"name"`
	Key  string `json:"key"` // name of its folder of sockets in the run folder's "net"
	// MAC is labctl's own on the network; "" makes one from the names.
	MAC string `json:"mac,omitempty"`
	// CIDR is the network's prefix; zero: labctl is there by its IPv6 link-local address only, without services.
	CIDR   netip.Prefix `json:"cidr,omitzero"`
	CIDR6  netip.Prefix `json:"cidr6,omitzero"`   // the second prefix of a network with both families
	Uplink bool         `json:"uplink,omitempty"` // NAT, DNS and default route at lab.Gateway of the prefixes; else the door
	MTU    int          `json:"mtu"`              // bytes, 576 to 65520
	// DHCP is given to strangers, Leases to machines by MAC; without both there is no DHCP.
	DHCP   *lab.Range `json:"dhcp,omitempty"`
	Leases []Lease    `json:"leases,omitempty"`
	// Records are the DNS names; without any, a network that is no uplink has no DNS.
	Records []Record `json:"records,omitempty"`
	Domain  string   `json:"domain,omitempty"`
	Routes  []Route  `json:"routes,omitempty"` // networks behind machines of this one
	// HostAccess lets machines reach the host: its own addresses, and at the gateway's address its loopback.
	HostAccess bool `json:"host_access,omitempty"`
	// Join lists further sockets that are ports of the network: absolute paths, and networks of macOS (vmnet.Segment), which
	// are looked for where socket_vmnet puts them.
	Join []string `json:"join,omitempty"`
	// Forward leads ports of the host to machines; ordered by Listen, each on one network only.
	Forward []Forward `json:"forward,omitempty"`
	// Netboot gives installations; nil gives none.
	Netboot *Netboot `json:"netboot,omitempty"`
}

// Lease, Record and Route are a network's details.
type (
	Lease  = lease.Static
	Record = zone.Record
	Route  = lease.Route
)

// Addr is labctl's own address on the network; zero without CIDR.
func (n Network) Addr() netip.Addr { return n.place(n.CIDR) }

// Addr6 is labctl's own address in CIDR6; zero without.
func (n Network) Addr6() netip.Addr { return n.place(n.CIDR6) }

// place is where labctl is within a prefix of the network.
func (n Network) place(p netip.Prefix) netip.Addr {
	switch {
	case !p.IsValid():
		return netip.Addr{}
	case n.Uplink:
		return lab.Gateway(p)
	}
	return lab.Door(p)
}

// Check returns an error that names what is wrong with n.
func (n Network) Check() error {
	switch {
	case n.Name == "":
		return fmt.Errorf("a network has no name")
	case n.Key == "" || strings.ContainsAny(n.Key, "/\x00") || strings.HasPrefix(n.Key, "."):
		return fmt.Errorf("network %s: key %q is no file name", n.Name, n.Key)
	case n.MTU < 576 || n.MTU > 65520:
		return fmt.Errorf("network %s: MTU %d is not within 576 to 65520", n.Name, n.MTU)
	}
	for _, p := range []netip.Prefix{n.CIDR, n.CIDR6} {
		if p.IsValid() && p.Addr().BitLen()-p.Bits() < 2 {
			return fmt.Errorf("network %s: %s has no room for machines", n.Name, p)
		}
	}
	if n.CIDR6.IsValid() && (!n.CIDR6.Addr().Is6() || !n.CIDR.Addr().Is4()) {
		return fmt.Errorf("network %s: %s is not the IPv6 prefix beside an IPv4 one", n.Name, n.CIDR6)
	}
	if r := n.DHCP; r != nil && (!n.CIDR.Contains(r.From) || !n.CIDR.Contains(r.To) || r.To.Less(r.From) || !r.From.Is4()) {
		return fmt.Errorf("network %s: DHCP range %s to %s is not an IPv4 range within %s", n.Name, r.From, r.To, n.CIDR)
	}
	return n.checkLists()
}

func (n Network) checkLists() error {
	macs, addrs := map[string]bool{}, map[netip.Addr]bool{n.Addr(): true}
	for _, l := range n.Leases {
		if hw, err := net.ParseMAC(l.MAC); err != nil || len(hw) != 6 || hw.String() != l.MAC {
			return fmt.Errorf("network %s: lease %s: %q is no MAC such as 02:00:00:00:00:01", n.Name, l.Addr, l.MAC)
		}
		if !l.Addr.Is4() || !n.CIDR.Contains(l.Addr) {
			return fmt.Errorf("network %s: lease for %s: %s is not an IPv4 address within %s", n.Name, l.MAC, l.Addr, n.CIDR)
		}
		if macs[l.MAC] || addrs[l.Addr] {
			return fmt.Errorf("network %s: lease %s for %s: MAC or address is taken", n.Name, l.Addr, l.MAC)
		}
		macs[l.MAC], addrs[l.Addr] = true, true
	}
	for _, r := range n.Records {
		if r.Name == "" || !r.Addr.IsValid() {
			return fmt.Errorf("network %s: DNS record %q has no name or address", n.Name, r.Name)
		}
	}
	for _, r := range n.Routes {
		if r.Prefix.IsValid() && !r.Via.IsValid() {
			continue
		}
		if !r.Prefix.IsValid() || !n.holds(r.Via) || r.Prefix.Addr().Is4() != r.Via.Is4() {
			return fmt.Errorf("network %s: route to %s via %s does not lead through a machine of %s", n.Name, r.Prefix, r.Via, n.CIDR)
		}
	}
	for _, j := range n.Join {
		if _, err := vmnet.Parse(j); err != nil && !filepath.IsAbs(j) {
			return fmt.Errorf("network %s: joined socket %q is neither an absolute path nor a network of macOS", n.Name, j)
		}
	}
	if _, err := net.ParseMAC(n.MAC); n.MAC != "" && err != nil {
		return fmt.Errorf("network %s: %q is no hardware address", n.Name, n.MAC)
	}
	if err := n.checkNetboot(); err != nil {
		return err
	}
	return n.checkForward()
}

// holds says whether an address is within one of the network's prefixes.
func (n Network) holds(a netip.Addr) bool { return n.CIDR.Contains(a) || n.CIDR6.Contains(a) }

// identity and config are n in the gateway's terms. salt tells the networks of one name in several labs apart.
func (n Network) identity(salt string) gateway.Identity {
	mac, err := net.ParseMAC(cmp.Or(n.MAC, lab.MAC(salt, "netd", n.Name)))
	if err != nil {
		panic(err) // check has seen MAC, and lab.MAC makes nothing else
	}
	id := gateway.Identity{MAC: mac, Uplink: n.Uplink && n.CIDR.IsValid()}
	for _, p := range []netip.Prefix{n.CIDR, n.CIDR6} {
		if p.IsValid() {
			id.Addrs = append(id.Addrs, netip.PrefixFrom(n.place(p), p.Bits()))
		}
	}
	return id
}

func (n Network) config() gateway.Config {
	return gateway.Config{MTU: n.MTU, HostAccess: n.HostAccess, Range: n.DHCP, Static: n.Leases, Records: n.Records, Domain: n.Domain, Routes: n.Routes, Script: n.script(), IPXE: n.ipxe()}
}

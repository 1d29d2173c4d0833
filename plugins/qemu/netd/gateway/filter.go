package gateway

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// allows says whether machines may be led out to an address: never to what only means something here (this network,
// those behind its routers, link-local, multicast, the clouds' metadata), and to the host itself only if told so.
func (g *Gateway) allows(c *Config, a netip.Addr) bool {
	a = a.Unmap()
	switch {
	case !a.IsValid(), a.IsUnspecified(), a.IsMulticast(), a.IsLinkLocalUnicast(), reserved(a):
		return false
	}
	for _, p := range g.id.Addrs {
		if p.Contains(a) {
			return false
		}
	}
	for _, r := range c.Routes {
		if r.Prefix.Contains(a) {
			return false
		}
	}
	return c.HostAccess || !a.IsLoopback() && !g.nat.host.has(a)
}

// reserved addresses are never anybody's outside: 0/8 (RFC 1122), 240/4 with the broadcast address, and the metadata
// service that clouds have beside 169.254.169.254, which is link-local.
func reserved(a netip.Addr) bool {
	if a.Is4() {
		b := a.As4()
		return b[0] == 0 || b[0] >= 240
	}
	return a == netip.AddrFrom16([16]byte{0xfd, 0, 0x0e, 0xc2, 14: 0x02, 15: 0x54}) // fd00:ec2::254
}

// hostAddrs knows the addresses of the host's interfaces, not older than fresh.
type hostAddrs struct {
	mu   sync.Mutex
	read time.Time
	all  map[netip.Addr]bool
}

const fresh = 2 * time.Second

// has says whether a is the host's; also if that cannot be found out.
func (h *hostAddrs) has(a netip.Addr) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Since(h.read) > fresh {
		list, err := net.InterfaceAddrs()
		if err != nil {
			return true
		}
		h.read, h.all = time.Now(), map[netip.Addr]bool{}
		for _, n := range list {
			if p, ok := n.(*net.IPNet); ok {
				if ip, ok := netip.AddrFromSlice(p.IP); ok {
					h.all[ip.Unmap()] = true
				}
			}
		}
	}
	return h.all[a.WithZone("")]
}

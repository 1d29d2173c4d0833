// Package lease is the DHCPv4 server of a network: fixed addresses by MAC, and a range for everybody else. It
// answers messages; whose socket they come from is the caller's business.
//
// It must not know QEMU, the switch, or how packets reach it. It keeps nothing on disk: a client that renews an
// address which is free gets it again, whoever gave it.
package lease

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/labctl-dev/labctl/lab"
)

const (
	// Time is how long an address is given for. Clients ask again after half of it.
	Time = time.Hour
	// offered is how long an address is kept for a client that has not yet taken it.
	offered = time.Minute
	// declined is how long an address rests after a client has found it in use.
	declined = 10 * time.Minute
)

// Static is a machine's fixed address.
type Static struct {
	MAC  string     `json:"mac"` // aa:bb:cc:dd:ee:ff, lower case
	Addr netip.Addr `json:"addr"`
	Name string     `json:"name,omitempty"` // host name given with the address
}

// Route is a network that is reached through a machine.
type Route struct {
	Prefix netip.Prefix `json:"prefix"`
	Via    netip.Addr   `json:"via,omitzero"` // zero: nobody is led there; the prefix is no address of the world outside
}

// Config is what the server gives. It answers nobody while Subnet is zero, and strangers only from Range.
type Config struct {
	Server netip.Addr // its own address
	Subnet netip.Prefix
	Range  *lab.Range
	Static []Static
	Router netip.Addr // zero: none
	DNS    netip.Addr // zero: none
	Domain string
	MTU    int
	Routes []Route
	// Script is the URL of what a client that is iPXE boots; "" is nothing.
	Script string
	// IPXE is the URL of iPXE itself for firmware of arm64 that starts from HTTP; "" is nothing. Other firmware of QEMU's has it
	// from its network card.
	IPXE string
}

// Lease is an address in use.
type Lease struct {
	MAC     string     `json:"mac"`
	Addr    netip.Addr `json:"addr"`
	Expires time.Time  `json:"expires"`
}

// Server is a DHCP server. The zero Server answers nobody. It is safe for concurrent use.
type Server struct {
	mu     sync.Mutex
	config Config
	leases map[string]Lease // by MAC; only those taken, offered or declined
}

// Set changes what is given from now on. Leases that the new configuration would not give are forgotten.
func (s *Server) Set(c Config) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.config = c
	for mac, l := range s.leases {
		fixed, ok := c.static(mac)
		if ok && fixed.Addr != l.Addr || !ok && !c.Range.Contains(l.Addr) {
			delete(s.leases, mac)
		}
	}
}

// Leases returns the addresses in use, ordered.
func (s *Server) Leases() []Lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Lease
	now := time.Now()
	for _, l := range s.leases {
		if l.Expires.After(now) && !strings.HasPrefix(l.MAC, "declined ") {
			all = append(all, l)
		}
	}
	slices.SortFunc(all, func(a, b Lease) int { return a.Addr.Compare(b.Addr) })
	return all
}

func (c *Config) static(mac string) (Static, bool) {
	for _, s := range c.Static {
		if s.MAC == mac {
			return s, true
		}
	}
	return Static{}, false
}

// pick is the address for a client that would like wish: its own fixed one, the one it has, the wish if that is
// free, else a free one. Zero: there is none.
func (s *Server) pick(mac string, wish netip.Addr, now time.Time) netip.Addr {
	if fixed, ok := s.config.static(mac); ok {
		return fixed.Addr
	}
	r := s.config.Range
	if r == nil {
		return netip.Addr{}
	}
	if l, ok := s.leases[mac]; ok {
		return l.Addr
	}
	taken := map[netip.Addr]bool{s.config.Server: true}
	for _, f := range s.config.Static {
		taken[f.Addr] = true
	}
	for k, l := range s.leases {
		if l.Expires.After(now) {
			taken[l.Addr] = true
		} else {
			delete(s.leases, k) // it could have had it again until now
		}
	}
	if r.Contains(wish) && !taken[wish] {
		return wish
	}
	for a := r.From; r.Contains(a); a = a.Next() {
		if !taken[a] {
			return a
		}
	}
	return netip.Addr{}
}

// hold keeps addr for mac.
func (s *Server) hold(mac string, addr netip.Addr, until time.Time) {
	if s.leases == nil {
		s.leases = map[string]Lease{}
	}
	if old, ok := s.leases[mac]; ok && old.Addr == addr && old.Expires.After(until) {
		return // an offer does not shorten a lease
	}
	s.leases[mac] = Lease{MAC: mac, Addr: addr, Expires: until}
}

package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Rule is one rule of the policy: From may open what Allow says to To. The order of rules means nothing, since rules
// only allow.
type Rule struct {
	Name  string    `json:"name"`           // unique; shown in counters, logs and verdicts
	From  []string  `json:"from"`           // selectors, see Lab.Ends
	To    []string  `json:"to"`             // selectors
	Allow []Service `json:"allow"`          // at least one
	Log   bool      `json:"log,omitempty"`  // every connection that this rule opens is logged by the machine that decides
	Path  string    `json:"path,omitempty"` // in the spec, e.g. "policy.3"
}

// Service is a protocol and, for TCP and UDP, an inclusive range of ports. Its text is "tcp/22", "udp/8000-8010",
// "tcp" (every port), "icmp" (echo, both families) or "any" (every protocol).
type Service struct {
	Proto Proto
	From  uint16
	To    uint16
}

// Proto is a protocol of a Service.
type Proto string

// The protocols of services.
const (
	TCP  Proto = "tcp"
	UDP  Proto = "udp"
	ICMP Proto = "icmp"
	Any  Proto = "any"
)

// Publish leads a port of a router to a port of a machine. It is a rule by itself: whoever arrives over the router's
// Network may open it, and no other way to the machine's port is opened by it.
type Publish struct {
	Network string `json:"network,omitempty"` // where it is offered; "" is every uplink the router is on
	Proto   Proto  `json:"proto"`             // TCP or UDP
	Port    uint16 `json:"port"`              // of the router
	Machine string `json:"machine"`           // where it leads to: the machine's address nearest to the router
	To      uint16 `json:"to"`                // the machine's port
	Log     bool   `json:"log,omitempty"`
	Path    string `json:"path,omitempty"` // in the spec
}

// Routing is what a router does besides forwarding. Names are of networks the router is on.
type Routing struct {
	Masquerade  []string  `json:"masquerade,omitempty"`  // IPv4 leaves over these with the router's own address
	Masquerade6 []string  `json:"masquerade6,omitempty"` // IPv6 likewise
	Publish     []Publish `json:"publish,omitempty"`
	DNS         []string  `json:"dns,omitempty"`  // where the router answers DNS
	DHCP        []string  `json:"dhcp,omitempty"` // where it gives addresses (DHCPv4, DHCPv6)
	NTP         []string  `json:"ntp,omitempty"`  // where it gives the time
}

// Implied is what the lab needs for itself and is allowed without a rule. A nil Implied is the default: labctl's own
// way in from where labctl is (Door, an uplink's Gateway, and link-local addresses), and no servers.
type Implied struct {
	DNS []string `json:"dns,omitempty"` // machines that answer DNS for all the others
	NTP []string `json:"ntp,omitempty"` // machines that give the time to all the others
	// Jump are machines over which people come to all the others by ssh, and labctl where it acts for them.
	Jump []string `json:"jump,omitempty"`
	// Admin is from where labctl comes in by ssh, in place of the default. Link-local addresses are written fe80::/10.
	Admin []netip.Prefix `json:"admin,omitempty"`
}

// Expectation is a statement about the whole lab that must hold: every one of From reaches every one of On by each
// of Services, or never does.
type Expectation struct {
	From     []string  `json:"from"`
	Never    bool      `json:"never,omitempty"`
	Services []Service `json:"services"`
	On       []string  `json:"on"`
	Path     string    `json:"path,omitempty"` // in the spec
}

// ParseService reads the text of a Service.
func ParseService(s string) (Service, error) {
	proto, ports, has := strings.Cut(s, "/")
	v := Service{Proto: Proto(proto)}
	switch v.Proto {
	case TCP, UDP:
		v.To = 65535
	case ICMP, Any:
		if !has {
			return v, nil
		}
		fallthrough
	default:
		return Service{}, fmt.Errorf("%q is no service such as \"tcp/22\", \"udp/8000-8010\", \"icmp\" or \"any\"", s)
	}
	if !has {
		return v, nil
	}
	lo, hi, isRange := strings.Cut(ports, "-")
	if !isRange {
		hi = lo
	}
	from, err1 := strconv.ParseUint(lo, 10, 16)
	to, err2 := strconv.ParseUint(hi, 10, 16)
	if err1 != nil || err2 != nil || from == 0 || to < from {
		return Service{}, fmt.Errorf("%q: %q is no port from 1 to 65535 and no range of them", s, ports)
	}
	v.From, v.To = uint16(from), uint16(to)
	return v, nil
}

func (s Service) String() string {
	switch {
	case s.Proto == ICMP || s.Proto == Any || s.From == 0 && s.To == 65535:
		return string(s.Proto)
	case s.From == s.To:
		return fmt.Sprintf("%s/%d", s.Proto, s.From)
	}
	return fmt.Sprintf("%s/%d-%d", s.Proto, s.From, s.To)
}

// MarshalText implements encoding.TextMarshaler.
func (s Service) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Service) UnmarshalText(b []byte) (err error) {
	*s, err = ParseService(string(b))
	return err
}

// Ends is what selectors stand for. Machines are those named or grouped, not those on Networks.
type Ends struct {
	Machines []string // sorted
	Networks []string // sorted: every address on them, known to the lab or not
	World    bool     // everything outside: no address of the lab's own networks or machines
	Any      bool     // everything there is
}

// Ends resolves selectors: the name of a machine, a network or a group, "world", or "any" (also "*"). unknown are
// those that name nothing; where one name means several things all of them are meant, and Ambiguous says so.
func (l Lab) Ends(selectors []string) (e Ends, unknown []string) {
	for _, s := range selectors {
		known := true
		switch s {
		case "world":
			e.World = true
		case "any", "*":
			e.Any = true
		default:
			known = l.named(s, &e)
		}
		if !known {
			unknown = append(unknown, s)
		}
	}
	slices.Sort(e.Machines)
	slices.Sort(e.Networks)
	e.Machines, e.Networks = slices.Compact(e.Machines), slices.Compact(e.Networks)
	return e, unknown
}

func (l Lab) named(s string, e *Ends) bool {
	known := false
	for i := range l.Machines {
		if m := &l.Machines[i]; m.Name == s || slices.Contains(m.Groups, s) {
			e.Machines, known = append(e.Machines, m.Name), true
		}
	}
	if _, ok := l.Network(s); ok {
		e.Networks, known = append(e.Networks, s), true
	}
	return known
}

// Jumps are the machines over which people come to all the others by ssh (Implied.Jump), sorted.
func (l Lab) Jumps() []string {
	if l.Implied == nil {
		return nil
	}
	e, _ := l.Ends(l.Implied.Jump)
	return e.Machines
}

// Ambiguous are the selectors that mean more than one of machine, network and group, or that are words of the policy
// and names at once; sorted.
func (l Lab) Ambiguous() []string {
	kinds := map[string]int{"world": 1, "any": 1, "*": 1}
	groups := map[string]bool{}
	for i := range l.Machines {
		kinds[l.Machines[i].Name]++
		for _, g := range l.Machines[i].Groups {
			groups[g] = true
		}
	}
	for _, n := range l.Networks {
		kinds[n.Name]++
	}
	for g := range groups {
		kinds[g]++
	}
	var out []string
	for name, n := range kinds {
		if n > 1 {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// Prefix is the network's prefix of one family; false where it has none, or none that is known.
func (n Network) Prefix(v6 bool) (netip.Prefix, bool) {
	for _, p := range []netip.Prefix{n.CIDR, n.CIDR6} {
		if p.IsValid() && p.Addr().Is6() == v6 {
			return p.Masked(), true
		}
	}
	return netip.Prefix{}, false
}

// Address is the interface's address of one family; false where it has none, or none that is known.
func (n NIC) Address(v6 bool) (netip.Addr, bool) {
	for _, a := range []netip.Addr{n.Addr, n.Addr6} {
		if a.IsValid() && a.Is6() == v6 {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// LinkLocal is the IPv6 address that an interface gives itself from its MAC (RFC 4291, appendix A); the zero Addr
// where MAC is none.
func LinkLocal(mac string) netip.Addr {
	b := [16]byte{0: 0xfe, 1: 0x80, 11: 0xff, 12: 0xfe}
	parts := strings.Split(mac, ":")
	if len(parts) != 6 {
		return netip.Addr{}
	}
	for i, at := range []int{8, 9, 10, 13, 14, 15} {
		v, err := strconv.ParseUint(parts[i], 16, 8)
		if err != nil {
			return netip.Addr{}
		}
		b[at] = byte(v)
	}
	b[8] ^= 2
	return netip.AddrFrom16(b)
}

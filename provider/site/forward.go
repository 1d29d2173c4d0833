package site

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// Entry is one entry of a target's option "forward": a TCP port of the host that leads to one of a machine.
type Entry struct {
	Listen  netip.AddrPort // of the host
	Machine string
	Port    uint16
}

// ParseForwards reads the option: from an address and a port of the host, or a port of its loopback, to
// "<machine>:<port>". They are ordered by address and port.
func ParseForwards(values map[string]string) ([]Entry, error) {
	var fs []Entry
	seen := map[netip.AddrPort]string{}
	for _, from := range slices.Sorted(maps.Keys(values)) {
		listen, err := parseListen(from)
		if err != nil {
			return nil, fmt.Errorf("forward %q: %w", from, err)
		}
		if other, twice := seen[listen]; twice {
			return nil, fmt.Errorf("forward %q: %q is the same port", from, other)
		}
		seen[listen] = from
		machine, port, ok := strings.Cut(values[from], ":")
		n, err := strconv.ParseUint(port, 10, 16)
		if !ok || machine == "" || err != nil || n == 0 {
			return nil, fmt.Errorf("forward %q: %q is no port of a machine such as \"web:80\"", from, values[from])
		}
		fs = append(fs, Entry{listen, machine, uint16(n)})
	}
	slices.SortFunc(fs, func(a, b Entry) int { return a.Listen.Compare(b.Listen) })
	return fs, nil
}

func parseListen(s string) (netip.AddrPort, error) {
	if proto, _, ok := strings.Cut(s, "/"); ok && proto != "tcp" {
		return netip.AddrPort{}, fmt.Errorf("only TCP is forwarded, not %s", proto)
	}
	s = strings.TrimPrefix(s, "tcp/")
	if port, err := strconv.ParseUint(s, 10, 16); err == nil && port > 0 {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port)), nil
	}
	if port, ok := strings.CutPrefix(s, ":"); ok {
		return netip.AddrPort{}, fmt.Errorf("write the address out: %q for this host alone, \"0.0.0.0:%s\" for everybody", port, port)
	}
	at, err := netip.ParseAddrPort(s)
	if err != nil || at.Port() == 0 {
		return netip.AddrPort{}, fmt.Errorf("it is no port of this host such as \"127.0.0.1:8080\" or \"8080\"")
	}
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), nil
}

// Forward is where an Entry leads here.
type Forward struct {
	Listen  netip.AddrPort `json:"listen"`
	To      netip.AddrPort `json:"to"`
	Machine string         `json:"machine"`
}

// forwards are the ports of the host that lead into each network.
func (s Site) forwards(entries []Entry) (map[string][]Forward, error) {
	by := map[string][]Forward{}
	if len(s.Lab.Machines) == 0 { // the lab of a destroy
		return by, nil
	}
	for _, f := range entries {
		refuse := func(format string, args ...any) error {
			return &provider.Error{Op: "expand", Code: provider.Invalid, Text: fmt.Sprintf("targets.%s.forward.%q: ", s.Lab.Target, f.Listen) + fmt.Sprintf(format, args...)}
		}
		m, ok := s.Lab.Machine(f.Machine)
		if !ok {
			return nil, refuse("the lab has no machine called %q", f.Machine)
		}
		nic, ok := s.entrance(m, f.Port)
		if !ok {
			return nil, refuse("machine %s has no address to lead to", f.Machine)
		}
		a, ok := nic.Address(false)
		if !ok {
			a, _ = nic.Address(true)
		}
		by[nic.Network] = append(by[nic.Network], Forward{Listen: f.Listen, To: netip.AddrPortFrom(a, f.Port), Machine: m.Name})
	}
	return by, nil
}

// entrance is the interface by which a port of a machine is entered from outside: where a router publishes it, else
// its first uplink, else its first network.
func (s Site) entrance(m lab.Machine, port uint16) (lab.NIC, bool) {
	best, rank := lab.NIC{}, 4
	for _, nic := range m.NICs {
		_, has4 := nic.Address(false)
		_, has6 := nic.Address(true)
		if !has4 && !has6 {
			continue
		}
		n, _ := s.Lab.Network(nic.Network)
		r := 3
		switch {
		case publishes(m, n, port):
			r = 1
		case n.Uplink:
			r = 2
		}
		if r < rank {
			best, rank = nic, r
		}
	}
	return best, rank < 4
}

func publishes(m lab.Machine, n lab.Network, port uint16) bool {
	return m.Routing != nil && slices.ContainsFunc(m.Routing.Publish, func(p lab.Publish) bool {
		return p.Proto == lab.TCP && p.Port == port && (p.Network == n.Name || p.Network == "" && n.Uplink)
	})
}

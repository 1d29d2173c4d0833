package nspawn

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/nspawn/room"
	"github.com/labctl-dev/labctl/provider"
)

// forward is one entry of the option "forward".
type forward struct {
	listen  netip.AddrPort // of this host
	machine string
	port    uint16
}

// parseForwards reads the option: from an address and a port of this host, or a port of its loopback, to
// "<machine>:<port>". They are ordered by address and port.
func parseForwards(values map[string]string) ([]forward, error) {
	var fs []forward
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
		fs = append(fs, forward{listen, machine, uint16(n)})
	}
	slices.SortFunc(fs, func(a, b forward) int { return a.listen.Compare(b.listen) })
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

// forwards are the ports of the host that lead into each network.
func (s site) forwards(o options) (map[string][]room.Forward, error) {
	by := map[string][]room.Forward{}
	if len(s.lab.Machines) == 0 { // the lab of a destroy
		return by, nil
	}
	for _, f := range o.forwards {
		refuse := func(format string, args ...any) error {
			return &provider.Error{Op: "expand", Code: provider.Invalid, Text: fmt.Sprintf("targets.%s.forward.%q: ", s.lab.Target, f.listen) + fmt.Sprintf(format, args...)}
		}
		m, ok := s.lab.Machine(f.machine)
		if !ok {
			return nil, refuse("the lab has no machine called %q", f.machine)
		}
		nic, ok := s.entrance(m, f.port)
		if !ok {
			return nil, refuse("machine %s has no address to lead to", f.machine)
		}
		a, ok := nic.Address(false)
		if !ok {
			a, _ = nic.Address(true)
		}
		by[nic.Network] = append(by[nic.Network], room.Forward{Listen: f.listen, To: netip.AddrPortFrom(a, f.port), Machine: m.Name})
	}
	return by, nil
}

// entrance is the interface by which a port of a machine is entered from outside: where a router publishes it, else
// its first uplink, else its first network.
func (s site) entrance(m lab.Machine, port uint16) (lab.NIC, bool) {
	best, rank := lab.NIC{}, 4
	for _, nic := range m.NICs {
		_, has4 := nic.Address(false)
		_, has6 := nic.Address(true)
		if !has4 && !has6 {
			continue
		}
		n, _ := s.lab.Network(nic.Network)
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

// Package export writes a lab in the terms of other tools: /etc/hosts, an Ansible inventory, Terraform's JSON for libvirt.
// It is pure: a lab goes in, bytes come out, the same for the same lab.
//
// It must not know a provider, nor how a machine is reached: what ssh needs is given to it.
package export

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// Hosts is the lab's block of an /etc/hosts, for a host outside of the lab: every address, the machine's full name first.
// A machine's short name stands with its first address alone, so that it means one.
func Hosts(l lab.Lab) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# BEGIN labctl %s\n", l.Name)
	type line struct {
		addr  netip.Addr
		names string
	}
	var lines []line
	var unknown []string
	for _, m := range l.Machines {
		names := l.FQDN(m.Name) + " " + m.Name
		before := len(lines)
		if m.External.IsValid() {
			lines = append(lines, line{m.External, names})
		}
		for _, n := range m.NICs {
			for _, a := range []netip.Addr{n.Addr, n.Addr6} {
				if !a.IsValid() {
					continue
				}
				lines = append(lines, line{a, names})
				names = l.FQDN(m.Name)
			}
		}
		if len(lines) == before {
			unknown = append(unknown, m.Name)
		}
	}
	width := 0
	for _, x := range lines {
		width = max(width, len(x.addr.String()))
	}
	for _, x := range lines {
		fmt.Fprintf(&b, "%-*s  %s\n", width, x.addr, x.names)
	}
	for _, name := range unknown {
		fmt.Fprintf(&b, "# %s: its address is the target's to give; labctl status shows it\n", name)
	}
	fmt.Fprintf(&b, "# END labctl %s\n", l.Name)
	return []byte(b.String())
}

// quote is s as a JSON string, which is one in YAML, too.
func quote(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string, to memory: cannot fail
	return strings.TrimSuffix(b.String(), "\n")
}

// address is where a machine is found by who is beside it: that on an uplink before others, IPv4 before IPv6.
func address(l lab.Lab, m lab.Machine) (netip.Addr, bool) {
	if m.External.IsValid() {
		return m.External, true
	}
	nics := slices.Clone(m.NICs)
	slices.SortStableFunc(nics, func(a, b lab.NIC) int {
		return rank(l, a) - rank(l, b)
	})
	for _, n := range nics {
		if n.Addr.IsValid() {
			return n.Addr, true
		}
		if n.Addr6.IsValid() {
			return n.Addr6, true
		}
	}
	return netip.Addr{}, false
}

func rank(l lab.Lab, n lab.NIC) int {
	if net, _ := l.Network(n.Network); net.Uplink {
		return 0
	}
	return 1
}

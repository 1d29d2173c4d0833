package lab

import (
	"net/netip"
	"net/url"
	"strings"
)

// host is the host of a URL without its port; "" if it has none.
func host(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// Called returns the machine that a name, full or short, or one of its addresses means.
func (l Lab) Called(name string) (Machine, bool) {
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	if m, ok := l.Machine(strings.TrimSuffix(name, "."+l.Domain)); ok {
		return m, true
	}
	a, err := netip.ParseAddr(name)
	if err != nil {
		return Machine{}, false
	}
	for i := range l.Machines {
		if l.Machines[i].External == a {
			return l.Machines[i], true
		}
		for _, nic := range l.Machines[i].NICs {
			if nic.Addr == a || nic.Addr6 == a {
				return l.Machines[i], true
			}
		}
	}
	return Machine{}, false
}

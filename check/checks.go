package check

import (
	"cmp"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/labctl-dev/labctl/lab"
)

// longest is more than anything in a lab takes to come up; a check that may take longer is a mistake in its unit.
const longest = time.Hour

// checks looks at what must hold once the lab is up.
func (v *vetter) checks() {
	for _, c := range v.lab.Checks {
		path := cmp.Or(c.Path, lab.Path("checks", c.Name))
		if m, ok := v.lab.Machine(c.From); !ok {
			v.error(path+".from", "there is no machine called %q", c.From)
		} else if m.Adopted != "" {
			v.clash(path+".from", m.Path("adopted"), "%s is adopted, and labctl has no way into it to ask anything from there", m.Name)
		} else if !m.Enters() {
			v.clash(path+".from", m.Path("external"), "%s is external and has no ssh, so labctl has no way into it to ask anything from there", m.Name)
		} else if m.Power == lab.Off {
			v.clash(path+".from", m.Path("power"), "%s is off, so nothing can be asked from it", m.Name)
		}
		v.asks(path, c)
	}
	for i := range v.lab.Machines {
		v.waits(&v.lab.Machines[i])
	}
}

// asks looks at what a check asks.
func (v *vetter) asks(path string, c lab.Check) {
	if d := time.Duration(c.Within); d <= 0 || d > longest {
		v.error(path+".within", "%s is not a time from above zero to %s", d, longest)
	}
	kinds := 0
	if c.TCP != nil {
		kinds++
		v.tcp(path+".tcp", *c.TCP)
	}
	if c.HTTP != nil {
		kinds++
		v.http(path+".http", *c.HTTP)
	}
	if c.DNS != nil {
		kinds++
		v.dns(path+".dns", *c.DNS)
	}
	if c.Command != nil {
		kinds++
		if strings.TrimSpace(c.Command.Run) == "" {
			v.error(path+".command.run", "a command that does nothing")
		}
		v.revealed(path+".command.run", c.Command.Run)
	}
	if kinds != 1 {
		v.error(path, "a check needs exactly one of tcp, http, dns and command")
	}
}

// waits looks at what a machine's roles wait for.
func (v *vetter) waits(m *lab.Machine) {
	for _, w := range m.Guest.Waits {
		for _, c := range w.For {
			v.asks(c.Path, c)
			to := c.Machines(v.lab)
			if other, _ := v.lab.Machine(to[len(to)-1]); len(to) > 1 && other.Power == lab.Off && m.Power != lab.Off {
				v.clash(c.Path, other.Path("power"), "%s on %s waits for %s, and %s is off", w.Role, m.Name, c.Name, other.Name)
			}
		}
	}
}

func (v *vetter) tcp(path string, c lab.TCPCheck) {
	v.target(path+".to", c.To, c.Refused)
	if c.Port < 1 || c.Port > 65535 {
		v.error(path+".port", "%d is no port from 1 to 65535", c.Port)
	}
}

func (v *vetter) http(path string, c lab.HTTPCheck) {
	before := len(v.found)
	v.url(path+".url", c.URL, "http", "https")
	if u, err := url.Parse(c.URL); err == nil && len(v.found) == before {
		v.target(path+".url", u.Hostname(), false)
	}
	if c.Status < 100 || c.Status > 599 {
		v.error(path+".status", "%d is no HTTP status from 100 to 599", c.Status)
	}
}

// target checks the name of whom a check asks. One without a dot, or in the lab's domain, means a machine; others are
// not the lab's; and in the domain, a name server that the lab's machines ask may know more. Nobody has an address of the
// lab's networks but its machines, unless that is what is asked.
func (v *vetter) target(path, name string, refused bool) {
	if _, ok := v.lab.Called(name); ok || name == "localhost" {
		return
	}
	a, err := netip.ParseAddr(name)
	host := strings.ToLower(strings.TrimSuffix(name, "."))
	switch {
	case name == "":
		v.error(path, "nobody is named")
	case err == nil && !refused && v.vacant(a):
		v.warn(path, "no machine has the address %s", a)
	case err == nil:
	case strings.HasSuffix(host, "."+v.lab.Domain) && v.lab.Implied != nil && len(v.lab.Implied.DNS) > 0:
	case !strings.Contains(host, "."), strings.HasSuffix(host, "."+v.lab.Domain):
		v.error(path, "there is no machine called %q", strings.TrimSuffix(host, "."+v.lab.Domain))
	}
}

// vacant says whether an address is on a network of the lab's own, and nobody can have it.
func (v *vetter) vacant(a netip.Addr) bool {
	for _, n := range v.lab.Networks {
		p, ok := n.Prefix(a.Is6())
		if ok && !n.Uplink && p.Contains(a) && !n.DHCP.Contains(a) && a != lab.Door(p) {
			return true
		}
	}
	return false
}

func (v *vetter) dns(path string, c lab.DNSCheck) {
	if c.Server != "" {
		v.target(path+".server", c.Server, false)
	}
	if c.Name == "" {
		v.error(path+".name", "nothing is asked for")
	}
	_, err := netip.ParseAddr(c.Name)
	if c.Type == "PTR" && err != nil && !strings.HasSuffix(strings.TrimSuffix(c.Name, "."), ".arpa") {
		v.error(path+".name", "%q is not an address, whose name PTR asks for", c.Name)
	}
	if c.Type != "A" && c.Type != "AAAA" {
		return
	}
	for _, text := range c.Answer {
		if a, err := netip.ParseAddr(text); err != nil || a.Is4() != (c.Type == "A") {
			v.error(path+".answer", "%q is not an address that an answer of type %s can be", text, c.Type)
		}
	}
}

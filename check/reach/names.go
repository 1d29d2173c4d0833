package reach

import (
	"fmt"
	"slices"

	"github.com/labctl-dev/labctl/check"
	"github.com/labctl-dev/labctl/lab"
)

// Names finds what the policy names and does not exist, or exists twice. Without such findings there is a proof.
func Names(l lab.Lab) []check.Finding {
	var out []check.Finding
	twice := l.Ambiguous()
	ends := func(path string, all []string) {
		_, unknown := l.Ends(all)
		for _, s := range unknown {
			out = append(out, finding(check.Error, path, "there is no machine, network or group called %q%s", s, lab.Meant(s, selectors(l))))
		}
		for _, s := range all {
			if slices.Contains(twice, s) {
				out = append(out, finding(check.Error, path, "%q means more than one thing: give the machine, the network and the group names of their own", s))
			}
		}
		if len(all) == 0 {
			out = append(out, finding(check.Error, path, "nobody is named"))
		}
	}
	seen := map[string]string{}
	for _, r := range l.Policy {
		ends(r.Path+".from", r.From)
		ends(r.Path+".to", r.To)
		if len(r.Allow) == 0 {
			out = append(out, finding(check.Error, r.Path+".allow", "a rule that allows nothing"))
		}
		if other, ok := seen[r.Name]; ok {
			f := finding(check.Error, r.Path, "there are two rules called %q", r.Name)
			f.Related = []string{other}
			out = append(out, f)
		}
		seen[r.Name] = r.Path
	}
	for _, e := range l.Expect {
		ends(e.Path+".from", e.From)
		ends(e.Path+".on", e.On)
	}
	if l.Implied != nil {
		for path, all := range map[string][]string{"implied.dns": l.Implied.DNS, "implied.ntp": l.Implied.NTP, "implied.jump": l.Implied.Jump} {
			if len(all) > 0 {
				ends(path, all)
			}
		}
	}
	for i := range l.Machines {
		out = append(out, routing(l, l.Machines[i])...)
	}
	return out
}

// routing checks the names in a router's own part.
func routing(l lab.Lab, m lab.Machine) []check.Finding {
	var out []check.Finding
	r, at := m.Routing, m.Path()
	if r == nil {
		return nil
	}
	if !m.Router {
		return []check.Finding{finding(check.Error, m.Path(), "only a router can do what routers do")}
	}
	for _, use := range []struct {
		field    string
		networks []string
	}{{"masquerade", r.Masquerade}, {"masquerade6", r.Masquerade6}, {"dns", r.DNS}, {"dhcp", r.DHCP}, {"ntp", r.NTP}} {
		for _, n := range use.networks {
			if _, ok := m.NIC(n); !ok {
				out = append(out, finding(check.Error, at+"."+use.field, "%s", off(l, m, n)))
			}
		}
	}
	for _, p := range r.Publish {
		if _, ok := l.Machine(p.Machine); !ok {
			out = append(out, finding(check.Error, p.Path, "there is no machine called %q%s", p.Machine, lab.Meant(p.Machine, machines(l))))
		}
		if _, ok := m.NIC(p.Network); p.Network != "" && !ok {
			out = append(out, finding(check.Error, p.Path, "%s", off(l, m, p.Network)))
		}
	}
	return out
}

// off says why a machine can do nothing on a network that it has no interface on.
func off(l lab.Lab, m lab.Machine, network string) string {
	if _, ok := l.Network(network); ok {
		return fmt.Sprintf("%s is not on network %q", m.Name, network)
	}
	return fmt.Sprintf("there is no network called %q%s", network, lab.Meant(network, networks(l)))
}

// published finds ports of a router that are published twice.
func published(l lab.Lab) []check.Finding {
	var out []check.Finding
	for i := range l.Machines {
		m := &l.Machines[i]
		if m.Routing == nil {
			continue
		}
		for j, a := range m.Routing.Publish {
			for _, b := range m.Routing.Publish[:j] {
				if a.Proto != b.Proto || a.Port != b.Port || !overlap(l, *m, a.Network, b.Network) {
					continue
				}
				f := finding(check.Error, a.Path, "%s/%d of %s is published already, to %s:%d", a.Proto, a.Port, m.Name, b.Machine, b.To)
				f.Related = []string{b.Path}
				out = append(out, f)
			}
		}
	}
	return out
}

// overlap says whether two published ports are offered on one network; "" is every uplink.
func overlap(l lab.Lab, m lab.Machine, a, b string) bool {
	uplink := func(name string) bool { n, _ := l.Network(name); return n.Uplink }
	return a == b || a == "" && uplink(b) || b == "" && uplink(a)
}

func networks(l lab.Lab) []string {
	var out []string
	for _, n := range l.Networks {
		out = append(out, n.Name)
	}
	return out
}

func machines(l lab.Lab) []string {
	var out []string
	for i := range l.Machines {
		out = append(out, l.Machines[i].Name)
	}
	return out
}

// selectors are all names that a rule's end may have.
func selectors(l lab.Lab) []string {
	out := append(append(networks(l), machines(l)...), "world", "any")
	for i := range l.Machines {
		out = append(out, l.Machines[i].Groups...)
	}
	return out
}

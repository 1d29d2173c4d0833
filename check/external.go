package check

import "github.com/labctl-dev/labctl/lab"

// external checks a machine that others made and that labctl only reaches.
func (v *vetter) external(m lab.Machine) {
	a, path := m.External, m.Path("external")
	if a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.Zone() != "" {
		v.error(path, "%s is not an address that others reach a machine at", a)
	}
	for _, other := range v.lab.Machines {
		if other.Name != m.Name && other.External == a {
			v.clash(path, other.Path("external"), "%s is the address of another machine too", a)
		}
	}
	for _, n := range m.NICs {
		if !n.Addr.IsValid() && !n.Addr6.IsValid() {
			v.error(m.Path("nics", n.Network), "give the ip that the machine has there: it is external, and nobody tells it one")
		}
	}
	if len(m.NICs) > 0 {
		return
	}
	// Outside all networks it is a part of the world, which the proof does not take apart.
	named := func(path string, all []string) {
		e, _ := v.lab.Ends(all)
		for _, name := range e.Machines {
			if name == m.Name {
				v.clash(path, m.Path("external"), "%s is on no network of the lab: for the policy it is a part of \"world\"", m.Name)
			}
		}
	}
	for _, r := range v.lab.Policy {
		named(r.Path+".from", r.From)
		named(r.Path+".to", r.To)
	}
	for _, e := range v.lab.Expect {
		named(e.Path+".from", e.From)
		named(e.Path+".on", e.On)
	}
}

package reach

import (
	"fmt"
	"slices"

	"github.com/labctl-dev/labctl/check"
	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/lab"
)

// awaited is a service of a machine of the lab that a role on another waits for.
type awaited struct {
	role, from, to string
	what, path     string
	service        lab.Service
}

// waits finds what roles wait for in vain, since the policy does not let them open it. A machine without a packet filter
// counts as if it had one: its services are told the policy, too, and keep to it.
func (p *Proof) waits() []check.Finding {
	all := p.awaited()
	if len(all) == 0 {
		return nil
	}
	strict := p
	l := p.lab
	l.Machines = slices.Clone(l.Machines)
	for i := range l.Machines {
		m := &l.Machines[i]
		if !m.Router && !m.Firewall && slices.ContainsFunc(all, func(a awaited) bool { return a.to == m.Name }) {
			m.Firewall, strict = true, nil
		}
	}
	if strict == nil {
		sets, err := nft.All(l)
		if err != nil {
			return nil // said already
		}
		strict = With(l, sets)
	}
	var out []check.Finding
	for _, a := range all {
		got, err := strict.Ask(a.from, a.to, []lab.Service{a.service})
		if err != nil || got.State == Open {
			continue
		}
		out = append(out, finding(check.Error, a.path, "%s on %s waits for %s (%s of %s), which nobody lets it open: policy needs {from: %q, to: %q, allow: %q}",
			a.role, a.from, a.what, a.service, a.to, a.from, a.to, p.portOf(a.to, a.service)))
	}
	return out
}

// awaited are all services of the lab's machines that roles wait for on others.
func (p *Proof) awaited() []awaited {
	var out []awaited
	for _, m := range p.lab.Machines {
		for _, w := range m.Guest.Waits {
			for _, c := range w.For {
				s, asks := c.Service()
				if to := c.Machines(p.lab); asks && len(to) > 1 {
					out = append(out, awaited{w.Role, m.Name, to[1], c.Name, c.Path, s})
				}
			}
		}
	}
	return out
}

// portOf is a service of a machine as the policy may name it: the port of one of its roles that is just that, else as it
// is.
func (p *Proof) portOf(machine string, s lab.Service) string {
	m, _ := p.lab.Machine(machine)
	for _, r := range m.Roles {
		for _, port := range r.Ports {
			if len(port.Services) == 1 && port.Services[0] == s {
				return port.Name
			}
		}
	}
	return fmt.Sprint(s)
}

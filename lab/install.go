package lab

import "slices"

// Netboot says who serves installations on a network; "" is nobody, or a machine of the lab by one of its roles.
type Netboot string

// ByHost is the network itself, as the hypervisor's host makes it.
const ByHost Netboot = "host"

// Install is a machine whose disk is written from the network.
type Install struct {
	Machine string `json:"machine"`
	Network string `json:"network"`          // that it is installed from
	MAC     string `json:"mac"`              // of its interface there
	Server  string `json:"server,omitempty"` // the machine that serves it; "" is the hypervisor's host (ByHost)
}

// Networked says whether the machine is installed from the network.
func (m Machine) Networked() bool { return m.Install == FromNetwork }

// ServesInstalls says whether one of its roles serves installations on network n, which it does on all that it is on but
// uplinks.
func (m Machine) ServesInstalls(n Network) bool {
	_, on := m.NIC(n.Name)
	return on && !n.Uplink && slices.ContainsFunc(m.Roles, func(r Role) bool { return r.Installs })
}

// Installs are the machines that are installed from the network, in the order of Machines. One that nobody would serve, or
// several, is not among them, which check.Vet reports.
func (l Lab) Installs() []Install {
	var out []Install
	for _, m := range l.Machines {
		if i, ok := l.Install(m); ok {
			out = append(out, i)
		}
	}
	return out
}

// Install is how machine m is installed from the network, if it is one of Installs.
func (l Lab) Install(m Machine) (Install, bool) {
	if all := l.Installers(m); m.Networked() && len(all) == 1 {
		return all[0], true
	}
	return Install{}, false
}

// Installers are all who might serve machine m, in the order of its interfaces: of networks that it starts from, where its
// boot names any.
func (l Lab) Installers(m Machine) []Install {
	var out []Install
	for _, nic := range m.NICs {
		n, ok := l.Network(nic.Network)
		if !ok || !m.mayStartFrom(n.Name) {
			continue
		}
		if n.Netboot == ByHost {
			out = append(out, Install{Machine: m.Name, Network: n.Name, MAC: nic.MAC})
		}
		for i := range l.Machines {
			s := &l.Machines[i]
			if s.Name != m.Name && s.ServesInstalls(n) {
				out = append(out, Install{Machine: m.Name, Network: n.Name, MAC: nic.MAC, Server: s.Name})
			}
		}
	}
	return out
}

// mayStartFrom says whether the machine starts from a network, or does not say.
func (m Machine) mayStartFrom(network string) bool {
	return len(m.Boot) == 0 || slices.ContainsFunc(m.Boot, func(b Boot) bool {
		name, ok := b.Network(m)
		return ok && name == network
	})
}

// installed has machines that are installed from the network, and do not say what they start from, start from their disk and
// then from that network. The disk comes first: once it is written there is no loop, and wiping it is enough to install
// anew.
func installed(l Lab) {
	for i := range l.Machines {
		m := &l.Machines[i]
		if !m.Networked() || len(m.Boot) > 0 {
			continue
		}
		if all := l.Installers(*m); len(all) == 1 {
			m.Boot = []Boot{FromDisk, FromNetwork + ":" + Boot(all[0].Network)}
		}
	}
}

package lab

import "slices"

// SSH is labctl's way into an external machine.
type SSH struct {
	User string `json:"user"` // root, or somebody who may use sudo without a password
	Port int    `json:"port"`
	// HostKey is what the machine must prove to be: "ssh-ed25519 AAAA..." as in known_hosts.
	HostKey string `json:"host_key"`
}

// Ours says whether labctl made the machine, and what is inside: it is neither adopted nor external.
func (m Machine) Ours() bool { return m.Adopted == "" && !m.External.IsValid() }

// Enters says whether labctl has an account in the machine.
func (m Machine) Enters() bool { return m.Ours() || m.SSH != nil }

// Within is the lab without its external machines: all that a provider is told of, so that none can touch those.
func (l Lab) Within() Lab {
	if slices.ContainsFunc(l.Machines, func(m Machine) bool { return m.External.IsValid() }) {
		l.Machines = slices.DeleteFunc(slices.Clone(l.Machines), func(m Machine) bool { return m.External.IsValid() })
	}
	return l
}

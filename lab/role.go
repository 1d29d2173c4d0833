package lab

// Role is a service that a machine has. What it is made of stands in the machine's Guest.
type Role struct {
	Name    string   `json:"name"`
	Summary string   `json:"summary,omitempty"`
	Needs   []string `json:"needs,omitempty"` // roles that a machine of the lab has
	Ports   []Port   `json:"ports,omitempty"` // sorted by name
	// Implied is what all machines of a lab need and it gives: "dns", the names of the lab's domain among them, or "ntp".
	Implied []string `json:"implied,omitempty"`
	// Installs says that it gives machines what they boot from the network to be installed (see Lab.Installs): its machine
	// serves on all networks of the lab that it is on.
	Installs bool `json:"installs,omitempty"`
	// Nested says that its machine may run virtual machines of its own because the role asks for it.
	Nested bool `json:"nested,omitempty"`
	// Providers are those that can make its machine, empty for all; Why says why others cannot.
	Providers []string `json:"providers,omitempty"`
	Why       string   `json:"why,omitempty"`
}

// NestedFor says, for an error about Nested, which role asks for it: " (the role proxmox asks for it)", "" if none does.
func (m Machine) NestedFor() string {
	for _, r := range m.Roles {
		if r.Nested {
			return " (the role " + r.Name + " asks for it)"
		}
	}
	return ""
}

// Port is where a service listens, by the name that a policy may use for it.
type Port struct {
	Name     string    `json:"name"`
	Services []Service `json:"services"`
}

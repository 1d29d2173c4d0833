package lab

// Role is a service that a machine has. What it is made of stands in the machine's Guest.
type Role struct {
	Name    string   `json:"name"`
	Summary string   `json:"summary,omitempty"`
	Needs   []string `json:"needs,omitempty"` // roles that a machine of the lab has
	Ports   []Port   `json:"ports,omitempty"` // sorted by name
}

// Port is where a service listens, by the name that a policy may use for it.
type Port struct {
	Name     string    `json:"name"`
	Services []Service `json:"services"`
}

package view

import (
	"time"

	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// Location is a place in a file, counted from 1; a Line of 0 is the file as a whole.
type Location struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"` // in bytes, as editors and CUE count
}

// LocatedFinding is one thing wrong with a spec, and where.
type LocatedFinding struct {
	Location
	// Also are the other places that take part: the rule that the value broke, or the value it collides with.
	Also    []Location `json:"also,omitempty"`
	Path    string     `json:"path,omitempty"` // in the spec's own words: "servers.web.nics.office.ip"
	Text    string     `json:"text"`
	Warning bool       `json:"warning,omitempty"` // worth knowing, but nothing is refused for it
}

// DriftFacts are what Drift shows, as one value for JSON.
type DriftFacts struct {
	Plan   plan.Plan                     `json:"plan"`
	Inside map[string][]guest.Difference `json:"inside,omitempty"` // by machine; only with --deep
}

// LabStatus is what Status shows.
type LabStatus struct {
	Lab      string          `json:"lab"`
	Target   string          `json:"target"`
	Machines []MachineStatus `json:"machines"`
	Networks []NetworkStatus `json:"networks"`
	// Foreign is what somebody else has put into things of the lab that are no networks, by the thing.
	Foreign map[string]string `json:"foreign,omitempty"`
}

// MachineStatus is one machine, spec against live.
type MachineStatus struct {
	Name      string        `json:"name"`
	Power     string        `json:"power"` // "on", "off", "suspended", "saved", "absent" (not made yet), or the provider's word
	Addresses []string      `json:"addresses,omitempty"`
	Uptime    time.Duration `json:"uptime_ns,omitempty"` // 0: unknown or off
	// Health is "healthy", "booting", "installing", "unreachable", "unhealthy", or "" of one that was not asked.
	Health string `json:"health"`
	Detail string `json:"detail,omitempty"` // why the health is what it is
	// Install is how far a machine is that installs itself from the network and was never healthy since.
	Install *provider.Installation `json:"install,omitempty"`
	// Pending is the highest impact of the changes that the next apply would make to the machine, Changes how many.
	Pending provider.Impact `json:"pending,omitempty"`
	Changes int             `json:"changes,omitempty"`
	Extra   bool            `json:"extra,omitempty"`   // exists, but is no longer in the spec
	Adopted string          `json:"adopted,omitempty"` // its name on the host; nobody asks it how it is
	// External is the address of a machine that others made anywhere; its Power is "external".
	External string `json:"external,omitempty"`
}

// NetworkStatus is one network, spec against live.
type NetworkStatus struct {
	Name    string `json:"name"`
	CIDR    string `json:"cidr,omitempty"`
	Uplink  bool   `json:"uplink,omitempty"`
	State   string `json:"state"` // "up", "down", "absent"
	Ports   int    `json:"ports"` // machines connected to it
	Changes int    `json:"changes,omitempty"`
	Detail  string `json:"detail,omitempty"`
	Adopted string `json:"adopted,omitempty"` // its name on the host
}

// Image is one row of Images.
type Image struct {
	Name    string    `json:"name"`
	Arch    lab.Arch  `json:"arch,omitempty"`
	State   string    `json:"state"`            // "ready", "partial", "absent", "broken"
	Size    lab.Bytes `json:"size,omitempty"`   // on this host
	Source  string    `json:"source,omitempty"` // URL, or "build debian bookworm"
	Digest  string    `json:"digest,omitempty"`
	UsedBy  []string  `json:"used_by,omitempty"` // labs
	Problem string    `json:"problem,omitempty"`
}

// Version is one row of Versions: a program that takes part.
type Version struct {
	Name     string         `json:"name"` // "labctl", "labctl-provider-qemu"
	Version  string         `json:"version"`
	Built    provider.Built `json:"built,omitzero"`
	Protocol int            `json:"protocol,omitempty"` // of the provider contract
	Path     string         `json:"path,omitempty"`
	Problem  string         `json:"problem,omitempty"` // why the plugin cannot be used
}

package api

// The kinds that labs are made of, in the fields that labctl sends or compares. Of what is only read back the API fills
// in much more. URLs may be sent in part ("projects/p/global/networks/n") and come back in full; Base makes both alike.

// Network is a VPC.
type Network struct {
	Name        string   `json:"name"`
	Description string   `json:"description"`
	AutoSubnets bool     `json:"autoCreateSubnetworks"` // false must be said, or it is a legacy network
	MTU         int      `json:"mtu,omitempty"`
	Routing     *Routing `json:"routingConfig,omitempty"`
}

// Routing is how a network's dynamic routes spread.
type Routing struct {
	Mode string `json:"routingMode"`
}

// Subnet is a subnetwork.
type Subnet struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Network     string `json:"network"`
	Range       string `json:"ipCidrRange"`
}

// Firewall is a firewall rule. All but its name, network and direction can be changed; the lists are always sent, since
// an update without them would leave them as they are.
type Firewall struct {
	Name         string    `json:"name"`
	Description  string    `json:"description"`
	Network      string    `json:"network"`
	Direction    string    `json:"direction"`
	Priority     int       `json:"priority"`
	Disabled     bool      `json:"disabled"`
	Sources      []string  `json:"sourceRanges"`
	Destinations []string  `json:"destinationRanges"`
	Allowed      []Allowed `json:"allowed"`
	Denied       []Allowed `json:"denied,omitempty"`
	SourceTags   []string  `json:"sourceTags,omitempty"`
	TargetTags   []string  `json:"targetTags,omitempty"`
	Log          *Log      `json:"logConfig"`
}

// Allowed is a protocol, and ports of it.
type Allowed struct {
	Protocol string   `json:"IPProtocol"`
	Ports    []string `json:"ports,omitempty"`
}

// Log says whether connections are logged.
type Log struct {
	Enable bool `json:"enable"`
}

// Route is a route. Nothing of it can be changed.
type Route struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Network     string `json:"network"`
	To          string `json:"destRange"`
	Priority    int    `json:"priority"`
	Instance    string `json:"nextHopInstance,omitempty"`
}

// Router is a Cloud Router, of which only the NAT is used: a list inside it, which is empty when it is removed.
type Router struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Network     string `json:"network"`
	NATs        []NAT  `json:"nats"`
}

// NAT is a Cloud NAT.
type NAT struct {
	Name     string `json:"name"`
	Allocate string `json:"natIpAllocateOption"`
	Ranges   string `json:"sourceSubnetworkIpRangesToNat"`
}

// Address is a reserved address.
type Address struct {
	Name        string            `json:"name"`
	Description string            `json:"description"`
	Type        string            `json:"addressType"`
	Tier        string            `json:"networkTier,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Address     string            `json:"address,omitempty"`
	Users       []string          `json:"users,omitempty"`
}

// Disk is a persistent disk.
type Disk struct {
	Name        string            `json:"name"`
	Description string            `json:"description"`
	Size        int64             `json:"sizeGb,omitempty,string"` // GiB
	Type        string            `json:"type"`
	Image       string            `json:"sourceImage,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Print       string            `json:"labelFingerprint,omitempty"`
	Features    []Feature         `json:"guestOsFeatures,omitempty"`
	Users       []string          `json:"users,omitempty"`
	ID          string            `json:"id,omitempty"`
}

// Feature is something that a guest can do.
type Feature struct {
	Type string `json:"type"`
}

// Instance is a virtual machine.
type Instance struct {
	Name         string            `json:"name"`
	Description  string            `json:"description,omitempty"`
	MachineType  string            `json:"machineType"`
	Forwards     bool              `json:"canIpForward"`
	Protected    bool              `json:"deletionProtection"`
	Disks        []Attached        `json:"disks"`
	NICs         []NIC             `json:"networkInterfaces"`
	Accelerators []Accelerator     `json:"guestAccelerators,omitempty"`
	Scheduling   *Scheduling       `json:"scheduling,omitempty"`
	Advanced     *Advanced         `json:"advancedMachineFeatures,omitempty"`
	Accounts     []ServiceAccount  `json:"serviceAccounts,omitempty"`
	Metadata     *Metadata         `json:"metadata,omitempty"`
	Labels       map[string]string `json:"labels,omitempty"`
	Print        string            `json:"labelFingerprint,omitempty"`
	Status       string            `json:"status,omitempty"`
	Started      string            `json:"lastStartTimestamp,omitempty"` // RFC 3339
	ID           string            `json:"id,omitempty"`
}

// Attached is a disk of an instance.
type Attached struct {
	Source     string `json:"source"`
	Device     string `json:"deviceName"`
	Boot       bool   `json:"boot"`
	AutoDelete bool   `json:"autoDelete"`
}

// NIC is a network interface of an instance.
type NIC struct {
	Name    string         `json:"name,omitempty"` // nic0, nic1...: read back
	Network string         `json:"network,omitempty"`
	Subnet  string         `json:"subnetwork"`
	Address string         `json:"networkIP"`
	Access  []AccessConfig `json:"accessConfigs,omitempty"`
}

// AccessConfig gives an interface an external address.
type AccessConfig struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	Address string `json:"natIP,omitempty"`
	Tier    string `json:"networkTier,omitempty"`
}

// Accelerator is GPUs of one type.
type Accelerator struct {
	Type  string `json:"acceleratorType"`
	Count int    `json:"acceleratorCount"`
}

// Scheduling is what happens when the host needs care, and how long an instance may live.
type Scheduling struct {
	OnMaintenance string    `json:"onHostMaintenance,omitempty"`
	Restart       *bool     `json:"automaticRestart,omitempty"`
	MaxRun        *Duration `json:"maxRunDuration,omitempty"`
	Termination   string    `json:"instanceTerminationAction,omitempty"`
}

// Duration is a length of time.
type Duration struct {
	Seconds int64 `json:"seconds,string"`
}

// Advanced is what needs the processor's help.
type Advanced struct {
	Nested bool `json:"enableNestedVirtualization,omitempty"`
}

// ServiceAccount is who an instance may act as.
type ServiceAccount struct {
	Email  string   `json:"email"`
	Scopes []string `json:"scopes"`
}

// Metadata is what an instance can read about itself. Changing it needs its fingerprint.
type Metadata struct {
	Print string `json:"fingerprint,omitempty"`
	Items []Item `json:"items"`
}

// Item is a key and a value.
type Item struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Get is the value of a key; false if it has none.
func (m *Metadata) Get(key string) (string, bool) {
	if m != nil {
		for _, i := range m.Items {
			if i.Key == key {
				return i.Value, true
			}
		}
	}
	return "", false
}

// Labels replaces the labels of a thing.
type Labels struct {
	Labels map[string]string `json:"labels"`
	Print  string            `json:"labelFingerprint"`
}

// Snapshot keeps what a disk holds.
type Snapshot struct {
	Name        string            `json:"name"`
	Description string            `json:"description,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Stored      int64             `json:"storageBytes,omitempty,string"`
	DiskSize    int64             `json:"diskSizeGb,omitempty,string"`
}

package libvirt

import (
	"net/netip"
	"slices"
	"sort"

	"github.com/labctl-dev/labctl/lab"
)

// The attributes of all kinds in normal form: what is empty is absent, lists are sorted.

// poolAttrs are a pool's. Path is empty where it is the target's choice.
type poolAttrs struct {
	Path  string `json:"path,omitempty"`
	Power string `json:"power"` // "on" or "off": libvirt knows it, but it is not started
}

// imageAttrs are an image's: Source is what a store needs to get it.
type imageAttrs struct {
	ID     string    `json:"id"`
	Source lab.Image `json:"source"`
	Pool   string    `json:"pool"` // as diskAttrs.Pool
}

// networkAttrs are a network's.
type networkAttrs struct {
	Name     string       `json:"name"`             // on the host
	Forward  string       `json:"forward"`          // "isolated", "nat", "route" or "bridge"
	Bridge   string       `json:"bridge,omitempty"` // of the host, with "bridge"; else ours
	MAC      string       `json:"mac,omitempty"`    // of our bridge: by it firewalls know where labctl comes from
	CIDR     netip.Prefix `json:"cidr,omitzero"`
	CIDR6    netip.Prefix `json:"cidr6,omitzero"`
	Address  netip.Addr   `json:"address,omitzero"`  // the host's own in CIDR
	Address6 netip.Addr   `json:"address6,omitzero"` // in CIDR6
	// Local is the host's link-local address, of an isolated network: without an IPv6 address libvirt turns IPv6 off there.
	Local   netip.Addr `json:"local,omitzero"`
	MTU     int        `json:"mtu,omitempty"`
	Domain  string     `json:"domain,omitempty"`
	DHCP    *lab.Range `json:"dhcp,omitempty"`
	Leases  []lease    `json:"leases,omitempty"`
	Records []record   `json:"records,omitempty"`
	Power   string     `json:"power"` // "on" or "off"
	// Autostart is always wanted: a host that restarts gets its networks back.
	Autostart bool `json:"autostart"`
	// Detached are the domains that run and have lost the network, since it was started anew under them.
	Detached []string `json:"detached,omitempty"`
	// Definition says in what the network as it runs and its persistent definition differ.
	Definition string `json:"definition,omitempty"`
}

// lease is the address that a machine gets when it asks for one.
type lease struct {
	MAC  string     `json:"mac"`
	Addr netip.Addr `json:"addr"`
	Name string     `json:"name"`
}

// record is a name that the network's name server knows.
type record struct {
	Addr  netip.Addr `json:"addr"`
	Names []string   `json:"names"`
}

func (a *networkAttrs) sort() {
	sort.Slice(a.Leases, func(i, j int) bool { return a.Leases[i].MAC < a.Leases[j].MAC })
	for _, r := range a.Records {
		slices.Sort(r.Names)
	}
	sort.Slice(a.Records, func(i, j int) bool { return a.Records[i].Addr.Less(a.Records[j].Addr) })
}

// diskAttrs are a disk's.
type diskAttrs struct {
	Image string    `json:"image,omitempty"` // identity of the base; empty for a blank disk
	Size  lab.Bytes `json:"size"`
	Pool  string    `json:"pool"` // the spec's name, or the path if the spec gives one
	// Protect is the machine's, or stands in its Precious: who deletes the disk nevertheless has its content kept.
	Protect bool `json:"protect,omitempty"`
}

// machineAttrs are a machine's.
type machineAttrs struct {
	Name     string       `json:"name"` // on the host
	Arch     lab.Arch     `json:"arch"`
	Firmware lab.Firmware `json:"firmware"`
	Image    string       `json:"image,omitempty"` // identity of the image whose kernel is loaded; firmware "kernel" only
	CPUs     int          `json:"cpus"`
	Memory   lab.Bytes    `json:"memory"`
	// MaxCPUs and MaxMemory are what the machine was built for: up to there changes are live.
	MaxCPUs   int            `json:"max_cpus"`
	MaxMemory lab.Bytes      `json:"max_memory"`
	Boot      []string       `json:"boot,omitempty"`    // lab.Machine.Starts
	Nested    bool           `json:"nested,omitempty"`  // may run machines of its own
	Devices   []string       `json:"devices,omitempty"` // PCI addresses on the host, sorted
	NICs      []nic          `json:"nics,omitempty"`
	MTU       map[string]int `json:"mtu,omitempty"`   // by network, where it is not 1500: the NIC is built for it
	Root      string         `json:"root,omitempty"`  // the disk the machine boots from
	Disks     []string       `json:"disks,omitempty"` // the others
	Power     string         `json:"power"`           // lab.Power, or what libvirt calls a state that is neither
	Protect   bool           `json:"protect,omitempty"`
	Precious  []string       `json:"precious,omitempty"` // disks that are protected though the machine is not, sorted
	Autostart bool           `json:"autostart,omitempty"`
	CPU       string         `json:"cpu,omitempty"`   // the target's option, if given
	Type      string         `json:"type,omitempty"`  // likewise
	Board     string         `json:"board,omitempty"` // likewise (option machine)
	Seed      string         `json:"seed,omitempty"`  // "missing" or "torn"; absent if it is whole
	// Definition says in what the machine as it runs and its persistent definition differ; "gone" is without one, and
	// "half restored" one whose disks are just being made what they were in a snapshot.
	Definition string `json:"definition,omitempty"`
}

type nic struct {
	Network string   `json:"network"`
	MAC     string   `json:"mac"`
	Link    lab.Link `json:"link"`
	Host    string   `json:"host,omitempty"` // what the host calls an adopted network
}

// host is what the host calls the network that a NIC is on.
func (n nic) host(labName string) string {
	if n.Host != "" {
		return n.Host
	}
	return networkName(labName, n.Network)
}

func (a *machineAttrs) sort() {
	sort.Slice(a.NICs, func(i, j int) bool {
		if a.NICs[i].Network != a.NICs[j].Network {
			return a.NICs[i].Network < a.NICs[j].Network
		}
		return a.NICs[i].MAC < a.NICs[j].MAC
	})
	slices.Sort(a.Disks)
}

// all are the machine's disks, the root first.
func (a machineAttrs) all() []string {
	if a.Root == "" {
		return a.Disks
	}
	return append([]string{a.Root}, a.Disks...)
}

// guestAttrs are a guest's.
type guestAttrs struct {
	Addresses map[string]string `json:"addresses,omitempty"` // by network
	Digest    string            `json:"digest"`
}

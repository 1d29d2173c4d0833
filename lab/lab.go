// Package lab is the provider-neutral model of a laboratory of virtual machines: what a lab.cue says after
// defaults, allocation and derivation. It is plain data that prints as JSON and crosses every boundary in
// labctl, the plugin wire included.
//
// It must not know CUE, a hypervisor, cloud-init, ssh or the file system: it imports the standard library only.
package lab

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"
)

// Lab is one laboratory, complete: every address, MAC and default is filled in. Slices are sorted by name,
// except a machine's NICs and disks, whose order the guest sees.
type Lab struct {
	Name     string    `json:"name"`             // a DNS label; the owner's name on every object
	Domain   string    `json:"domain"`           // DNS domain of the machines, e.g. "quickstart.lab"
	Target   string    `json:"target,omitempty"` // the chosen target's name; "" before one is chosen
	Networks []Network `json:"networks,omitempty"`
	Machines []Machine `json:"machines,omitempty"`
	Images   []Image   `json:"images,omitempty"`  // those that Machines use, and no others
	Targets  []Target  `json:"targets,omitempty"` // every place this lab can be made in
	Secrets  []Secret  `json:"secrets,omitempty"`
	// Who may open what to whom; everything else is denied between networks where a router stands (see policy.go).
	Policy  []Rule        `json:"policy,omitempty"`
	Expect  []Expectation `json:"expect,omitempty"`
	Implied *Implied      `json:"implied,omitempty"`
	Checks  []Check       `json:"checks,omitempty"` // what must hold once the lab is up, sorted by name
	Pools   []Pool        `json:"pools,omitempty"`  // where images and disks are kept, sorted by name
}

// Network is one layer-2 segment.
type Network struct {
	Name   string       `json:"name"`
	Uplink bool         `json:"uplink,omitempty"` // the world outside, as the target gives it
	CIDR   netip.Prefix `json:"cidr,omitzero"`    // zero only for an uplink whose addresses the target gives (DHCP)
	DHCP   *Range       `json:"dhcp,omitempty"`   // addresses served to machines that labctl does not know
	MTU    int          `json:"mtu"`              // bytes, 576 to 65520
	// CIDR6 is the second, IPv6 prefix of a network with both families. A network with IPv6 alone has it in CIDR.
	CIDR6  netip.Prefix `json:"cidr6,omitzero"`
	Routed bool         `json:"routed,omitempty"` // an uplink whose other side knows the way to the lab's networks
	// Isolated says that no router is meant to be on it: it reaches nobody, and nobody reaches it.
	Isolated bool   `json:"isolated,omitempty"`
	Assign   Assign `json:"assign,omitempty"` // how machines get the addresses that labctl chose; "" is Static
	// Adopted is the name on the target's host of a network that was there before the lab and stays what it is: the lab's
	// machines may be on it, and nothing of it is changed or deleted. "" is a network that labctl makes.
	Adopted string `json:"adopted,omitempty"`
	// Netboot says who installs machines of this network from it; "" is nobody but machines with such a role.
	Netboot Netboot `json:"netboot,omitempty"`
}

// Assign is how the machines on a network come to their addresses. Whichever it is, labctl knows them beforehand. All
// but Static need a router that serves the network (Routing.DHCP); a router's own addresses are always static.
type Assign string

// The ways of assigning addresses.
const (
	Static Assign = "static" // written into the machine
	DHCP   Assign = "dhcp"   // reservations by MAC: DHCPv4, and DHCPv6 with router advertisements
	SLAAC  Assign = "slaac"  // IPv6 from router advertisements and the MAC (RFC 4862); IPv4 as Static
)

// Pool is storage of the hypervisor, a folder: images are kept in the pool "images" and disks in the one they name, or
// where the target keeps them by itself.
type Pool struct {
	Name string `json:"name"`
	Path string `json:"path,omitempty"` // on the host; "" is the target's choice
	Size Bytes  `json:"size,omitempty"` // what all disks in it may come to, 0 is no limit
}

// Range is an inclusive range of addresses.
type Range struct {
	From netip.Addr `json:"from"`
	To   netip.Addr `json:"to"`
}

// Machine is a server or a router.
type Machine struct {
	Name     string   `json:"name"` // a DNS label
	Router   bool     `json:"router,omitempty"`
	CPUs     int      `json:"cpus"`
	Memory   Bytes    `json:"memory"`
	Arch     Arch     `json:"arch"`
	Firmware Firmware `json:"firmware"`
	// Boot is what it starts from, in order; empty is FromDisk alone. Another order needs a firmware that asks for it:
	// not Kernel.
	Boot []Boot `json:"boot,omitempty"`
	// Install is who writes the root disk: FromNetwork, an installer that the machine starts from the network while that
	// disk is empty; "" is the hypervisor.
	Install Boot `json:"install,omitempty"`
	// Installer is the distribution's own one that does that, if Networked; nil is labctl's, which writes Image.
	Installer *Installer `json:"installer,omitempty"`
	Image     string     `json:"image"` // name of an entry of Lab.Images; "" with an Installer
	Disks     []Disk     `json:"disks"` // Disks[0] is the root disk, made from Image, or empty if Networked
	NICs      []NIC      `json:"nics"`
	Power     Power      `json:"power"`
	Protect   bool       `json:"protect,omitempty"` // never delete, reinstall or replace unless told by name
	Guest     Guest      `json:"guest"`
	// Ready is how long the machine may take from power-on until ssh answers and its guest document is
	// converged before that is an error.
	Ready    Duration `json:"ready"`
	Groups   []string `json:"groups,omitempty"`   // labels that the policy may name, sorted
	Firewall bool     `json:"firewall,omitempty"` // has a firewall of its own that keeps to the policy
	Routing  *Routing `json:"routing,omitempty"`  // of a router
	// Nested says that it may run virtual machines of its own with the processor's help. Without it that is not
	// promised, and not forbidden.
	Nested bool `json:"nested,omitempty"`
	// Devices are PCI devices of the host that it has to itself: domain, bus, device and function in lower-case hex
	// digits as lspci -D prints them ("0000:65:00.0").
	Devices []string `json:"devices,omitempty"`
	// GPUs are those that a cloud gives it; nil is none.
	GPUs *GPUs `json:"gpus,omitempty"`
	// Adopted is the name on the target's host of a machine that was there before the lab and is managed from the outside
	// only: no router, and without Arch, Firmware, Image, Disks and Guest, which are its own. It is never deleted, and
	// labctl has no way into it. An interface without an address has one that labctl does not know.
	Adopted string `json:"adopted,omitempty"`
	// External is the address of a machine that is anywhere, made and kept by others, and known to no target: labctl only
	// reaches it. It is a server, without all that Adopted leaves out and without CPUs, Memory and Power too. Without NICs
	// it is in the world outside.
	External netip.Addr `json:"external,omitzero"`
	SSH      *SSH       `json:"ssh,omitempty"`   // labctl's way into an external machine; nil is none
	Roles    []Role     `json:"roles,omitempty"` // in the order in which they are made true
}

// Arch is a processor architecture in Debian's terms.
type Arch string

// The architectures labctl knows.
const (
	AMD64 Arch = "amd64"
	ARM64 Arch = "arm64"
)

// Firmware is how a machine starts its operating system.
type Firmware string

// The ways a machine can start.
const (
	Kernel Firmware = "kernel" // the hypervisor loads the kernel that the image offers; fastest
	BIOS   Firmware = "bios"
	UEFI   Firmware = "uefi"
)

// Power is the state a machine should be in. A spec says On or Off; the others are asked for by a verb, and last until
// the next apply.
type Power string

// The power states.
const (
	On        Power = "on"
	Off       Power = "off"
	Suspended Power = "suspended" // stands still, its memory kept where it is: no processor time
	Saved     Power = "saved"     // stands still, its memory on the disk: no processor time and no memory
)

// Answers says whether a machine of that power may be talked to. What a hypervisor calls a state that is none of ours
// may be anything.
func (p Power) Answers() bool { return p != Off && p != Suspended && p != Saved }

// Disk is one disk of a machine.
type Disk struct {
	Name string `json:"name"` // "root" or the name given in the spec; unique within the machine
	Size Bytes  `json:"size"`
	Pool string `json:"pool,omitempty"` // name of an entry of Lab.Pools; "" is the target's choice
	// Protect says that it is deleted or replaced only when it is named, whatever becomes of its machine.
	Protect bool `json:"protect,omitempty"`
}

// NIC is one network interface of a machine.
type NIC struct {
	Network string     `json:"network"`
	MAC     string     `json:"mac"`             // aa:bb:cc:dd:ee:ff, lower case
	Addr    netip.Addr `json:"addr,omitzero"`   // zero: the target gives it by DHCP
	Given   bool       `json:"given,omitempty"` // Addr stands in the spec; otherwise it was allocated
	Link    Link       `json:"link"`
	Addr6   netip.Addr `json:"addr6,omitzero"`   // on a network with CIDR6
	Given6  bool       `json:"given6,omitempty"` // Addr6 stands in the spec
	// DUID is by what its machine is known to DHCPv6 servers there (RFC 8415): "00:03:00:01:...", lower case; "" if that is
	// made of MAC.
	DUID string `json:"duid,omitempty"`
}

// Link is the state of a NIC's cable.
type Link string

// The link states.
const (
	Up   Link = "up"
	Down Link = "down"
)

// Guest is what should hold inside a machine, in the order it is made true: sources, data, packages, users, files,
// units, commands; then units and commands of each of Waits.
type Guest struct {
	User     string    `json:"user"` // the administrator labctl logs in as
	Sources  []Source  `json:"sources,omitempty"`
	Data     []Data    `json:"data,omitempty"` // sorted by path
	Users    []Account `json:"users,omitempty"`
	Packages []string  `json:"packages,omitempty"`
	Files    []File    `json:"files,omitempty"`
	Units    []Unit    `json:"units,omitempty"`
	Commands []Command `json:"commands,omitempty"`
	Waits    []Wait    `json:"waits,omitempty"`
}

// File is one file inside a machine. Exactly one of Text, Secret and From is its content.
type File struct {
	Path    string   `json:"path"` // absolute
	Text    string   `json:"text,omitempty"`
	Secret  string   `json:"secret,omitempty"` // a SecretRef
	From    *Origin  `json:"from,omitempty"`   // where the machine fetches it from
	Mode    string   `json:"mode"`             // octal, e.g. "0644"
	Owner   string   `json:"owner"`
	Group   string   `json:"group"`
	Restart []string `json:"restart,omitempty"` // systemd units restarted when the file changes
	// Fill has, by words that stand in Text, the secrets (SecretRef) whose values take their place.
	Fill map[string]string `json:"fill,omitempty"`
}

// Unit is a systemd unit that should be enabled and running, or disabled and stopped.
type Unit struct {
	Name    string `json:"name"`
	Enabled bool   `json:"enabled"`
	Running bool   `json:"running"`
}

// Command is run as root by /bin/sh when its Creates path is missing, or, without one, once for each text of Run.
type Command struct {
	Name    string `json:"name"`
	Run     string `json:"run"`
	Creates string `json:"creates,omitempty"`
	// Keep is the name by which labctl keeps what Run prints on its standard output, as it keeps secrets; "" is not at all.
	Keep string `json:"keep,omitempty"`
	// OnChange are paths of Guest.Files, and folders of such with "/" at the end: a change of one runs it again.
	OnChange []string `json:"onchange,omitempty"`
}

// Image is an operating system to make root disks from. Exactly one of URL and Build is its source.
type Image struct {
	Name    string `json:"name"`
	Arch    Arch   `json:"arch"`
	URL     string `json:"url,omitempty"`    // http, https or file
	Digest  string `json:"digest,omitempty"` // "sha256:<hex>" or "sha512:<hex>" of what URL serves; mandatory with URL
	Build   *Build `json:"build,omitempty"`
	Kernel  bool   `json:"kernel,omitempty"` // offers its kernel for Firmware "kernel"
	MinDisk Bytes  `json:"min_disk"`         // a smaller root disk cannot hold it
	// Baked tells an image that was made from this one, with more packages in it, from others such: 12 hex digits of a
	// hash of what is in it besides. No spec says it, and its content cannot be had by URL or Build alone.
	Baked string `json:"baked,omitempty"`
}

// Build says how an image is made from a distribution's packages.
type Build struct {
	Distribution string   `json:"distribution"` // "debian"
	Release      string   `json:"release"`      // "bookworm"
	Packages     []string `json:"packages,omitempty"`
	Mirror       string   `json:"mirror,omitempty"` // "" is the distribution's own
}

// Target is a place a lab can be made in: a provider and that provider's options.
type Target struct {
	Name     string          `json:"name"`
	Provider string          `json:"provider"`          // "qemu", "libvirt", "gce", or anybody's plugin
	Options  json.RawMessage `json:"options,omitempty"` // a JSON object, checked by the provider's own CUE text
}

// TTL is the target's option "ttl", how long its machines may run; "" is for ever.
func (t Target) TTL() string {
	var o struct {
		TTL string `json:"ttl"`
	}
	if json.Unmarshal(t.Options, &o) != nil {
		return "" // whoever checks the options says what is wrong
	}
	return o.TTL
}

// Seed is everything cloud-init and the converging program need to make one machine what the lab says, as the
// documents they read. Secrets and keys are in it: it is never logged, shown, hashed whole or saved in a plan.
type Seed struct {
	Machine       string `json:"machine"`
	UserData      []byte `json:"user_data"`
	MetaData      []byte `json:"meta_data"`
	NetworkConfig []byte `json:"network_config"`
	Guest         []byte `json:"guest"` // the guest document, also embedded in UserData
	// Digest is "sha256:<hex>" of the guest document without secrets and keys, so that two people with keys of
	// their own plan the same plan; and "+NAME:EDITION" for each certificate in it (Secret.Edition).
	Digest string `json:"digest"`
}

// Network returns the network called name.
func (l Lab) Network(name string) (Network, bool) {
	for _, n := range l.Networks {
		if n.Name == name {
			return n, true
		}
	}
	return Network{}, false
}

// Machine returns the machine called name.
func (l Lab) Machine(name string) (Machine, bool) {
	for i := range l.Machines { // not by value: a machine is large, and labs of a thousand ask a thousand times
		if l.Machines[i].Name == name {
			return l.Machines[i], true
		}
	}
	return Machine{}, false
}

// Image returns the image called name.
func (l Lab) Image(name string) (Image, bool) {
	for _, i := range l.Images {
		if i.Name == name {
			return i, true
		}
	}
	return Image{}, false
}

// FQDN is the machine's full name in the lab's domain.
func (l Lab) FQDN(machine string) string { return machine + "." + l.Domain }

// NIC returns the machine's interface on the network called name.
func (m Machine) NIC(network string) (NIC, bool) {
	for _, n := range m.NICs {
		if n.Network == network {
			return n, true
		}
	}
	return NIC{}, false
}

// Addresses are what the machine's interfaces are configured with, by network; those of both families with a space
// between. An interface without any is absent. An external machine that is on no network has its address in "world".
func (m Machine) Addresses() map[string]string {
	all := map[string]string{}
	for _, n := range m.NICs {
		switch {
		case n.Addr.IsValid() && n.Addr6.IsValid():
			all[n.Network] = n.Addr.String() + " " + n.Addr6.String()
		case n.Addr.IsValid():
			all[n.Network] = n.Addr.String()
		case n.Addr6.IsValid():
			all[n.Network] = n.Addr6.String()
		}
	}
	if len(all) == 0 && m.External.IsValid() {
		all["world"] = m.External.String()
	}
	return all
}

// Duration is a time.Duration that reads and prints as "90s" or "20m0s" in JSON.
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%q is no duration such as \"90s\" or \"20m\"", b)
	}
	*d = Duration(v)
	return nil
}

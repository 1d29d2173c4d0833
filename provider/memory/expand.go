package memory

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// The attributes of each kind, as they are stored and compared. Sizes are bytes.
type (
	imageAttrs struct {
		Source string `json:"source"`
	}
	networkAttrs struct {
		Adopted string     `json:"adopted,omitempty"` // then of the rest only cidr and cidr6
		CIDR    string     `json:"cidr,omitempty"`
		CIDR6   string     `json:"cidr6,omitempty"`
		DHCP    *lab.Range `json:"dhcp,omitempty"` // given by the hypervisor, and not by a router of the lab
		MTU     int        `json:"mtu,omitempty"`
		Netboot string     `json:"netboot,omitempty"` // who installs machines on it
		Routed  bool       `json:"routed,omitempty"`
		Uplink  bool       `json:"uplink,omitempty"`
	}
	diskAttrs struct {
		Image   string    `json:"image,omitempty"`   // the source it is a copy of; a data disk has none
		Install string    `json:"install,omitempty"` // "network": the copy is made by the machine itself
		Pool    string    `json:"pool,omitempty"`    // its folder, where it has one
		Protect bool      `json:"protect,omitempty"`
		Size    lab.Bytes `json:"size"`
	}
	machineAttrs struct {
		Adopted  string    `json:"adopted,omitempty"` // then without arch, disks and firmware
		Arch     string    `json:"arch,omitempty"`
		Boot     []string  `json:"boot,omitempty"` // lab.Machine.Starts
		CPUs     int       `json:"cpus"`
		Devices  []string  `json:"devices,omitempty"` // sorted
		Disks    []string  `json:"disks,omitempty"`
		Firmware string    `json:"firmware,omitempty"`
		Memory   lab.Bytes `json:"memory"`
		Nested   bool      `json:"nested,omitempty"`
		NICs     []nicAttr `json:"nics,omitempty"`
		Power    string    `json:"power"`
		Protect  bool      `json:"protect,omitempty"`
	}
	nicAttr struct {
		Network string `json:"network"`
		MAC     string `json:"mac"`
		Link    string `json:"link"`
	}
	guestAttrs struct {
		Addresses map[string]string `json:"addresses,omitempty"` // by network
		Digest    string            `json:"digest"`
	}
)

// Expand implements provider.Provider.
func (p *memory) Expand(l lab.Lab, seeds map[string]lab.Seed) ([]provider.Resource, error) {
	if err := p.faults.expand(); err != nil {
		return nil, err
	}
	var rs []provider.Resource
	add := func(kind, name, machine string, attrs any, needs ...provider.Addr) error {
		a, err := provider.Encode(attrs)
		if err != nil {
			return err
		}
		r := provider.Resource{Addr: addr(kind, name), Lab: l.Name, Attrs: a, Needs: needs, Machine: machine, Adopted: a["adopted"] != nil}
		if kind == image { // shared with other labs
			r.Lab = ""
		}
		rs = append(rs, r)
		return nil
	}
	for _, i := range l.Images {
		if err := add(image, i.Name, "", imageAttrs{source(i)}); err != nil {
			return nil, err
		}
	}
	for _, n := range l.Networks {
		if err := add(network, n.Name, "", networkOf(l, n)); err != nil {
			return nil, err
		}
	}
	for _, m := range l.Machines {
		if err := expandMachine(l, m, seeds[m.Name], add); err != nil {
			return nil, err
		}
	}
	return rs, nil
}

type adder func(kind, name, machine string, attrs any, needs ...provider.Addr) error

// expandMachine adds the machine's disks, the machine, and its guest.
func expandMachine(l lab.Lab, m lab.Machine, s lab.Seed, add adder) error {
	if m.Adopted != "" {
		a, needs := adoptedMachine(m)
		return add(machine, m.Name, m.Name, a, needs...)
	}
	img, ok := l.Image(m.Image)
	if !ok && m.Installer == nil {
		return &provider.Error{Op: "expand", Code: provider.Invalid, Text: fmt.Sprintf("%s: the lab has no image %q", m.Path("image"), m.Image)}
	}
	a := machineAttrs{
		Arch: string(m.Arch), CPUs: m.CPUs, Firmware: string(m.Firmware), Memory: m.Memory,
		Power: string(m.Power), Protect: m.Protect, Boot: m.Starts(), Devices: slices.Sorted(slices.Values(m.Devices)), Nested: m.Nested,
	}
	var needs []provider.Addr
	for i, d := range m.Disks {
		name, attrs := m.Name+"/"+d.Name, diskAttrs{Pool: folder(l, d.Pool), Protect: m.Protects(d), Size: d.Size}
		var from []provider.Addr
		if i == 0 {
			attrs.Install = m.DiskBy()
		}
		if i == 0 && ok {
			attrs.Image, from = source(img), []provider.Addr{addr(image, img.Name)}
		}
		if err := add(disk, name, m.Name, attrs, from...); err != nil {
			return err
		}
		a.Disks, needs = append(a.Disks, d.Name), append(needs, addr(disk, name))
	}
	for _, n := range m.NICs {
		a.NICs, needs = append(a.NICs, nicAttr{n.Network, n.MAC, string(n.Link)}), append(needs, addr(network, n.Network))
	}
	if err := add(machine, m.Name, m.Name, a, needs...); err != nil {
		return err
	}
	return add(guest, m.Name, m.Name, guestAttrs{m.Addresses(), s.Digest}, addr(machine, m.Name))
}

func networkOf(l lab.Lab, n lab.Network) networkAttrs {
	if n.Adopted != "" {
		return adoptedNetwork(n)
	}
	a := networkAttrs{DHCP: n.DHCP, MTU: n.MTU, Routed: n.Routed, Uplink: n.Uplink, Netboot: string(n.Netboot)}
	if n.CIDR.IsValid() {
		a.CIDR = n.CIDR.String()
	}
	if n.CIDR6.IsValid() {
		a.CIDR6 = n.CIDR6.String()
	}
	for _, m := range l.Machines {
		if m.Routing != nil && slices.Contains(m.Routing.DHCP, n.Name) {
			a.DHCP = nil
		}
	}
	return a
}

// folder is that of a pool.
func folder(l lab.Lab, pool string) string {
	for _, p := range l.Pools {
		if p.Name == pool {
			return p.Path
		}
	}
	return ""
}

// source identifies an image's content: the digest of what is downloaded, or of the recipe it is built by.
func source(i lab.Image) string {
	if i.Baked != "" {
		base := i
		base.Baked = ""
		return source(base) + "+" + i.Baked
	}
	if i.Build == nil {
		return i.Digest
	}
	b, _ := json.Marshal(i.Build) // plain strings: cannot fail
	sum := sha256.Sum256(b)
	return "build:" + hex.EncodeToString(sum[:8])
}

func addr(kind, name string) provider.Addr {
	return provider.Addr{Provider: "memory", Kind: kind, Name: name}
}

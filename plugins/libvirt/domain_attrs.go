package libvirt

import (
	"path"
	"slices"
	"strings"

	"libvirt.org/go/libvirtxml"

	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/lab"
)

// known is what is needed to read a domain in the lab's own terms.
type known struct {
	lab      string
	networks map[string]string      // the spec's name of a network by its name on the host
	adopted  map[string]bool        // networks by their names on the host
	there    func(path string) bool // whether a disk's file exists; nil: all do
	images   []lab.Image
}

// machineOfXML is a domain as libvirt describes it, in normal form. Power, Autostart, Seed and Definition are no part
// of that.
func (k known) machineOfXML(x libvirtxml.Domain, m mark) machineAttrs {
	a := machineAttrs{Name: x.Name, Firmware: lab.BIOS, Protect: m.Protect, Precious: m.Precious}
	k.board(&a, x, m)
	a.MaxMemory, a.Memory = memoryOf(x)
	a.MaxCPUs, a.CPUs = cpusOf(x)
	if x.Devices == nil {
		return a
	}
	for _, d := range x.Devices.Disks {
		k.disk(&a, d, m.Name)
	}
	for _, i := range x.Devices.Interfaces {
		k.nic(&a, i)
	}
	k.boots(&a, x)
	a.Nested, a.Devices = nestedIn(x), devicesIn(x)
	a.sort()
	return a
}

// memoryOf is the memory that a domain has, and the most that it may get.
func memoryOf(x libvirtxml.Domain) (most, now lab.Bytes) {
	if x.Memory != nil {
		most = lab.Bytes(x.Memory.Value) * unit(x.Memory.Unit)
		now = most
	}
	if x.CurrentMemory != nil {
		now = lab.Bytes(x.CurrentMemory.Value) * unit(x.CurrentMemory.Unit)
	}
	return most, now
}

// cpusOf are the processors that a domain has, and the most that it may get.
func cpusOf(x libvirtxml.Domain) (most, now int) {
	if x.VCPU == nil {
		return 0, 0
	}
	most, now = int(x.VCPU.Value), int(x.VCPU.Value)
	if x.VCPU.Current != 0 {
		now = int(x.VCPU.Current)
	}
	if x.Type == typeQEMU && x.VCPU.Current == 1 {
		most -= spareCPUs
	}
	return most, now
}

// board is what a machine is built as: architecture, firmware, kernel, CPU.
func (k known) board(a *machineAttrs, x libvirtxml.Domain, m mark) {
	if m.Type != "" {
		a.Type = x.Type
	}
	if x.OS != nil {
		if x.OS.Type != nil {
			a.Arch = map[string]lab.Arch{"x86_64": lab.AMD64, "aarch64": lab.ARM64}[x.OS.Type.Arch]
			if m.Board != "" {
				a.Board = boardOf(x.OS.Type.Machine, m.Board)
			}
		}
		switch {
		case x.OS.Kernel != "":
			a.Firmware, a.Image = lab.Kernel, k.imageOf(x.OS.Kernel)
		case m.Kernel: // the image's own loader starts its kernel
			a.Firmware, a.Image = lab.Kernel, m.Image
		case x.OS.Firmware == "efi" || x.OS.Loader != nil:
			a.Firmware = lab.UEFI
		}
	}
	if m.CPU != "" && x.CPU != nil {
		a.CPU = x.CPU.Mode
		if x.CPU.Model != nil && (a.CPU == "custom" || a.CPU == "" || m.CPU != "host-model") {
			a.CPU = x.CPU.Model.Value
		}
	}
}

// boardOf is a machine type: the alias that was asked for, if that is what libvirt has made of it.
func boardOf(have, asked string) string {
	for alias, family := range map[string]string{"q35": "pc-q35-", "pc": "pc-i440fx-", "virt": "virt-"} {
		if asked == alias && strings.HasPrefix(have, family) {
			return asked
		}
	}
	return have
}

// imageOf is the identity of the image that a file on the host is a part of, as far as the lab knows it.
func (k known) imageOf(file string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(path.Base(file), "labctl-image-"), ".")
	for _, i := range k.images {
		if id := image.ID(i); image.Short(id) == name {
			return id
		}
	}
	return "file:" + file
}

func unit(name string) lab.Bytes {
	switch name {
	case "b", "bytes":
		return 1
	case "MiB", "M":
		return lab.MiB
	case "GiB", "G":
		return lab.GiB
	}
	return lab.KiB // what libvirt writes
}

// disk adds a domain's disk by the name of its volume; one whose volume is gone is no disk.
func (k known) disk(a *machineAttrs, d libvirtxml.DomainDisk, machine string) {
	file := diskFile(d)
	if file == "" || path.Base(file) == seedVolume(k.lab, machine) || k.there != nil && !k.there(file) {
		return
	}
	name := "file:" + file
	if m, n, ok := parseDisk(k.lab, path.Base(file)); ok && m == machine {
		name = n
	}
	if d.Target != nil && d.Target.Dev == rootTarget {
		a.Root = name
		return
	}
	a.Disks = append(a.Disks, name)
}

func diskFile(d libvirtxml.DomainDisk) string {
	if d.Source == nil || d.Source.File == nil {
		return ""
	}
	return d.Source.File.File
}

// nic adds a domain's NIC by the name of its network.
func (k known) nic(a *machineAttrs, i libvirtxml.DomainInterface) {
	n := nic{Network: k.network(i), Link: lab.Up}
	if k.adopted[sourceOf(i)] {
		n.Host = sourceOf(i)
	}
	if i.MAC != nil {
		n.MAC = strings.ToLower(i.MAC.Address)
	}
	if i.Link != nil && i.Link.State == "down" {
		n.Link = lab.Down
	}
	if i.MTU != nil && i.MTU.Size != 0 && i.MTU.Size != defaultMTU {
		if a.MTU == nil {
			a.MTU = map[string]int{}
		}
		a.MTU[n.Network] = int(i.MTU.Size)
	}
	a.NICs = append(a.NICs, n)
}

// network is what the lab calls the network of a NIC.
func (k known) network(i libvirtxml.DomainInterface) string {
	if name, ok := k.networks[sourceOf(i)]; ok {
		return name
	}
	return "host:" + sourceOf(i)
}

// sourceOf is the name of the network, bridge or device that a NIC is connected to.
func sourceOf(i libvirtxml.DomainInterface) string {
	switch {
	case i.Source == nil:
		return ""
	case i.Source.Network != nil:
		return i.Source.Network.Network
	case i.Source.Bridge != nil:
		return i.Source.Bridge.Bridge
	case i.Source.Direct != nil:
		return i.Source.Direct.Dev
	}
	return ""
}

// apart says in which attributes a machine as it runs and its persistent definition differ.
func (a machineAttrs) apart(b machineAttrs) string {
	var names []string
	for name, same := range map[string]bool{
		"cpus": a.CPUs == b.CPUs && a.MaxCPUs == b.MaxCPUs, "memory": a.Memory == b.Memory && a.MaxMemory == b.MaxMemory,
		"nics": slices.Equal(a.NICs, b.NICs), "disks": a.Root == b.Root && slices.Equal(a.Disks, b.Disks),
		"firmware": a.Firmware == b.Firmware && a.Image == b.Image, "cpu": a.CPU == b.CPU, "type": a.Type == b.Type,
		"boot": slices.Equal(a.Boot, b.Boot), "nested": a.Nested == b.Nested, "devices": slices.Equal(a.Devices, b.Devices),
	} {
		if !same {
			names = append(names, name)
		}
	}
	return list(names)
}

package libvirt

import (
	"slices"

	"libvirt.org/go/libvirtxml"

	"github.com/labctl-dev/labctl/lab"
)

// The domain types.
const (
	typeKVM  = "kvm"
	typeQEMU = "qemu"
)

// spareSlots is how many slots every machine has beyond those it starts with need, for NICs and disks that come while
// it runs. A slot costs the guest some milliseconds at boot.
const spareSlots = 8

// spareCPUs is how many more CPUs an emulated machine that has one could get, as far as QEMU knows: to QEMU a machine
// that never can is one where nothing happens at the same time, so it leaves out the guest's memory barriers; but devices
// do run beside the processor, and wait forever for what the guest has told them too early (QEMU 7.2).
const spareCPUs = 1

// definition is all that a domain is made of.
type definition struct {
	mark  mark
	attrs machineAttrs
	kind  string            // domain type: typeKVM or typeQEMU
	files map[string]string // path of each disk's volume
	at    map[string]string // place of each data disk
	seed  string            // path of the seed's volume
	log   string            // path of the console log's volume
	nest  string            // the processor's feature for machines in machines, if it may have them: "vmx" or "svm"
	vars  string            // path of the UEFI variables' volume; "" leaves it to libvirt
	boot  bootFrom          // with firmware "kernel", if the image can be started so
}

// bootFrom is what a machine that starts by its image's kernel is started with; zero if its own loader starts it.
type bootFrom struct{ kernel, initrd, cmdline string }

// domainXML is the definition of a domain. What is not said here is libvirt's to choose, and is not compared.
func domainXML(d definition) libvirtxml.Domain {
	a := d.attrs
	x := libvirtxml.Domain{
		Type: d.kind, Name: a.Name, UUID: uuidText(uuid(kindMachine, d.mark.Lab, d.mark.Name)),
		Metadata: &libvirtxml.DomainMetadata{XML: d.mark.element()},
		Memory:   &libvirtxml.DomainMemory{Value: uint(a.MaxMemory / lab.KiB), Unit: "KiB"}, CurrentMemory: &libvirtxml.DomainCurrentMemory{Value: uint(a.Memory / lab.KiB), Unit: "KiB"},
		VCPU:  &libvirtxml.DomainVCPU{Placement: "static", Value: uint(a.MaxCPUs)},
		Clock: &libvirtxml.DomainClock{Offset: "utc"}, OnPoweroff: "destroy", OnReboot: "restart", OnCrash: "destroy",
		Features: &libvirtxml.DomainFeatureList{ACPI: &libvirtxml.DomainFeature{}}, CPU: cpuXML(d), OS: osXML(d),
		Devices: &libvirtxml.DomainDeviceList{
			Controllers: controllersXML(len(a.NICs) + len(a.Disks) + len(a.Devices) + spareSlots),
			Serials:     []libvirtxml.DomainSerial{{Source: &libvirtxml.DomainChardevSource{Pty: &libvirtxml.DomainChardevSourcePty{}}, Log: &libvirtxml.DomainChardevLog{File: d.log, Append: "off"}}},
			Channels: []libvirtxml.DomainChannel{{
				Source: &libvirtxml.DomainChardevSource{UNIX: &libvirtxml.DomainChardevSourceUNIX{}},
				Target: &libvirtxml.DomainChannelTarget{VirtIO: &libvirtxml.DomainChannelTargetVirtIO{Name: "org.qemu.guest_agent.0"}},
			}},
			RNGs:       []libvirtxml.DomainRNG{{Model: "virtio", Backend: &libvirtxml.DomainRNGBackend{Random: &libvirtxml.DomainRNGBackendRandom{Device: "/dev/urandom"}}}},
			MemBalloon: &libvirtxml.DomainMemBalloon{Model: "virtio"},
			Hostdevs:   devicesXML(a.Devices),
		},
	}
	if a.CPUs != a.MaxCPUs {
		x.VCPU.Current = uint(a.CPUs)
	}
	if d.kind == typeQEMU && a.CPUs == 1 {
		x.VCPU.Value, x.VCPU.Current = uint(a.MaxCPUs+spareCPUs), 1
	}
	if d.kind == typeQEMU { // the default takes up to a gigabyte for each machine
		x.Features.TCG = &libvirtxml.DomainFeatureTCG{TBCache: &libvirtxml.DomainFeatureTCGTBCache{Unit: "MiB", Size: 256}}
	}
	if a.Arch == lab.AMD64 {
		x.Features.APIC = &libvirtxml.DomainFeatureAPIC{}
		x.OS.SMBios = &libvirtxml.DomainSMBios{Mode: "sysinfo"}
		entry := func(name, value string) libvirtxml.DomainSysInfoEntry {
			return libvirtxml.DomainSysInfoEntry{Name: name, Value: value}
		}
		x.SysInfo = []libvirtxml.DomainSysInfo{{SMBIOS: &libvirtxml.DomainSysInfoSMBIOS{System: &libvirtxml.DomainSysInfoSystem{Entry: []libvirtxml.DomainSysInfoEntry{
			entry("manufacturer", "labctl"), entry("product", "labctl"), entry("serial", "ds=nocloud"),
		}}}}}
		if a.Nested {
			system := x.SysInfo[0].SMBIOS.System
			system.Entry = append(system.Entry, entry(familyEntry, nestedFamily))
		}
	}
	if a.Root != "" {
		root := diskXML("", d.files[a.Root], rootTarget)
		root.Boot = a.bootXML(fromDisk)
		x.Devices.Disks = append(x.Devices.Disks, root)
	}
	x.Devices.Disks = append(x.Devices.Disks, seedXML(d.seed))
	for _, name := range a.Disks {
		x.Devices.Disks = append(x.Devices.Disks, diskXML(name, d.files[name], d.at[name]))
	}
	for _, n := range a.NICs {
		x.Devices.Interfaces = append(x.Devices.Interfaces, nicXML(d.mark.Lab, a, n))
	}
	return x
}

// osXML is how a machine starts.
func osXML(d definition) *libvirtxml.DomainOS {
	a := d.attrs
	arch, board := qemuArch(a.Arch), "q35"
	if a.Arch == lab.ARM64 {
		board = "virt"
	}
	if a.Board != "" {
		board = a.Board
	}
	os := &libvirtxml.DomainOS{Type: &libvirtxml.DomainOSType{Arch: arch, Machine: board, Type: "hvm"}}
	switch {
	case a.Firmware == lab.UEFI, a.Firmware == lab.Kernel && a.Arch == lab.ARM64 && d.boot == bootFrom{}:
		os.Firmware = "efi"
		if d.vars != "" {
			os.NVRam = &libvirtxml.DomainNVRam{NVRam: d.vars}
		}
		os.FirmwareInfo = &libvirtxml.DomainOSFirmwareInfo{Features: []libvirtxml.DomainOSFirmwareFeature{{Enabled: "no", Name: "secure-boot"}}}
	case a.Firmware == lab.Kernel:
		os.Kernel, os.Initrd, os.Cmdline = d.boot.kernel, d.boot.initrd, d.boot.cmdline
	}
	return os
}

func qemuArch(a lab.Arch) string {
	if a == lab.ARM64 {
		return "aarch64"
	}
	return "x86_64"
}

func cpuXML(d definition) *libvirtxml.DomainCPU {
	cpu := cpuModel(d)
	if d.nest != "" {
		cpu.Features = append(cpu.Features, libvirtxml.DomainCPUFeature{Policy: "require", Name: d.nest})
	}
	return cpu
}

func cpuModel(d definition) *libvirtxml.DomainCPU {
	switch want := d.attrs.CPU; {
	case want == "" && d.kind == typeKVM && d.attrs.Arch == lab.AMD64:
		return &libvirtxml.DomainCPU{Mode: "host-model"}
	case want == "" && d.kind == typeKVM:
		return &libvirtxml.DomainCPU{Mode: "host-passthrough"} // all that KVM on arm64 has
	case want == "" && d.attrs.Arch == lab.ARM64: // "max" spends most of its time on emulated pointer authentication
		return &libvirtxml.DomainCPU{Mode: "custom", Match: "exact", Model: &libvirtxml.DomainCPUModel{Value: "cortex-a72"}}
	case want == "": // five-level page tables only slow emulation down
		return &libvirtxml.DomainCPU{Mode: "maximum", Features: []libvirtxml.DomainCPUFeature{{Policy: "disable", Name: "la57"}}}
	case slices.Contains([]string{"host-model", "host-passthrough", "maximum"}, want):
		return &libvirtxml.DomainCPU{Mode: want}
	}
	return &libvirtxml.DomainCPU{Mode: "custom", Match: "exact", Model: &libvirtxml.DomainCPUModel{Value: d.attrs.CPU, Fallback: "forbid"}}
}

// controllersXML are the slots (PCI Express root ports) that NICs and data disks are plugged into; no USB.
func controllersXML(slots int) []libvirtxml.DomainController {
	cs := []libvirtxml.DomainController{{Type: "usb", Model: "none"}}
	const own = 6 // what libvirt itself plugs in: the root disk, the seed, serial bus, balloon, RNG, and one to spare
	for i := range uint(slots + own) {
		index := i + 1
		cs = append(cs, libvirtxml.DomainController{Type: "pci", Index: &index, Model: "pcie-root-port"})
	}
	return cs
}

// keepPlaces gives NICs, disks and slots the places that they had before, so that the guest knows them by the same
// names.
func keepPlaces(x *libvirtxml.Domain, old libvirtxml.Domain) {
	if x.OS.NVRam != nil && old.OS != nil { // UEFI variables stay where they are, also where libvirt alone knows that to be
		if x.OS.NVRam = nil; old.OS.NVRam != nil {
			x.OS.NVRam = &libvirtxml.DomainNVRam{NVRam: old.OS.NVRam.NVRam, Format: old.OS.NVRam.Format}
		}
	}
	if old.Devices == nil {
		return
	}
	for _, c := range old.Devices.Controllers {
		if c.Type != "pci" || c.Index == nil || *c.Index == 0 {
			continue
		}
		i := slices.IndexFunc(x.Devices.Controllers, func(n libvirtxml.DomainController) bool {
			return n.Type == c.Type && n.Index != nil && *n.Index == *c.Index
		})
		if c.Alias = nil; i < 0 {
			x.Devices.Controllers = append(x.Devices.Controllers, c)
		} else {
			x.Devices.Controllers[i] = c
		}
	}
	for _, o := range old.Devices.Interfaces {
		for i := range x.Devices.Interfaces {
			if n := &x.Devices.Interfaces[i]; o.MAC != nil && o.MAC.Address == n.MAC.Address {
				n.Address = o.Address
			}
		}
	}
	for _, o := range old.Devices.Hostdevs {
		for i := range x.Devices.Hostdevs {
			if n := &x.Devices.Hostdevs[i]; hostDevice(o) == hostDevice(*n) {
				n.Address = o.Address
			}
		}
	}
	for _, o := range old.Devices.Disks {
		for i := range x.Devices.Disks {
			if n := &x.Devices.Disks[i]; o.Target != nil && o.Target.Dev == n.Target.Dev && o.Target.Bus == n.Target.Bus {
				n.Address = o.Address
			}
		}
	}
}

// The places of disks in a machine. Data disks follow; a guest finds them by their serial.
const (
	rootTarget = "vda"
	seedTarget = "vdb"
)

// place gives each data disk a place: the one that it has in old, or a free one.
func (d *definition) place(old libvirtxml.Domain) {
	d.at = map[string]string{}
	taken := map[string]bool{}
	if old.Devices != nil {
		for _, x := range old.Devices.Disks {
			for _, name := range d.attrs.Disks {
				if x.Target != nil && d.files[name] != "" && diskFile(x) == d.files[name] {
					d.at[name], taken[x.Target.Dev] = x.Target.Dev, true
				}
			}
		}
	}
	next := 'c'
	for _, name := range d.attrs.Disks {
		for d.at[name] == "" {
			if dev := "vd" + string(next); !taken[dev] {
				d.at[name] = dev
			}
			next++
		}
	}
}

// diskXML is a disk. Its serial is how the guest finds it (/dev/disk/by-id/virtio-<name>).
func diskXML(name, path, target string) libvirtxml.DomainDisk {
	return libvirtxml.DomainDisk{
		Device: "disk", Driver: &libvirtxml.DomainDiskDriver{Name: "qemu", Type: "qcow2", Discard: "unmap"},
		Source: &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: path}},
		Target: &libvirtxml.DomainDiskTarget{Dev: target, Bus: "virtio"}, Serial: short(name),
	}
}

func seedXML(path string) libvirtxml.DomainDisk {
	return libvirtxml.DomainDisk{
		Device: "disk", Driver: &libvirtxml.DomainDiskDriver{Name: "qemu", Type: "raw"}, ReadOnly: &libvirtxml.DomainDiskReadOnly{},
		Source: &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: path}},
		Target: &libvirtxml.DomainDiskTarget{Dev: seedTarget, Bus: "virtio"},
	}
}

func nicXML(labName string, a machineAttrs, n nic) libvirtxml.DomainInterface {
	i := libvirtxml.DomainInterface{
		MAC:    &libvirtxml.DomainInterfaceMAC{Address: n.MAC},
		Source: &libvirtxml.DomainInterfaceSource{Network: &libvirtxml.DomainInterfaceSourceNetwork{Network: n.host(labName)}},
		Model:  &libvirtxml.DomainInterfaceModel{Type: "virtio"}, Link: &libvirtxml.DomainInterfaceLink{State: string(n.Link)},
		Boot: a.bootXML(fromNetwork + n.Network),
	}
	if mtu := a.MTU[n.Network]; mtu != 0 {
		i.MTU = &libvirtxml.DomainInterfaceMTU{Size: uint(mtu)}
	}
	return i
}

// short keeps the first 20 bytes, the length of a virtio disk's serial number.
func short(s string) string { return s[:min(len(s), 20)] }

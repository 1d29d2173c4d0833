package libvirt

import (
	"strconv"

	"libvirt.org/go/libvirtxml"
)

// glance reads of a domain's XML what a look at a host is about: name, mark, processors, memory, how it boots, and
// where its disks and NICs lead. What libvirt made of these by itself (controllers, consoles, aliases, places) is not
// in what it returns. A domain that has anything it does not know is read in full.
func glance(text string) (libvirtxml.Domain, error) {
	if e, ok := unread.parse(text); ok {
		g := glancer{}
		if x := g.domain(&e); !g.lost {
			return x, nil
		}
	}
	return full(text)
}

// full reads all of a domain's XML, for who changes it.
func full(text string) (libvirtxml.Domain, error) {
	var x libvirtxml.Domain
	err := x.Unmarshal(text)
	return x, err
}

// unread are elements that a glance gives no thought.
var unread = set("metadata", "resource", "features", "clock", "pm", "seclabel", "backingStore",
	"controller", "serial", "console", "channel", "input", "audio", "memballoon", "rng")

// What a glance knows of children: of a domain, its devices, how it boots, its CPU, a disk and a NIC.
var (
	ofDomain  = set("name", "uuid", "memory", "currentMemory", "vcpu", "sysinfo", "os", "cpu", "devices", "on_poweroff", "on_reboot", "on_crash")
	ofSysInfo = set("system")
	ofDevices = set("emulator", "disk", "interface")
	ofOS      = set("type", "smbios", "kernel", "initrd", "cmdline", "loader", "firmware", "nvram")
	ofCPU     = set("model", "feature", "vendor")
	ofDisk    = set("driver", "source", "target", "readonly", "boot", "serial", "alias", "address")
	ofNIC     = set("mac", "source", "target", "model", "link", "mtu", "boot", "alias", "address")
)

func set(names ...string) skipped {
	s := skipped{}
	for _, n := range names {
		s[n] = true
	}
	return s
}

// glancer is lost when it meets what it does not know.
type glancer struct{ lost bool }

// knows gets lost if e has children of other names than those.
func (g *glancer) knows(e *element, names skipped) *element {
	if e != nil {
		for _, k := range e.kids {
			g.lost = g.lost || !names[k.name] && !unread[k.name]
		}
	}
	return e
}

// uint reads a number; without one it is 0.
func (g *glancer) uint(text string) uint {
	if text == "" {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, 64)
	g.lost = g.lost || err != nil
	return uint(n)
}

func (g *glancer) domain(e *element) libvirtxml.Domain {
	g.knows(e, ofDomain)
	x := libvirtxml.Domain{Type: e.attr("type"), Name: e.kid("name").text(), UUID: e.kid("uuid").text(), Devices: &libvirtxml.DomainDeviceList{}}
	if id := e.attr("id"); id != "" {
		n := int(g.uint(id))
		x.ID = &n
	}
	if m := e.kid("metadata"); m != nil {
		x.Metadata = &libvirtxml.DomainMetadata{XML: m.inner}
	}
	if m := e.kid("memory"); m != nil {
		x.Memory = &libvirtxml.DomainMemory{Value: g.uint(m.text()), Unit: m.attr("unit")}
	}
	if m := e.kid("currentMemory"); m != nil {
		x.CurrentMemory = &libvirtxml.DomainCurrentMemory{Value: g.uint(m.text()), Unit: m.attr("unit")}
	}
	if c := e.kid("vcpu"); c != nil {
		x.VCPU = &libvirtxml.DomainVCPU{Placement: c.attr("placement"), Current: g.uint(c.attr("current")), Value: g.uint(c.text())}
	}
	if s := g.knows(e.kid("sysinfo"), ofSysInfo); s != nil {
		x.SysInfo = g.sysInfo(s)
	}
	x.OS, x.CPU = g.os(g.knows(e.kid("os"), ofOS)), g.cpu(g.knows(e.kid("cpu"), ofCPU))
	devices := g.knows(e.kid("devices"), ofDevices)
	g.lost = g.lost || e.name != "domain" || devices == nil
	if g.lost {
		return x
	}
	for i := range devices.kids {
		switch d := &devices.kids[i]; d.name {
		case "disk":
			x.Devices.Disks = append(x.Devices.Disks, g.disk(g.knows(d, ofDisk)))
		case "interface":
			x.Devices.Interfaces = append(x.Devices.Interfaces, g.nic(g.knows(d, ofNIC)))
		}
	}
	return x
}

func (g *glancer) os(e *element) *libvirtxml.DomainOS {
	if e == nil {
		return nil
	}
	x := &libvirtxml.DomainOS{Firmware: e.attr("firmware"), Kernel: e.kid("kernel").text(), Initrd: e.kid("initrd").text(), Cmdline: e.kid("cmdline").text()}
	if t := e.kid("type"); t != nil {
		x.Type = &libvirtxml.DomainOSType{Arch: t.attr("arch"), Machine: t.attr("machine"), Type: t.text()}
	}
	if l := e.kid("loader"); l != nil {
		x.Loader = &libvirtxml.DomainLoader{Path: l.text()}
	}
	if n := g.knows(e.kid("nvram"), nil); n != nil && n.text() != "" {
		x.NVRam = &libvirtxml.DomainNVRam{NVRam: n.text(), Format: n.attr("format")}
	}
	return x
}

func (g *glancer) cpu(e *element) *libvirtxml.DomainCPU {
	if e == nil {
		return nil
	}
	x := &libvirtxml.DomainCPU{Mode: e.attr("mode")}
	if m := e.kid("model"); m != nil {
		x.Model = &libvirtxml.DomainCPUModel{Value: m.text(), Fallback: m.attr("fallback")}
	}
	for _, k := range e.kids {
		if k.name == "feature" {
			x.Features = append(x.Features, libvirtxml.DomainCPUFeature{Policy: k.attr("policy"), Name: k.attr("name")})
		}
	}
	return x
}

// sysInfo is what the firmware tells a guest about its machine.
func (g *glancer) sysInfo(e *element) []libvirtxml.DomainSysInfo {
	g.lost = g.lost || e.attr("type") != "smbios"
	x := libvirtxml.DomainSysInfoSMBIOS{}
	if s := e.kid("system"); s != nil {
		x.System = &libvirtxml.DomainSysInfoSystem{}
		for i := range s.kids {
			x.System.Entry = append(x.System.Entry, libvirtxml.DomainSysInfoEntry{Name: s.kids[i].attr("name"), Value: s.kids[i].text()})
		}
	}
	return []libvirtxml.DomainSysInfo{{SMBIOS: &x}}
}

// order is a device's place among those that are booted from.
func (g *glancer) order(e *element) *libvirtxml.DomainDeviceBoot {
	if e == nil {
		return nil
	}
	return &libvirtxml.DomainDeviceBoot{Order: g.uint(e.attr("order")), LoadParm: e.attr("loadparm")}
}

// disk is a disk in a file; of others it does not know.
func (g *glancer) disk(e *element) libvirtxml.DomainDisk {
	g.lost = g.lost || e.attr("type") != "file"
	x := libvirtxml.DomainDisk{Device: e.attr("device"), Serial: e.kid("serial").text(), Boot: g.order(e.kid("boot"))}
	if d := e.kid("driver"); d != nil {
		x.Driver = &libvirtxml.DomainDiskDriver{Name: d.attr("name"), Type: d.attr("type"), Cache: d.attr("cache"), Discard: d.attr("discard")}
	}
	if s := e.kid("source"); s != nil {
		x.Source = &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: s.attr("file")}, Index: g.uint(s.attr("index"))}
	}
	if t := e.kid("target"); t != nil {
		x.Target = &libvirtxml.DomainDiskTarget{Dev: t.attr("dev"), Bus: t.attr("bus")}
	}
	if e.kid("readonly") != nil {
		x.ReadOnly = &libvirtxml.DomainDiskReadOnly{}
	}
	return x
}

// nic is a NIC on a network or a bridge; of others it does not know.
func (g *glancer) nic(e *element) libvirtxml.DomainInterface {
	x := libvirtxml.DomainInterface{Boot: g.order(e.kid("boot"))}
	switch s := e.kid("source"); e.attr("type") {
	case "network":
		x.Source = &libvirtxml.DomainInterfaceSource{Network: &libvirtxml.DomainInterfaceSourceNetwork{
			Network: s.attr("network"), PortGroup: s.attr("portgroup"), Bridge: s.attr("bridge"), PortID: s.attr("portid"),
		}}
	case "bridge":
		x.Source = &libvirtxml.DomainInterfaceSource{Bridge: &libvirtxml.DomainInterfaceSourceBridge{Bridge: s.attr("bridge")}}
	default:
		g.lost = true
	}
	if m := e.kid("mac"); m != nil {
		x.MAC = &libvirtxml.DomainInterfaceMAC{Address: m.attr("address")}
	}
	if t := e.kid("target"); t != nil {
		x.Target = &libvirtxml.DomainInterfaceTarget{Dev: t.attr("dev")}
	}
	if m := e.kid("model"); m != nil {
		x.Model = &libvirtxml.DomainInterfaceModel{Type: m.attr("type")}
	}
	if l := e.kid("link"); l != nil {
		x.Link = &libvirtxml.DomainInterfaceLink{State: l.attr("state")}
	}
	if m := e.kid("mtu"); m != nil {
		x.MTU = &libvirtxml.DomainInterfaceMTU{Size: g.uint(m.attr("size"))}
	}
	return x
}

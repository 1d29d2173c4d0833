package libvirt

import (
	"fmt"
	"slices"

	"libvirt.org/go/libvirtxml"

	"github.com/labctl-dev/labctl/lab"
)

// fromDisk is the root disk among what a machine starts from; networks have fromNetwork before their name.
const (
	fromDisk    = string(lab.FromDisk)
	fromNetwork = string(lab.FromNetwork) + ":"
)

// bootXML is the place of a device among those that a machine starts from; nil for one that it does not start from.
func (a machineAttrs) bootXML(device string) *libvirtxml.DomainDeviceBoot {
	boot := a.Boot
	if boot == nil {
		boot = []string{fromDisk}
	}
	if i := slices.Index(boot, device); i >= 0 {
		return &libvirtxml.DomainDeviceBoot{Order: uint(i) + 1}
	}
	return nil
}

// boots finds what a domain starts from. Its devices go by the names that the lab has for them.
func (k known) boots(a *machineAttrs, x libvirtxml.Domain) {
	place := map[string]uint{}
	boot := []string{}
	add := func(what string, b *libvirtxml.DomainDeviceBoot) {
		if b != nil && b.Order != 0 {
			place[what] = b.Order
			boot = append(boot, what)
		}
	}
	for _, d := range x.Devices.Disks {
		what := "file:" + diskFile(d)
		if d.Target != nil && d.Target.Dev == rootTarget {
			what = fromDisk
		}
		add(what, d.Boot)
	}
	for _, i := range x.Devices.Interfaces {
		add(fromNetwork+k.network(i), i.Boot)
	}
	slices.SortFunc(boot, func(a, b string) int { return int(place[a]) - int(place[b]) })
	switch {
	case len(boot) == 0:
		a.Boot = []string{"nothing"}
	case !slices.Equal(boot, []string{fromDisk}):
		a.Boot = boot
	}
}

// A machine that may run others says so in its SMBIOS tables (/sys/class/dmi/id/product_family). What its processor has
// does not tell: libvirt writes all that "host-model" comes to into a domain that runs, whether it was asked for or not.
const (
	familyEntry  = "family"
	nestedFamily = "nested"
)

// nestedIn says whether a domain was made to run machines of its own.
func nestedIn(x libvirtxml.Domain) bool {
	marked := slices.ContainsFunc(x.SysInfo, func(s libvirtxml.DomainSysInfo) bool {
		return s.SMBIOS != nil && s.SMBIOS.System != nil && slices.Contains(s.SMBIOS.System.Entry, libvirtxml.DomainSysInfoEntry{Name: familyEntry, Value: nestedFamily})
	})
	return marked && x.CPU != nil && slices.ContainsFunc(x.CPU.Features, func(f libvirtxml.DomainCPUFeature) bool {
		return (f.Name == "vmx" || f.Name == "svm") && f.Policy != "disable" && f.Policy != "forbid"
	})
}

// devicesXML are the host's devices that a machine gets. libvirt takes them from the host when it starts, and gives
// them back when it ends.
func devicesXML(addresses []string) []libvirtxml.DomainHostdev {
	var all []libvirtxml.DomainHostdev
	for _, a := range addresses {
		all = append(all, libvirtxml.DomainHostdev{Managed: "yes", SubsysPCI: &libvirtxml.DomainHostdevSubsysPCI{
			Source: &libvirtxml.DomainHostdevSubsysPCISource{Address: parsePCI(a)},
		}})
	}
	return all
}

// parsePCI reads the address of a PCI device, whose form is checked.
func parsePCI(text string) *libvirtxml.DomainAddressPCI {
	var domain, bus, slot, function uint
	if n, _ := fmt.Sscanf(text, "%04x:%02x:%02x.%1x", &domain, &bus, &slot, &function); n != 4 {
		return nil
	}
	return &libvirtxml.DomainAddressPCI{Domain: &domain, Bus: &bus, Slot: &slot, Function: &function}
}

// pciText is the reverse of parsePCI.
func pciText(domain, bus, slot, function *uint) string {
	of := func(n *uint) uint {
		if n == nil {
			return 0
		}
		return *n
	}
	return fmt.Sprintf("%04x:%02x:%02x.%x", of(domain), of(bus), of(slot), of(function))
}

// hostDevice is the address of a device of the host that a domain has; one that is no PCI device is called what it is.
func hostDevice(h libvirtxml.DomainHostdev) string {
	switch {
	case h.SubsysPCI != nil && h.SubsysPCI.Source != nil && h.SubsysPCI.Source.Address != nil:
		a := h.SubsysPCI.Source.Address
		return pciText(a.Domain, a.Bus, a.Slot, a.Function)
	case h.SubsysUSB != nil:
		return "a USB device"
	}
	return "a device of another kind"
}

// devicesIn are the devices of the host that a domain has, its NICs' own included.
func devicesIn(x libvirtxml.Domain) []string {
	var all []string
	if x.Devices == nil {
		return nil
	}
	for _, h := range x.Devices.Hostdevs {
		all = append(all, hostDevice(h))
	}
	for _, i := range x.Devices.Interfaces {
		if i.Source != nil && i.Source.Hostdev != nil && i.Source.Hostdev.PCI != nil && i.Source.Hostdev.PCI.Address != nil {
			a := i.Source.Hostdev.PCI.Address
			all = append(all, pciText(a.Domain, a.Bus, a.Slot, a.Function))
		}
	}
	slices.Sort(all)
	return all
}

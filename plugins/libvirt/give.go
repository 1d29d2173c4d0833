package libvirt

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/labctl-dev/labctl/plugins/libvirt/conn"
	"github.com/labctl-dev/labctl/provider"
)

// hardware refuses what the host cannot give a machine, and finds out how it gives the rest. Devices are needed only by
// one that is to run.
func (v *virt) hardware(ctx context.Context, def *definition) error {
	a := def.attrs
	if a.Nested {
		if err := v.nest(ctx, def); err != nil {
			return err
		}
	}
	if len(a.Devices) == 0 || a.Power == off {
		return nil
	}
	return v.host.Ask(ctx, "look at devices of the host", func(c *libvirt.Libvirt) error {
		h, err := lookDevices(c, def)
		if err != nil {
			return err
		}
		return h.gives(a.Devices)
	})
}

// nest finds the processor's help for machines in machines: AMD's under emulation, with KVM what the host's kernel
// passes on.
func (v *virt) nest(ctx context.Context, def *definition) error {
	if def.kind == typeQEMU {
		def.nest = "svm"
		return nil
	}
	var caps libvirtxml.DomainCaps
	err := v.host.Ask(ctx, "ask what the host's processor can", func(c *libvirt.Libvirt) error {
		text, err := c.ConnectGetDomainCapabilities(nil, libvirt.OptString{qemuArch(def.attrs.Arch)}, nil, libvirt.OptString{typeKVM}, 0)
		if err != nil {
			return err
		}
		return caps.Unmarshal(text)
	})
	if err != nil {
		return err
	}
	if def.nest = nestFeature(caps); def.nest == "" {
		return &provider.Error{Code: provider.Unsupported, Text: "nested: KVM on the host does not pass on the processor's help for machines in machines: options kvm_intel nested=1 (or kvm_amd) in its /etc/modprobe.d, then load the module anew, or start the host again"}
	}
	return nil
}

// nestFeature is "vmx" or "svm", whichever a host's domains can have; "" if neither.
func nestFeature(caps libvirtxml.DomainCaps) string {
	if caps.CPU == nil {
		return ""
	}
	for _, m := range caps.CPU.Modes {
		for _, f := range m.Features {
			if m.Name == "host-model" && (f.Name == "vmx" || f.Name == "svm") && f.Policy != "disable" {
				return f.Name
			}
		}
	}
	return ""
}

// pciDevice is a device of the host.
type pciDevice struct {
	name   string   // for people
	driver string   // of the host; "" is none
	bridge bool     // stays with the host
	group  []string // addresses of those that are given away together, itself included; nil without an IOMMU
}

// hostDevices are what of a host's devices matters to a machine.
type hostDevices struct {
	where   string // the host
	devices map[string]pciDevice
	users   map[string]deviceUser // by the device's address
}

// deviceUser is a domain that runs with a device.
type deviceUser struct {
	domain  string
	foreign bool
}

// lookDevices looks at the devices that a machine is to have, at those in their groups, and at who has them.
func lookDevices(c *libvirt.Libvirt, def *definition) (hostDevices, error) {
	h := hostDevices{devices: map[string]pciDevice{}, users: map[string]deviceUser{}}
	var err error
	if h.where, err = c.ConnectGetHostname(); err != nil {
		return h, err
	}
	todo := slices.Clone(def.attrs.Devices)
	for len(todo) > 0 {
		address := todo[0]
		todo = todo[1:]
		if _, ok := h.devices[address]; ok {
			continue
		}
		text, err := lookDevice(c, address)
		if conn.Is(err, libvirt.ErrNoNodeDevice) {
			continue
		}
		if err != nil {
			return h, err
		}
		var x libvirtxml.NodeDevice
		if err := x.Unmarshal(text); err != nil {
			return h, err
		}
		d := pciOfXML(x)
		h.devices[address] = d
		todo = append(todo, d.group...)
	}
	w := &world{}
	if err := w.lookDomains(c, def.mark.Lab); err != nil {
		return h, err
	}
	for _, d := range w.domains {
		if !d.active || d.mark.Lab == def.mark.Lab && d.mark.Name == def.mark.Name {
			continue
		}
		for _, address := range devicesIn(d.live) {
			h.users[address] = deviceUser{d.live.Name, d.mark.Lab == ""}
		}
	}
	return h, nil
}

// lookDevice is libvirt's description of a PCI device.
func lookDevice(c *libvirt.Libvirt, address string) (string, error) {
	name := "pci_" + strings.NewReplacer(":", "_", ".", "_").Replace(address)
	if _, err := c.NodeDeviceLookupByName(name); err != nil {
		return "", err
	}
	return c.NodeDeviceGetXMLDesc(name, 0)
}

func pciOfXML(x libvirtxml.NodeDevice) pciDevice {
	var d pciDevice
	if x.Driver != nil {
		d.driver = x.Driver.Name
	}
	p := x.Capability.PCI
	if p == nil {
		return d
	}
	d.name = strings.TrimSpace(p.Vendor.Name + " " + p.Product.Name)
	d.bridge = strings.HasPrefix(p.Class, "0x0604") || slices.ContainsFunc(p.Capabilities, func(c libvirtxml.NodeDevicePCISubCapability) bool { return c.Bridge != nil })
	if p.IOMMUGroup != nil {
		for _, a := range p.IOMMUGroup.Address {
			d.group = append(d.group, pciText(a.Domain, a.Bus, a.Slot, a.Function))
		}
	}
	return d
}

// gives is an error where the host cannot give all of some devices to one machine.
func (h hostDevices) gives(wanted []string) error {
	refuse := func(code provider.Code, address, format string, args ...any) error {
		return &provider.Error{Code: code, Text: fmt.Sprintf("devices: %s: ", address) + fmt.Sprintf(format, args...)}
	}
	for _, address := range wanted {
		d, ok := h.devices[address]
		switch {
		case !ok:
			return refuse(provider.NotFound, address, "%s has no such device; lspci -D lists those that it has", h.where)
		case d.bridge:
			return refuse(provider.Unsupported, address, "it is a bridge (%s), which stays with the host", d.name)
		case len(d.group) == 0:
			return refuse(provider.Unsupported, address, "%s has no IOMMU, or it is off: switch it on in the firmware (VT-d, AMD-Vi), and with intel_iommu=on on the kernel's command line", h.where)
		}
		for _, other := range d.group {
			if u, ok := h.users[other]; ok {
				code := provider.InUse
				if u.foreign {
					code = provider.Foreign
				}
				what := "it"
				if other != address {
					what = other + ", which is in the same IOMMU group,"
				}
				return refuse(code, address, "domain %s has %s and runs", u.domain, what)
			}
		}
		if left := h.left(d, wanted); len(left) > 0 {
			return refuse(provider.Unsupported, address, "it is in one IOMMU group with %s: give the machine all of them, or take the others away from their drivers", list(left))
		}
	}
	return nil
}

// left are the devices of a group that the host itself uses and that are not wanted.
func (h hostDevices) left(d pciDevice, wanted []string) []string {
	var left []string
	for _, other := range d.group {
		o, known := h.devices[other]
		if !known || o.bridge || slices.Contains(wanted, other) || slices.Contains([]string{"", "vfio-pci", "pci-stub", "pcieport"}, o.driver) {
			continue
		}
		left = append(left, fmt.Sprintf("%s (%s)", other, o.driver))
	}
	return left
}

package libvirt

import (
	"fmt"
	"slices"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// The limits of the machines that we define: slots for NICs and disks, letters for disks (the seed is vdb), and CPUs
// without x2APIC's special wiring.
const (
	maxPlugged = 24
	maxCPUs    = 255
)

// supported refuses what libvirt here cannot honour, by the spec's own words.
func supported(l lab.Lab, m lab.Machine, o options) error {
	refuse := func(code provider.Code, field, format string, args ...any) error {
		return &provider.Error{Op: "expand", Addr: addr(kindMachine, m.Name), Code: code, Text: m.Path() + field + ": " + fmt.Sprintf(format, args...)}
	}
	img, ok := l.Image(m.Image)
	switch {
	case m.Arch != lab.AMD64 && m.Arch != lab.ARM64:
		return refuse(provider.Unsupported, ".arch", "machines of architecture %q are not supported, only amd64 and arm64", m.Arch)
	case !slices.Contains([]lab.Firmware{lab.Kernel, lab.BIOS, lab.UEFI}, m.Firmware):
		return refuse(provider.Unsupported, ".firmware", "starting by %q is not supported, only kernel, bios and uefi", m.Firmware)
	case m.Arch == lab.ARM64 && m.Firmware == lab.BIOS:
		return refuse(provider.Unsupported, ".firmware", "arm64 machines have no BIOS; use \"uefi\"")
	case !ok:
		return refuse(provider.Invalid, ".image", "the lab has no image %q", m.Image)
	case m.Firmware == lab.Kernel && !img.Kernel:
		return refuse(provider.Unsupported, ".firmware", "image %s does not offer its kernel; use \"uefi\" or \"bios\"", img.Name)
	case img.Arch != "" && img.Arch != m.Arch:
		return refuse(provider.Invalid, ".image", "image %s is for %s, the machine is %s", img.Name, img.Arch, m.Arch)
	case m.CPUs < 1 || m.CPUs > maxCPUs:
		return refuse(provider.Unsupported, ".cpus", "%d CPUs; machines have 1 to %d", m.CPUs, maxCPUs)
	case m.Memory == 0 || m.Memory%lab.MiB != 0:
		return refuse(provider.Invalid, ".memory", "%s is no whole number of MiB", m.Memory)
	case len(m.Disks) == 0:
		return refuse(provider.Invalid, ".disks", "a machine needs a root disk")
	case len(m.NICs)+len(m.Disks)-1+len(m.Devices) > maxPlugged:
		return refuse(provider.Unsupported, ".nics", "%d NICs, %d more disks and %d devices; together at most %d", len(m.NICs), len(m.Disks)-1, len(m.Devices), maxPlugged)
	case m.Nested && m.Arch != lab.AMD64:
		return refuse(provider.Unsupported, ".nested", "only amd64 machines can run machines of their own")
	case len(m.Devices) > 0 && o.session:
		return refuse(provider.Unsupported, ".devices", "an ordinary user's libvirt (%s) cannot take devices from the host; use qemu:///system", o.URI)
	case m.Starts() != nil && m.Firmware == lab.Kernel:
		return refuse(provider.Unsupported, ".boot", "with firmware \"kernel\" the image's kernel is started, and nothing else; use \"uefi\" or \"bios\"")
	}
	for _, d := range m.Disks {
		if d.Size == 0 || d.Size%512 != 0 {
			return refuse(provider.Invalid, ".disks."+d.Name, "%s is no whole number of 512-byte sectors", d.Size)
		}
	}
	for _, n := range m.NICs {
		if _, ok := l.Network(n.Network); !ok {
			return refuse(provider.Invalid, ".nics."+n.Network, "the lab has no such network")
		}
	}
	return nil
}

// networkSupported refuses networks that libvirt cannot make as the lab wants them.
func networkSupported(n lab.Network, o options) error {
	refuse := func(field, text string) error {
		return &provider.Error{Op: "expand", Addr: addr(kindNetwork, n.Name), Code: provider.Unsupported, Text: "networks." + n.Name + field + ": " + text}
	}
	switch {
	case o.session && o.Bridges[n.Name] == "":
		return refuse("", "an ordinary user's libvirt ("+o.URI+") has no networks of its own, only bridges of the host, which the option bridges names; use qemu:///system, or the provider qemu")
	case o.Bridges[n.Name] != "" && !n.Uplink:
		return refuse(".uplink", "the target's option bridges names a bridge of the host for it, which only an uplink can be")
	case o.Bridges[n.Name] != "" && n.DHCP != nil:
		return refuse(".dhcp", "the network is a bridge of the host, where others give addresses")
	case n.CIDR.IsValid() && n.CIDR.Bits() > n.CIDR.Addr().BitLen()-2:
		return refuse(".cidr", n.CIDR.String()+" has no room for the host's own address")
	}
	return nil
}

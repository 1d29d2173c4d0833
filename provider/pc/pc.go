// Package pc says what machines QEMU can make, whoever starts it. It must not know who does, nor how.
package pc

import (
	"fmt"
	"slices"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// The limits of machines.
const (
	MaxPlugged = 24  // NICs, disks beside the root disk, and devices: slots that are kept, letters of disks
	MaxCPUs    = 255 // without x2APIC's special wiring
)

// NoGPUs is why hypervisors of one's own refuse gpus.
const NoGPUs = "only a cloud gives a machine GPUs by their kind; a card of the host goes to a machine by its address (devices, on libvirt), and a machine that has one already is external"

// Supported refuses what no such machine can be, by the spec's own words. a is the machine's address.
func Supported(a provider.Addr, l lab.Lab, m lab.Machine) error {
	refuse := func(code provider.Code, field, format string, args ...any) error {
		return Refuse(a, m, code, field, format, args...)
	}
	img, ok := l.Image(m.Image)
	switch {
	case m.Arch != lab.AMD64 && m.Arch != lab.ARM64:
		return refuse(provider.Unsupported, ".arch", "machines of architecture %q are not supported, only amd64 and arm64", m.Arch)
	case !slices.Contains([]lab.Firmware{lab.Kernel, lab.BIOS, lab.UEFI}, m.Firmware):
		return refuse(provider.Unsupported, ".firmware", "starting by %q is not supported, only kernel, bios and uefi", m.Firmware)
	case m.Arch == lab.ARM64 && m.Firmware == lab.BIOS:
		return refuse(provider.Unsupported, ".firmware", "arm64 machines have no BIOS; use \"uefi\"")
	case !ok && m.Installer == nil:
		return refuse(provider.Invalid, ".image", "the lab has no image %q", m.Image)
	case m.Firmware == lab.Kernel && !img.Kernel:
		return refuse(provider.Unsupported, ".firmware", "image %s does not offer its kernel; use \"uefi\" or \"bios\"", img.Name)
	case ok && img.Arch != "" && img.Arch != m.Arch:
		return refuse(provider.Invalid, ".image", "image %s is for %s, the machine is %s", img.Name, img.Arch, m.Arch)
	case m.CPUs < 1 || m.CPUs > MaxCPUs:
		return refuse(provider.Unsupported, ".cpus", "%d CPUs; machines have 1 to %d", m.CPUs, MaxCPUs)
	case m.Memory == 0 || m.Memory%lab.MiB != 0:
		return refuse(provider.Invalid, ".memory", "%s is no whole number of MiB", m.Memory)
	case len(m.Disks) == 0:
		return refuse(provider.Invalid, ".disks", "a machine needs a root disk")
	case len(m.NICs)+len(m.Disks)-1+len(m.Devices) > MaxPlugged:
		return refuse(provider.Unsupported, ".nics", "%d NICs, %d more disks and %d devices; together at most %d", len(m.NICs), len(m.Disks)-1, len(m.Devices), MaxPlugged)
	case m.GPUs != nil:
		return refuse(provider.Unsupported, ".gpus", NoGPUs)
	case m.Nested && m.Arch != lab.AMD64:
		return refuse(provider.Unsupported, ".nested", "only amd64 machines can run machines of their own")
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

// Refuse is the error of Expand about a field of machine m, such as ".cpus".
func Refuse(a provider.Addr, m lab.Machine, code provider.Code, field, format string, args ...any) error {
	text := m.Path() + field + ": " + fmt.Sprintf(format, args...)
	if field == ".nested" {
		text += m.NestedFor()
	}
	return &provider.Error{Op: "expand", Addr: a, Code: code, Text: text, Path: m.Path() + field}
}

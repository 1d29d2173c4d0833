package check

import (
	"fmt"

	"github.com/labctl-dev/labctl/lab"
)

// hardware checks what a machine starts from, and what its processor can.
func (v *vetter) hardware(m lab.Machine) {
	if m.External.IsValid() {
		return
	}
	seen := map[string]string{}
	for i, b := range m.Boot {
		path := m.Path("boot", fmt.Sprint(i))
		name, network := b.Network(m)
		_, on := m.NIC(name)
		switch {
		case !network && b != lab.FromDisk:
			v.error(path, "%q is neither %q nor %q, alone or with the name of a network: \"network:NAME\"", b, lab.FromDisk, lab.FromNetwork)
		case network && len(m.NICs) == 0:
			v.error(path, "the machine has no nics to start from")
		case network && !on:
			v.error(path, "the machine has no interface on network %q%s", name, lab.Meant(name, networksOf(m)))
		}
		what := string(b)
		if network {
			what = string(lab.FromNetwork) + ":" + name
		}
		if other, ok := seen[what]; ok {
			v.clash(path, other, "%s stands in it twice", what)
		}
		seen[what] = path
	}
	if m.Nested && m.Arch != lab.AMD64 {
		v.error(m.Path("nested"), "%s machines cannot run machines of their own: only %s can%s", m.Arch, lab.AMD64, m.NestedFor())
	}
	if m.Starts() != nil && m.Firmware == lab.Kernel && !m.Networked() {
		v.clash(m.Path("boot"), m.Path("firmware"), "with firmware %q the hypervisor starts the image's kernel, which asks for no order: use %q or %q", lab.Kernel, lab.BIOS, lab.UEFI)
	}
}

func networksOf(m lab.Machine) []string {
	var names []string
	for _, n := range m.NICs {
		names = append(names, n.Network)
	}
	return names
}

// devices checks that no device of the host is given away twice, and that addresses are ones.
func (v *vetter) devices() {
	owner := map[string]string{}
	for _, m := range v.lab.Machines {
		for i, d := range m.Devices {
			path := m.Path("devices", fmt.Sprint(i))
			if !device.MatchString(d) {
				v.error(path, "%q is not a PCI device such as \"0000:65:00.0\", as lspci -D prints it", d)
			}
			if other, ok := owner[d]; ok {
				v.clash(path, other, "device %s is given to a machine already", d)
				continue
			}
			owner[d] = path
		}
	}
}

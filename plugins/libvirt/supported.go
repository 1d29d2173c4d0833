package libvirt

import (
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/pc"
)

// supported refuses what libvirt here cannot honour, by the spec's own words.
func supported(l lab.Lab, m lab.Machine, o options) error {
	at := addr(kindMachine, m.Name)
	if m.Networked() {
		return pc.Refuse(at, m, provider.Unsupported, ".install", "machines are made with their image on libvirt: use the provider qemu")
	}
	if len(m.Devices) > 0 && o.session {
		return pc.Refuse(at, m, provider.Unsupported, ".devices", "an ordinary user's libvirt (%s) cannot take devices from the host; use qemu:///system", o.URI)
	}
	if len(m.Devices) > 0 && m.Power == lab.Saved {
		return pc.Refuse(at, m, provider.Unsupported, ".power", "a machine with devices of the host cannot be saved; suspend it")
	}
	return pc.Supported(at, l, m)
}

// networkSupported refuses networks that libvirt cannot make as the lab wants them.
func networkSupported(n lab.Network, o options) error {
	refuse := func(field, text string) error {
		return &provider.Error{Op: "expand", Addr: addr(kindNetwork, n.Name), Code: provider.Unsupported, Text: "networks." + n.Name + field + ": " + text, Path: "networks." + n.Name + field}
	}
	switch {
	case n.Adopted != "" && o.Bridges[n.Name] != "":
		return refuse(".adopted", "the target's option bridges names a bridge of the host for it: it is either a network of libvirt's or a bridge")
	case n.Netboot != "":
		return refuse(".netboot", "libvirt's networks serve no installations: use the provider qemu, or a machine with a role that installs")
	case n.Adopted != "":
		return nil
	case o.session && o.Bridges[n.Name] == "":
		return refuse("", "an ordinary user's libvirt ("+o.URI+") has no networks of its own, only bridges of the host, which the option bridges names; use qemu:///system, or the provider qemu")
	case o.Bridges[n.Name] != "" && !n.Uplink:
		return refuse(".uplink", "the target's option bridges names a bridge of the host for it, which only an uplink can be")
	case o.Bridges[n.Name] != "" && n.DHCP != nil:
		return refuse(".dhcp", "the network is a bridge of the host, where others give addresses")
	case n.DHCP != nil && n.CIDR.IsValid() && !n.CIDR.Addr().Is4():
		return refuse(".dhcp", "libvirt knows who asks for an IPv6 address by a DUID, which nobody knows beforehand: a range is IPv4 here")
	case n.CIDR.IsValid() && n.CIDR.Bits() > n.CIDR.Addr().BitLen()-2:
		return refuse(".cidr", n.CIDR.String()+" has no room for the host's own address")
	}
	return nil
}

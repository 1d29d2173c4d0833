package gce

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/pc"
)

// refuse says what of a lab Compute Engine cannot honour, by the spec's own words.
func refuse(l lab.Lab, o options) error {
	var refused provider.Refusals
	for _, n := range l.Networks {
		if err := refuseNetwork(l, n); !refused.Add(err) {
			return refused.Or(err)
		}
	}
	for _, m := range l.Machines {
		if err := refuseMachine(l, m, o); !refused.Add(err) {
			return refused.Or(err)
		}
	}
	if err := refuseNames(l, o); !refused.Add(err) {
		return refused.Or(err)
	}
	if err := refuseFilter(l, o); !refused.Add(err) {
		return refused.Or(err)
	}
	return refused.Err()
}

func refuseNetwork(l lab.Lab, n lab.Network) error {
	at := addr(kindNetwork, n.Name)
	no := func(field, format string, args ...any) error {
		return &provider.Error{Op: "expand", Addr: at, Code: provider.Unsupported, Path: lab.Path("networks", n.Name) + field, Text: lab.Path("networks", n.Name) + field + ": " + fmt.Sprintf(format, args...)}
	}
	switch {
	case n.Adopted != "":
		return no(".adopted", "on Compute Engine machines are on VPCs of their own lab only")
	case n.CIDR6.IsValid(), n.CIDR.IsValid() && n.CIDR.Addr().Is6():
		field := ".cidr6"
		if !n.CIDR6.IsValid() {
			field = ".cidr"
		}
		return no(field, "Compute Engine chooses the IPv6 ranges of its VPCs itself: here a lab has IPv4 alone")
	case n.DHCP != nil:
		return no(".dhcp", "a VPC has a DHCP server of its own, which knows the instances and nobody else; there is no layer 2 for another one")
	case n.Assign == lab.DHCP:
		return no(".assign", "a router's DHCP server hears nobody in a VPC; with \"static\" the machines have the same addresses")
	case n.Routed:
		return no(".routed", "the internet knows no way to private addresses; have the router masquerade")
	case n.MTU < 1300 || n.MTU > 8896:
		return no(".mtu", "%d bytes; a VPC's packets are 1300 to 8896", n.MTU)
	case n.CIDR.IsValid() && n.CIDR.Bits() > 29:
		return no(".cidr", "%s; the smallest subnet is a /29", n.CIDR)
	case n.CIDR.IsValid() && n.CIDR != n.CIDR.Masked():
		return no(".cidr", "%s is no network: its first address is %s", n.CIDR, n.CIDR.Masked().Addr())
	}
	for _, other := range l.Networks {
		if n.Name < other.Name && n.CIDR.IsValid() && other.CIDR.IsValid() && n.CIDR.Overlaps(other.CIDR) {
			return no(".cidr", "%s overlaps %s of network %s, and routes between VPCs could not tell them apart", n.CIDR, other.CIDR, other.Name)
		}
	}
	for _, r := range reservedRanges {
		if n.CIDR.IsValid() && n.CIDR.Overlaps(r) {
			return no(".cidr", "%s is kept for Google (%s)", n.CIDR, r)
		}
	}
	return nil
}

// reservedRanges cannot be a subnet's: https://cloud.google.com/vpc/docs/subnets#prohibited-ipv4-ranges.
var reservedRanges = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("224.0.0.0/4"),
	netip.MustParsePrefix("199.36.153.4/30"), netip.MustParsePrefix("199.36.153.8/30"), netip.MustParsePrefix("192.0.0.0/24"),
}

// The limits of instances.
const (
	maxNICs  = 8
	maxDisks = 128
)

func refuseMachine(l lab.Lab, m lab.Machine, o options) error {
	no := func(field, format string, args ...any) error {
		return pc.Refuse(addr(kindMachine, m.Name), m, provider.Unsupported, field, format, args...)
	}
	img, known := l.Image(m.Image)
	_, found := o.source(img)
	t, fits := smallest(m, o.MachineType)
	switch {
	case m.Adopted != "":
		return no(".adopted", "on Compute Engine labctl manages only machines that it makes")
	case !known:
		return pc.Refuse(addr(kindMachine, m.Name), m, provider.Invalid, ".image", "the lab has no image %q", m.Image)
	case m.Starts() != nil:
		return no(".boot", "instances start from their disk; there is no network boot (PXE) on Compute Engine")
	case m.Networked():
		return no(".install", "instances are made from images; nothing is installed from a network on Compute Engine")
	case img.Baked != "":
		return no(".image", "image %s with packages baked in is on the host where it was made", img.Name)
	case !found:
		return no(".image", "Compute Engine has no public family for image %s; name one, or an image of your own, in images.%q of the target", img.Name, img.Name)
	case len(m.Devices) > 0:
		return no(".devices", "an instance has no devices of a host; ask for gpus by their kind")
	case m.Power == lab.Suspended:
		return no(".power", "Compute Engine writes the memory of what stands still to a disk: that is \"saved\"")
	case len(m.NICs) == 0:
		return no(".nics", "an instance has at least one interface")
	case len(m.NICs) > maxNICs:
		return no(".nics", "%d; an instance has at most %d", len(m.NICs), maxNICs)
	case len(m.Disks) == 0:
		return no(".disks", "an instance needs a root disk")
	case len(m.Disks) > maxDisks:
		return no(".disks", "%d; an instance has at most %d", len(m.Disks), maxDisks)
	case m.GPUs != nil && !slices.Contains(gpuTypes(), m.GPUs.Type):
		return no(".gpus.type", "labctl knows no machine type with %s; it knows %s", m.GPUs.Type, strings.Join(gpuTypes(), ", "))
	case !fits && o.MachineType != "":
		return no("", "machine_type %s of the target does not hold it: %s", o.MachineType, wants(m))
	case !fits:
		return no("", "no machine type that labctl knows holds it: %s", wants(m))
	case m.Power == lab.Saved && t.gpu != "":
		return no(".power", "instances with GPUs cannot be suspended")
	}
	for _, d := range m.Disks {
		if d.Pool != "" && slices.ContainsFunc(l.Pools, func(p lab.Pool) bool { return p.Name == d.Pool && p.Path != "" }) {
			return no(".disks."+d.Name, "pool %s is a folder of a host", d.Pool)
		}
		if d.Size > 64*lab.TiB {
			return no(".disks."+d.Name, "%s; a disk holds at most 64TiB", d.Size)
		}
	}
	return refuseNICs(l, m, no)
}

// wants is what a machine asks of a machine type.
func wants(m lab.Machine) string {
	text := fmt.Sprintf("%d CPUs, %s of memory, %d interfaces, %s", m.CPUs, m.Memory, len(m.NICs), m.Arch)
	if m.Nested {
		text += ", machines of its own"
	}
	if m.GPUs != nil {
		text += ", " + gpus(m.GPUs)
	}
	return text
}

func refuseNICs(l lab.Lab, m lab.Machine, no func(field, format string, args ...any) error) error {
	if r := m.Routing; r != nil && len(r.DHCP) > 0 {
		return no(".dhcp", "a router's DHCP server hears nobody in a VPC, which has one of its own")
	}
	for _, n := range m.NICs {
		net, ok := l.Network(n.Network)
		at := ".nics." + n.Network
		switch {
		case !ok:
			return no(at, "the lab has no such network")
		case n.Link == lab.Down:
			return no(at+".link", "an instance's cables cannot be pulled")
		case n.MAC != lab.MAC(l.Name, m.Name, n.Network) && !strings.EqualFold(n.MAC, addressMAC(n.Addr)):
			return no(at+".mac", "Compute Engine makes MACs of addresses (42:01 and the four bytes of the address)")
		case !net.CIDR.IsValid():
			continue
		case !n.Addr.IsValid():
			return no(at, "no address is left on network %s", n.Network)
		}
		if why := reserved(net.CIDR, n.Addr); why != "" {
			return no(at+".ip", "%s is %s, which Compute Engine keeps: the first two and the last two of a subnet are taken", n.Addr, why)
		}
	}
	return nil
}

// addressMAC is the MAC of the interface with an address.
func addressMAC(a netip.Addr) string {
	if !a.Is4() {
		return ""
	}
	b := a.As4()
	return fmt.Sprintf("42:01:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3])
}

// reserved says what an address of a subnet is, if it is none for machines.
func reserved(p netip.Prefix, a netip.Addr) string {
	s := spansOf(p)[0]
	switch {
	case !a.Is4() || !p.Contains(a):
		return "not in " + p.String()
	case number(a) == s.from:
		return "the first address of " + p.String()
	case number(a) == s.from+1:
		return "the second address of " + p.String() + ", the VPC's own gateway"
	case number(a) == s.to-1:
		return "the last but one of " + p.String()
	case number(a) == s.to:
		return "the last address of " + p.String()
	}
	return ""
}

// refuseFilter refuses labs whose machines would not let labctl in.
func refuseFilter(l lab.Lab, o options) error {
	if o.Access != accessIAP {
		return nil
	}
	if slices.ContainsFunc(admin(l), iap.Overlaps) && l.Implied != nil {
		return nil
	}
	for _, m := range l.Machines {
		if m.Router || m.Firewall {
			return &provider.Error{Op: "expand", Addr: addr(kindMachine, m.Name), Code: provider.Unsupported, Path: "implied.admin", Text: fmt.Sprintf(
				"implied.admin: on Compute Engine labctl comes from Google's proxy, and the filter of %s would not let it in: say implied: admin: [\"%s\"], or access: \"external\" on the target and where you come from", m.Name, iap)}
		}
	}
	return nil
}

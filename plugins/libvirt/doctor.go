package libvirt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/labctl-dev/labctl/plugins/libvirt/conn"
	"github.com/labctl-dev/labctl/plugins/libvirt/uri"
	"github.com/labctl-dev/labctl/provider"
)

// Doctor implements provider.Doctor.
func (v *virt) Doctor(ctx context.Context) ([]provider.Diagnosis, error) {
	d := doctor{v: v}
	ask := func(f func(*libvirt.Libvirt) error) error { return v.host.Ask(ctx, "examine the host", f) }
	err := ask(d.libvirt)
	if err == nil {
		if d.facts, d.blind = v.askFacts(ctx); d.blind != nil && ctx.Err() == nil {
			d.add("host", provider.Warning, "only what libvirt tells of it is known: "+d.blind.Error(), "use qemu+ssh in the target's uri, which leads to the host itself")
		}
		d.way()
		err = ask(func(c *libvirt.Libvirt) error {
			kept := len(d.found)
			err := d.examine(c)
			if err != nil {
				d.found = d.found[:kept] // it may be asked again
			}
			return err
		})
	}
	if cerr := ended(ctx); cerr != nil {
		return nil, cerr
	}
	if err != nil {
		return []provider.Diagnosis{v.unreachable(err)}, nil
	}
	d.network()
	return d.found, nil
}

// unreachable is all there is to say about a host that does not answer, or not to us.
func (v *virt) unreachable(err error) provider.Diagnosis {
	d := provider.Diagnosis{Name: "libvirt", Status: provider.Broken, Detail: err.Error()}
	there := v.host.URI().There
	var way *uri.Failure
	if errors.As(err, &way) {
		d.Fix = way.Fix
	}
	switch provider.CodeOf(err) {
	case provider.Missing:
		d.Detail = "not installed: there is no program " + d.Detail
	case provider.Denied:
		if d.Fix == "" {
			d.Fix = there("sudo usermod -aG libvirt $USER") + "   # then log in again"
		}
	case provider.Unavailable, provider.NotFound:
		if d.Fix == "" {
			d.Fix = there("sudo systemctl restart libvirtd")
		}
	}
	return d
}

// doctor examines one host.
type doctor struct {
	v     *virt
	facts facts
	blind error // why there are no facts
	found []provider.Diagnosis
}

// add adds a diagnosis. A fix is only for what is not well; it is a command for the host itself.
func (d *doctor) add(name string, status provider.Health, detail, fix string) {
	x := provider.Diagnosis{Name: name, Status: status, Detail: detail}
	if status != provider.Good {
		x.Fix = fix
	}
	d.found = append(d.found, x)
}

// there is a command that is to be run on the host.
func (d *doctor) there(command string) string { return d.v.host.URI().There(command) }

// libvirt is about libvirt itself: which one it is.
func (d *doctor) libvirt(c *libvirt.Libvirt) error {
	d.found = nil
	ver, err := c.ConnectGetLibVersion()
	if err != nil {
		return err
	}
	qemu, err := c.ConnectGetVersion()
	if err != nil {
		return err
	}
	name, err := c.ConnectGetHostname()
	if err != nil {
		return err
	}
	const least = 7_000_000 // 7.0: TCG's cache, routed IPv6 and what else we define need newer ones and are left out there
	if text := fmt.Sprintf("version %s on %s, QEMU %s", dotted(ver), name, dotted(qemu)); ver < least {
		d.add("libvirt", provider.Warning, text+"; tested from 9.0", d.there("sudo apt-get dist-upgrade"))
	} else {
		d.add("libvirt", provider.Good, text, "")
	}
	return nil
}

// way is about the program on another host that leads to its libvirt.
func (d *doctor) way() {
	login := d.v.host.URI().Login()
	if login == "" || d.blind != nil {
		return
	}
	if path := d.facts.programs["virt-ssh-helper"]; path != "" {
		d.add("way", provider.Good, login+", then "+path, "")
	} else {
		d.add("way", provider.Good, login+", then "+d.facts.programs["nc"], "")
	}
}

// examine is about what libvirt tells of its host.
func (d *doctor) examine(c *libvirt.Libvirt) error {
	text, err := c.ConnectGetCapabilities()
	if err != nil {
		return err
	}
	var caps libvirtxml.Caps
	if err := caps.Unmarshal(text); err != nil {
		return err
	}
	d.processor(c, caps)
	if err := d.pools(c); err != nil {
		return err
	}
	return d.bridges(c)
}

// dotted is a version as libvirt counts them: 9000000 is 9.0.0.
func dotted(v uint64) string {
	return fmt.Sprintf("%d.%d.%d", v/1_000_000, v/1000%1000, v%1000)
}

// processor is about KVM, machines in machines, UEFI and the IOMMU.
func (d *doctor) processor(c *libvirt.Libvirt, caps libvirtxml.Caps) {
	arch, amd := "x86_64", caps.Host.CPU != nil && caps.Host.CPU.Vendor == "AMD"
	if caps.Host.CPU != nil && caps.Host.CPU.Arch != "" {
		arch = caps.Host.CPU.Arch
	}
	ask := func(kind string) (libvirtxml.DomainCaps, error) {
		var dc libvirtxml.DomainCaps
		text, err := c.ConnectGetDomainCapabilities(nil, libvirt.OptString{arch}, nil, libvirt.OptString{kind}, 0)
		if err == nil {
			err = dc.Unmarshal(text)
		}
		return dc, err
	}
	dc, err := ask(typeKVM)
	kvm := err == nil
	if !kvm {
		dc, err = ask(typeQEMU)
	}
	if err != nil {
		d.add("accelerator", provider.Broken, "no QEMU for "+arch+": "+err.Error(), d.there("sudo apt-get install -y "+map[bool]string{true: "qemu-system-arm", false: "qemu-system-x86"}[arch == "aarch64"]))
		return
	}
	d.accelerator(kvm)
	d.nested(arch, kvm, amd, dc)
	if slices.ContainsFunc(dc.OS.Enums, func(e libvirtxml.DomainCapsEnum) bool {
		return e.Name == "firmware" && slices.Contains(e.Values, "efi")
	}) {
		d.add("firmware", provider.Good, "BIOS and UEFI", "")
	} else {
		d.add("firmware", provider.Warning, "UEFI is not installed: no machines with firmware \"uefi\"", d.there("sudo apt-get install -y "+map[bool]string{true: "qemu-efi-aarch64", false: "ovmf"}[arch == "aarch64"]))
	}
	if caps.Host.IOMMU != nil && caps.Host.IOMMU.Support == "yes" {
		d.add("IOMMU", provider.Good, "on: machines can have devices of the host", "")
		return
	}
	word := map[bool]string{true: "amd_iommu=on", false: "intel_iommu=on"}[amd]
	d.add("IOMMU", provider.Warning, "off: no machines with devices of the host", d.there(`sudo sed -i 's/^GRUB_CMDLINE_LINUX="/&`+word+` /' /etc/default/grub && sudo update-grub && sudo reboot`)+"   # and switch it on in the host's firmware (VT-d, AMD-Vi)")
}

// accelerator is about KVM. libvirt only looks whether it is there; a guest would tell whether it works.
func (d *doctor) accelerator(kvm bool) {
	try := "; libvirt only knows that it is there: labctl doctor --provider qemu, on that host, tries it with a guest"
	slow := "machines are emulated (correct, but slower)"
	switch {
	case os.Getenv("LABCTL_ACCEL") == "tcg" || d.v.opts.Type == typeQEMU:
		d.add("accelerator", provider.Good, "emulation is asked for", "")
	case kvm:
		d.add("accelerator", provider.Good, "kvm"+try, "")
	case d.facts.kvm:
		d.add("accelerator", provider.Warning, "there is a /dev/kvm, but libvirt cannot use it: "+slow, d.there("sudo systemctl restart libvirtd")+"   # it looks once")
	default:
		d.add("accelerator", provider.Warning, "no KVM: "+slow, d.there("sudo modprobe kvm_intel || sudo modprobe kvm_amd")+"   # and switch virtualisation on in the host's firmware")
	}
}

// nested is about machines in machines.
func (d *doctor) nested(arch string, kvm, amd bool, dc libvirtxml.DomainCaps) {
	module := map[bool]string{true: "kvm_amd", false: "kvm_intel"}[amd]
	switch {
	case arch != "x86_64":
		d.add("nested", provider.Warning, "no machines with nested: true: the host is "+arch, "use a host whose architecture is amd64")
	case !kvm || os.Getenv("LABCTL_ACCEL") == "tcg" || d.v.opts.Type == typeQEMU:
		d.add("nested", provider.Good, "emulated machines can run others", "")
	case nestFeature(dc) != "":
		d.add("nested", provider.Good, "machines can run others, by "+nestFeature(dc), "")
	default:
		d.add("nested", provider.Warning, "KVM keeps the processor's help from machines: none with nested: true",
			d.there("echo options "+module+" nested=1 | sudo tee /etc/modprobe.d/nested.conf && sudo modprobe -r "+module+" && sudo modprobe "+module)+"   # while no machine runs")
	}
}

// bridges is about the bridges that the target's options name.
func (d *doctor) bridges(c *libvirt.Libvirt) error {
	if len(d.v.opts.Bridges) == 0 {
		return nil
	}
	there, known := d.facts.bridges, d.blind == nil
	if !known {
		devices, _, err := c.ConnectListAllNodeDevices(1, uint32(libvirt.ConnectListNodeDevicesCapNet))
		if conn.Is(err, libvirt.ErrNoSupport) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, n := range devices {
			there = append(there, n.Name)
		}
	}
	for _, network := range sortedKeys(d.v.opts.Bridges) {
		name := d.v.opts.Bridges[network]
		if slices.ContainsFunc(there, func(x string) bool { return x == name || !known && isNetDevice(x, name) }) {
			d.add("bridge "+name, provider.Good, "for network "+network, "")
			continue
		}
		d.add("bridge "+name, provider.Broken, "the host has no such bridge, which network "+network+" is to be", d.there("sudo ip link add "+name+" type bridge && sudo ip link set "+name+" up")+"   # and make it last, in the host's own network configuration")
	}
	return nil
}

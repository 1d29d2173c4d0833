package libvirt

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"

	"github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/libvirt/conn"
	"github.com/labctl-dev/labctl/provider"
)

// Doctor implements provider.Doctor.
func (v *virt) Doctor(ctx context.Context) ([]provider.Diagnosis, error) {
	ds := []provider.Diagnosis{}
	err := v.host.Ask(ctx, "examine the host", func(c *libvirt.Libvirt) (err error) {
		ds, err = v.examine(c)
		return err
	})
	if err != nil {
		if cerr := ended(ctx); cerr != nil {
			return nil, cerr
		}
		return []provider.Diagnosis{v.unreachable(err)}, nil
	}
	if v.host.URI().Local() && !v.host.URI().Session() {
		ds = append(ds, dnsmasq(), filtered())
	}
	return ds, nil
}

// unreachable is all there is to say about a host that does not answer, or not to us.
func (v *virt) unreachable(err error) provider.Diagnosis {
	d := provider.Diagnosis{Name: "libvirt", Status: provider.Broken, Detail: err.Error()}
	local := v.host.URI().Local()
	switch provider.CodeOf(err) {
	case provider.Denied:
		d.Fix = "sudo usermod -aG libvirt $USER   # then log in again"
		if !local {
			d.Fix = "ssh " + v.host.URI().Host + " sudo usermod -aG libvirt " + v.host.URI().User
		}
	case provider.Unavailable, provider.NotFound, provider.Missing:
		if local {
			d.Fix = "sudo apt-get install -y libvirt-daemon-system && sudo systemctl enable --now libvirtd"
		}
	}
	return d
}

func (v *virt) examine(c *libvirt.Libvirt) ([]provider.Diagnosis, error) {
	ver, err := c.ConnectGetLibVersion()
	if err != nil {
		return nil, err
	}
	qemu, err := c.ConnectGetVersion()
	if err != nil {
		return nil, err
	}
	name, err := c.ConnectGetHostname()
	if err != nil {
		return nil, err
	}
	d := provider.Diagnosis{Name: "libvirt", Status: provider.Good, Detail: fmt.Sprintf("version %s on %s, QEMU %s", dotted(ver), name, dotted(qemu))}
	const least = 7_000_000 // 7.0: TCG's cache, routed IPv6 and what else we define need newer ones and are left out there
	if ver < least {
		d.Status, d.Detail = provider.Warning, d.Detail+"; tested from 9.0"
	}
	ds := []provider.Diagnosis{d}
	text, err := c.ConnectGetCapabilities()
	if err != nil {
		return nil, err
	}
	var caps libvirtxml.Caps
	if err := caps.Unmarshal(text); err != nil {
		return nil, err
	}
	ds = append(ds, v.accelerators(c, caps)...)
	pools, err := v.poolHealth(c)
	if err != nil {
		return nil, err
	}
	ds = append(ds, pools...)
	bridges, err := v.bridgeHealth(c)
	return append(ds, bridges...), err
}

// dotted is a version as libvirt counts them: 9000000 is 9.0.0.
func dotted(v uint64) string {
	return fmt.Sprintf("%d.%d.%d", v/1_000_000, v/1000%1000, v%1000)
}

// accelerators is about KVM, UEFI and the IOMMU.
func (v *virt) accelerators(c *libvirt.Libvirt, caps libvirtxml.Caps) []provider.Diagnosis {
	arch := "x86_64"
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
	accel := provider.Diagnosis{Name: "accelerator", Status: provider.Good, Detail: "kvm"}
	dc, err := ask(typeKVM)
	if err != nil {
		accel = provider.Diagnosis{Name: "accelerator", Status: provider.Warning, Detail: "no KVM: machines are emulated (correct, but slower)", Fix: "switch on virtualisation in the host's firmware; then: sudo modprobe kvm_intel || sudo modprobe kvm_amd"}
		dc, err = ask(typeQEMU)
	}
	switch {
	case err != nil:
		accel.Status, accel.Detail, accel.Fix = provider.Broken, "no QEMU for "+arch+": "+err.Error(), "sudo apt-get install -y qemu-system-x86"
	case os.Getenv("LABCTL_ACCEL") == "tcg" || v.opts.Type == typeQEMU:
		accel.Detail, accel.Status, accel.Fix = accel.Detail+"; emulation is asked for", provider.Good, ""
	}
	ds := []provider.Diagnosis{accel}
	efi := provider.Diagnosis{Name: "firmware", Status: provider.Good, Detail: "BIOS and UEFI"}
	if err == nil && !slices.ContainsFunc(dc.OS.Enums, func(e libvirtxml.DomainCapsEnum) bool {
		return e.Name == "firmware" && slices.Contains(e.Values, "efi")
	}) {
		efi = provider.Diagnosis{Name: "firmware", Status: provider.Warning, Detail: "UEFI is not installed: no machines with firmware \"uefi\"", Fix: "sudo apt-get install -y ovmf"}
	}
	ds = append(ds, efi)
	iommu := provider.Diagnosis{Name: "IOMMU", Status: provider.Good, Detail: "on"}
	if caps.Host.IOMMU == nil || caps.Host.IOMMU.Support != "yes" {
		iommu.Status, iommu.Detail, iommu.Fix = provider.Warning, "off: no devices of the host in machines", "switch it on in the host's firmware, and intel_iommu=on on its kernel's command line"
	}
	return append(ds, iommu)
}

// Free space in a pool, in bytes: below the first nothing works for long, below the second not much.
const (
	noSpace     = 1 * lab.GiB
	littleSpace = 10 * lab.GiB
)

// poolHealth is about the pools that we made or would adopt.
func (v *virt) poolHealth(c *libvirt.Libvirt) ([]provider.Diagnosis, error) {
	all, _, err := c.ConnectListAllStoragePools(1, 0)
	if err != nil {
		return nil, err
	}
	ds := []provider.Diagnosis{}
	for _, p := range all {
		if !strings.HasPrefix(p.Name, poolPrefix) {
			continue
		}
		s, err := lookPool(c, p)
		if gone(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		d := provider.Diagnosis{Name: "pool " + p.Name, Status: provider.Good}
		_, _, _, free, err := c.StoragePoolGetInfo(p)
		left := lab.Bytes(free)
		switch {
		case err != nil:
			return nil, err
		case !s.active:
			d.Status, d.Detail, d.Fix = provider.Broken, s.path+": it is stopped", "virsh -c "+v.opts.URI+" pool-start "+p.Name
		default:
			d.Detail = fmt.Sprintf("%s: %d GiB free", s.path, left/lab.GiB)
			if left < littleSpace {
				d.Status, d.Fix = provider.Warning, "virsh -c "+v.opts.URI+" vol-list "+p.Name+"   # then vol-delete what is not needed"
			}
			if left < noSpace {
				d.Status = provider.Broken
			}
		}
		ds = append(ds, d)
	}
	if len(ds) == 0 {
		ds = append(ds, provider.Diagnosis{Name: "pools", Status: provider.Good, Detail: "none yet; they will be in " + v.opts.PoolPath})
	}
	return ds, nil
}

// bridgeHealth is about the bridges that the target's options name.
func (v *virt) bridgeHealth(c *libvirt.Libvirt) ([]provider.Diagnosis, error) {
	var ds []provider.Diagnosis
	if len(v.opts.Bridges) == 0 {
		return nil, nil
	}
	devices, _, err := c.ConnectListAllNodeDevices(1, uint32(libvirt.ConnectListNodeDevicesCapNet))
	if conn.Is(err, libvirt.ErrNoSupport) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for network, name := range v.opts.Bridges {
		d := provider.Diagnosis{Name: "bridge " + name, Status: provider.Good, Detail: "for network " + network}
		if !slices.ContainsFunc(devices, func(n libvirt.NodeDevice) bool { return strings.HasPrefix(n.Name, "net_"+name+"_") }) {
			d.Status, d.Detail, d.Fix = provider.Broken, "the host has no such bridge, which network "+network+" is to be", "ip link add "+name+" type bridge   # and make it last, in the host's own network configuration"
		}
		ds = append(ds, d)
	}
	slices.SortFunc(ds, func(a, b provider.Diagnosis) int { return strings.Compare(a.Name, b.Name) })
	return ds, nil
}

// dnsmasq is what libvirt's networks need for addresses and names.
func dnsmasq() provider.Diagnosis {
	for _, dir := range append(strings.Split(os.Getenv("PATH"), ":"), "/usr/sbin", "/sbin") {
		if p, err := exec.LookPath(path.Join(dir, "dnsmasq")); err == nil {
			return provider.Diagnosis{Name: "dnsmasq", Status: provider.Good, Detail: p}
		}
	}
	return provider.Diagnosis{Name: "dnsmasq", Status: provider.Broken, Detail: "not installed: no uplinks with addresses", Fix: "sudo apt-get install -y dnsmasq-base"}
}

// filtered is about a kernel that puts frames between machines of one network through the host's firewall.
func filtered() provider.Diagnosis {
	d := provider.Diagnosis{Name: "bridge filter", Status: provider.Good, Detail: "frames between machines do not pass the host's firewall"}
	if b, err := os.ReadFile("/proc/sys/net/bridge/bridge-nf-call-iptables"); err == nil && strings.TrimSpace(string(b)) == "1" {
		d.Status, d.Detail = provider.Warning, "frames between machines of one network pass the host's firewall, which may drop what routers of the lab forward"
		d.Fix = "sudo sysctl -w net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0"
	}
	return d
}

package libvirt

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"libvirt.org/go/libvirtxml"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/providertest/tiny"
)

// TestBootOrder has a machine ask the network first, where nobody answers: it comes to its disk.
func TestBootOrder(t *testing.T) {
	onHost(t, func(w bench) {
		l := tiny.Idle(w.T, w.v.home, 1)
		m := &l.Machines[0]
		l.Images, m.Image = []lab.Image{tiny.Talker(w.T, w.v.home)}, "talker"
		for _, boot := range [][]lab.Boot{{"network:office", "disk"}, {"disk", "network"}, nil} {
			m.Boot = boot
			w.apply(l)
			w.sees(l, "m0", 0, tiny.Said)
			w.settled(l)
		}
		x := w.d.Virsh("dumpxml", "test-m0", "--inactive")
		nic, _, _ := strings.Cut(x[strings.Index(x, "<interface"):], "</interface>")
		changed := strings.Replace(strings.Replace(x, "<boot order='1'/>", "<boot order='2'/>", 1), nic, nic+"<boot order='1'/>", 1)
		w.define("define", changed)
		if got := w.differs(l); got != "machine/m0 definition" {
			t.Errorf("another hand's order differs in %s", got)
		}
		w.apply(l)
		w.settled(l)
		w.clear(l)
	})
}

// TestNested has a guest look for the processor's help, which emulation has, too.
func TestNested(t *testing.T) {
	onHost(t, func(w bench) {
		l := tiny.Linux(w.T, w.v.home)
		m := &l.Machines[0]
		for _, nested := range []bool{true, false, true} {
			m.Nested = nested
			w.apply(l)
			w.sees(l, "m0", 0, "SEES")
			if nested {
				w.sees(l, "m0", 0, "NESTS")
			}
			w.settled(l)
		}
		w.clear(l)
	})
}

// TestDevices gives a machine devices that the host does not have: libvirt takes the definition while the machine is
// off, and what is read back is what was meant. It is not started.
func TestDevices(t *testing.T) {
	onHost(t, func(w bench) {
		l := tiny.Idle(w.T, w.v.home, 1)
		m := &l.Machines[0]
		m.Devices, m.Power = []string{"0000:65:00.1", "0000:65:00.0"}, lab.Off
		w.apply(l)
		w.settled(l)
		if x := w.d.Virsh("dumpxml", "test-m0"); strings.Count(x, "<hostdev mode='subsystem' type='pci' managed='yes'>") != 2 {
			t.Errorf("libvirt has made of it:\n%s", x)
		}
		m.Devices = m.Devices[:1]
		w.apply(l)
		w.settled(l)
		m.Power = lab.On
		_, err := w.try(w.Context(), l)
		if provider.CodeOf(err) != provider.NotFound || !strings.Contains(err.Error(), "cannot update libvirt.machine/m0: devices: 0000:65:00.1: ") {
			t.Errorf("a device that there is not: %v", err)
		}
		if got := w.differs(l); got != "machine/m0 power" {
			t.Errorf("after the refusal it differs in %s", got)
		}
		// A device that there is, on a host without an IOMMU.
		if there, _ := filepath.Glob("/sys/bus/pci/devices/0000:*"); len(there) > 0 && len(w.d.Virsh("nodedev-list", "pci")) > 0 {
			m.Devices = []string{filepath.Base(there[len(there)-1])}
			if _, err := w.try(w.Context(), l); provider.CodeOf(err) != provider.Unsupported {
				t.Errorf("a device of a host without an IOMMU: %v", err)
			} else {
				t.Log(err)
			}
		}
		m.Devices = nil
		w.apply(l)
		w.settled(l)
		w.clear(l)
	})
}

// TestGives asks for devices of hosts as libvirt describes them.
func TestGives(t *testing.T) {
	device := func(slot, function int, driver, class string, group ...string) string {
		x := fmt.Sprintf("<device><name>pci_0000_65_%02x_%x</name><driver><name>%s</name></driver><capability type='pci'><class>%s</class>"+
			"<domain>0</domain><bus>101</bus><slot>%d</slot><function>%d</function><product id='0x2204'>GA102</product><vendor id='0x10de'>NVIDIA</vendor>", slot, function, driver, class, slot, function)
		if driver == "" {
			x = strings.Replace(x, "<driver><name></name></driver>", "", 1)
		}
		if len(group) > 0 {
			x += "<iommuGroup number='17'>"
			for _, g := range group {
				var s, f int
				fmt.Sscanf(g, "%d.%d", &s, &f)
				x += fmt.Sprintf("<address domain='0x0000' bus='0x65' slot='0x%02x' function='0x%x'/>", s, f)
			}
			x += "</iommuGroup>"
		}
		return x + "</capability></device>"
	}
	const gpu, audio = "0x030000", "0x040300"
	for _, c := range []struct {
		name   string
		host   map[string]string
		users  map[string]deviceUser
		wanted []string
		code   provider.Code
		want   string // the error
	}{
		{"alone in its group", map[string]string{"0.0": device(0, 0, "nouveau", gpu, "0.0")}, nil, []string{"0.0"}, "", ""},
		{"the whole group", map[string]string{"0.0": device(0, 0, "nouveau", gpu, "0.0", "0.1"), "0.1": device(0, 1, "snd_hda_intel", audio, "0.0", "0.1")}, nil, []string{"0.0", "0.1"}, "", ""},
		{"with a bridge and what has no driver", map[string]string{
			"0.0": device(0, 0, "nouveau", gpu, "0.0", "0.1", "1.0", "2.0"), "0.1": device(0, 1, "vfio-pci", audio), "1.0": device(1, 0, "pcieport", "0x060400"), "2.0": device(2, 0, "", audio),
		}, nil, []string{"0.0"}, "", ""},
		{"not there", nil, nil, []string{"0.0"}, provider.NotFound, "devices: 0000:65:00.0: gpuhost has no such device"},
		{"no IOMMU", map[string]string{"0.0": device(0, 0, "nouveau", gpu)}, nil, []string{"0.0"}, provider.Unsupported, "devices: 0000:65:00.0: gpuhost has no IOMMU, or it is off"},
		{"a bridge", map[string]string{"1.0": device(1, 0, "pcieport", "0x060400", "1.0")}, nil, []string{"1.0"}, provider.Unsupported, "devices: 0000:65:01.0: it is a bridge"},
		{"half a group", map[string]string{"0.0": device(0, 0, "nouveau", gpu, "0.0", "0.1", "0.2"), "0.1": device(0, 1, "snd_hda_intel", audio), "0.2": device(0, 2, "xhci_hcd", "0x0c0330")}, nil,
			[]string{"0.0"}, provider.Unsupported, "devices: 0000:65:00.0: it is in one IOMMU group with 0000:65:00.1 (snd_hda_intel), 0000:65:00.2 (xhci_hcd): give"},
		{"another lab's", map[string]string{"0.0": device(0, 0, "vfio-pci", gpu, "0.0")}, map[string]deviceUser{"0000:65:00.0": {"other-web", false}}, []string{"0.0"}, provider.InUse, "domain other-web has it and runs"},
		{"a stranger's", map[string]string{"0.0": device(0, 0, "vfio-pci", gpu, "0.0", "0.1")}, map[string]deviceUser{"0000:65:00.1": {"windows", true}}, []string{"0.0"}, provider.Foreign, "domain windows has 0000:65:00.1, which is in the same IOMMU group, and runs"},
	} {
		h := hostDevices{where: "gpuhost", devices: map[string]pciDevice{}, users: c.users}
		address := func(s string) string { return "0000:65:0" + s }
		for at, text := range c.host {
			var x libvirtxml.NodeDevice
			if err := x.Unmarshal(text); err != nil {
				t.Fatal(err)
			}
			h.devices[address(at)] = pciOfXML(x)
		}
		var wanted []string
		for _, at := range c.wanted {
			wanted = append(wanted, address(at))
		}
		err := h.gives(wanted)
		if provider.CodeOf(err) != c.code || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s %q", c.name, err, c.code, c.want)
		}
	}
}

// TestNestFeature reads what hosts can from libvirt's words.
func TestNestFeature(t *testing.T) {
	const caps = "<domainCapabilities><cpu><mode name='host-passthrough' supported='yes'/><mode name='host-model' supported='yes'><model fallback='forbid'>X</model>%s</mode></cpu></domainCapabilities>"
	for feature, want := range map[string]string{
		"": "", "<feature policy='require' name='vmx'/>": "vmx", "<feature policy='require' name='ss'/><feature policy='require' name='svm'/>": "svm", "<feature policy='disable' name='svm'/>": "",
	} {
		var x libvirtxml.DomainCaps
		if err := x.Unmarshal(fmt.Sprintf(caps, feature)); err != nil {
			t.Fatal(err)
		}
		if got := nestFeature(x); got != want {
			t.Errorf("%s: %q, want %q", feature, got, want)
		}
	}
}

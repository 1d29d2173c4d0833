package libvirt

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"libvirt.org/go/libvirtxml"
)

// seen is a domain read in full, without what a glance leaves out.
func seen(t *testing.T, text string) libvirtxml.Domain {
	t.Helper()
	x, err := full(text)
	if err != nil {
		t.Fatal(err)
	}
	seen := libvirtxml.Domain{
		Type: x.Type, Name: x.Name, UUID: x.UUID, ID: x.ID, Metadata: x.Metadata, Memory: x.Memory, CurrentMemory: x.CurrentMemory, VCPU: x.VCPU,
		SysInfo: x.SysInfo, OS: x.OS, CPU: x.CPU, Devices: &libvirtxml.DomainDeviceList{},
	}
	x.OS.SMBios, x.OS.FirmwareInfo, x.CPU.XMLName.Local, x.CPU.Check, x.CPU.Match = nil, nil, "", "", ""
	if n := x.OS.NVRam; n != nil {
		x.OS.NVRam = &libvirtxml.DomainNVRam{NVRam: n.NVRam, Format: n.Format}
	}
	if l := x.OS.Loader; l != nil {
		x.OS.Loader = &libvirtxml.DomainLoader{Path: l.Path}
	}
	for _, d := range x.Devices.Disks {
		d.XMLName.Local, d.BackingStore, d.Alias, d.Address = "", nil, nil, nil
		seen.Devices.Disks = append(seen.Devices.Disks, d)
	}
	for _, i := range x.Devices.Interfaces {
		i.XMLName.Local, i.Alias, i.Address = "", nil, nil
		seen.Devices.Interfaces = append(seen.Devices.Interfaces, i)
	}
	return seen
}

// TestGlance compares a glance at domains with all that can be read of them.
func TestGlance(t *testing.T) {
	files, err := filepath.Glob("testdata/*.xml")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		if !strings.HasPrefix(text, "<domain") {
			continue
		}
		e, ok := unread.parse(text)
		if !ok {
			t.Errorf("%s: a glance cannot read it", f)
			continue
		}
		g := glancer{}
		got := g.domain(&e)
		if strings.Contains(text, "<hostdev") {
			if !g.lost {
				t.Errorf("%s: a glance overlooks a device of the host", f)
			}
			continue
		}
		if d := cmp.Diff(seen(t, text), got); d != "" || g.lost {
			t.Errorf("%s (-in full +glance), lost: %v\n%s", f, g.lost, d)
		}
		n++
		all, err := full(text)
		if err != nil {
			t.Fatal(err)
		}
		m, _ := domainMark(all)
		k := known{lab: m.Lab, networks: map[string]string{}}
		if d := cmp.Diff(k.machineOfXML(all, m), k.machineOfXML(got, m)); d != "" {
			t.Errorf("%s as a machine (-in full +glance)\n%s", f, d)
		}
	}
	if n < 3 {
		t.Errorf("only %d domains were looked at", n)
	}
}

// TestGlanceInFull is a glance at domains that have what it does not know, or are written otherwise: it is the same
// as all that can be read of them.
func TestGlanceInFull(t *testing.T) {
	b, err := os.ReadFile("testdata/live.xml")
	if err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string][2]string{
		"an unknown device":           {"</devices>", "<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0' bus='1' slot='0' function='0'/></source></hostdev></devices>"},
		"an unknown part of a NIC":    {"<model type='virtio'/>", "<model type='virtio'/><virtualport type='openvswitch'/>"},
		"an unknown part of a disk":   {"<readonly/>", "<readonly/><shareable/>"},
		"an unknown part of the CPU":  {"<feature policy", "<topology sockets='1' cores='1' threads='1'/><feature policy"},
		"more to tell of the machine": {"<system>", "<bios><entry name='vendor'>x</entry></bios><system>"},
		"an unknown way to boot":      {"<smbios", "<bootmenu enable='yes'/><smbios"},
		"an unknown part of a domain": {"<resource>", "<title>x</title><resource>"},
		"another kind of disk":        {"<disk type='file' device='disk'>", "<disk type='volume' device='disk'>"},
		"another kind of NIC":         {"<interface type='network'>", "<interface type='user'>"},
		"a number that is none":       {"id='2'", "id='02x'"},
		"a character reference":       {"<name>bench", "<name>bench&#45;"},
		"a comment":                   {"<devices>", "<!-- <disk> --><devices>"},
		"CDATA":                       {"bench-m00</name>", "<![CDATA[bench]]></name>"},
		"nothing":                     {"<domain", "<!DOCTYPE domain><domain"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(string(b), edit[0], edit[1], 1)
			if text == string(b) {
				t.Fatalf("there is no %q", edit[0])
			}
			want, werr := full(text)
			got, gerr := glance(text)
			if d := cmp.Diff(want, got); d != "" || (werr == nil) != (gerr == nil) {
				t.Errorf("in full: %v, glance: %v\n%s", werr, gerr, d)
			}
		})
	}
	for _, text := range []string{"", "<", "<domain", "<domain>", "<domain></x>", "<domain/>x", "<domain type='x", "</domain>", "<domain><devices></domain>"} {
		want, werr := full(text)
		if got, gerr := glance(text); (werr == nil) != (gerr == nil) || !cmp.Equal(want, got) {
			t.Errorf("%q: in full: %v, glance: %v", text, werr, gerr)
		}
	}
}

// Where UEFI variables are is what a snapshot needs to know of a machine that is off.
func TestGlanceVars(t *testing.T) {
	x, err := glance(`<domain type='qemu'><name>x</name><os firmware='efi'><type arch='x86_64' machine='q35'>hvm</type><nvram template='/t.fd'>/v.fd</nvram></os><devices/></domain>`)
	if err != nil || x.OS.NVRam == nil || x.OS.NVRam.NVRam != "/v.fd" {
		t.Errorf("%+v, %v", x.OS, err)
	}
}

package libvirt

import (
	"encoding/json"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"libvirt.org/go/libvirtxml"

	"github.com/labctl-dev/labctl/internal/goldentest"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// golden compares got with a file, or writes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	goldentest.File(t, filepath.Join("testdata", name), string(got))
}

// sample is a lab with a bit of everything.
func sample() lab.Lab {
	m := lab.Machine{CPUs: 1, Memory: 512 * lab.MiB, Arch: lab.AMD64, Image: "debian", Power: lab.On, Ready: lab.Duration(time.Minute)}
	gate, db, arm := m, m, m
	gate.Name, gate.Router, gate.Firmware, gate.Disks = "gate", true, lab.UEFI, []lab.Disk{{Name: "root", Size: 8 * lab.GiB}}
	gate.NICs = []lab.NIC{{Network: "lan", Link: lab.Up}, {Network: "office", Link: lab.Up}, {Network: "out", Link: lab.Down}}
	gate.Boot, gate.Nested, gate.Devices = []lab.Boot{"network:office", lab.FromDisk}, true, []string{"0000:65:00.1", "0000:65:00.0"}
	gate.Routing = &lab.Routing{DHCP: []string{"office"}}
	db.Name, db.Firmware, db.CPUs, db.Protect = "db", lab.Kernel, 2, true
	db.Disks = []lab.Disk{{Name: "root", Size: 8 * lab.GiB}, {Name: "data", Size: 20 * lab.GiB, Pool: "fast"}}
	db.NICs = []lab.NIC{{Network: "office", Link: lab.Up}, {Network: "store", Link: lab.Up}}
	arm.Name, arm.Arch, arm.Firmware, arm.Image, arm.Power = "arm", lab.ARM64, lab.UEFI, "arm", lab.Off
	arm.Disks = []lab.Disk{{Name: "root", Size: 8 * lab.GiB}}
	arm.NICs = []lab.NIC{{Network: "lan", Link: lab.Up}}
	prefix := netip.MustParsePrefix
	return lab.Complete(lab.Lab{
		Name: "test", Domain: "test.lab", Target: "local",
		Images: []lab.Image{
			{Name: "debian", Arch: lab.AMD64, Kernel: true, URL: "https://example.org/debian.qcow2", Digest: "sha256:" + strings.Repeat("cd", 32), MinDisk: lab.GiB},
			{Name: "arm", Arch: lab.ARM64, URL: "https://example.org/arm.qcow2", Digest: "sha256:" + strings.Repeat("ab", 32), MinDisk: lab.GiB},
		},
		Networks: []lab.Network{
			{Name: "lan", Uplink: true, MTU: 1500}, {Name: "out", Uplink: true, MTU: 1500},
			{Name: "office", CIDR: prefix("10.20.0.0/24"), CIDR6: prefix("fd00:20::/64"), MTU: 1500, DHCP: &lab.Range{From: netip.MustParseAddr("10.20.0.200"), To: netip.MustParseAddr("10.20.0.210")}},
			{Name: "store", CIDR: prefix("10.21.0.0/24"), MTU: 9000, DHCP: &lab.Range{From: netip.MustParseAddr("10.21.0.200"), To: netip.MustParseAddr("10.21.0.210")}},
		},
		Machines: []lab.Machine{gate, db, arm},
		Pools:    []lab.Pool{{Name: "fast", Path: "/srv/fast", Size: 40 * lab.GiB}},
	})
}

func sampleOptions(t *testing.T) options {
	t.Helper()
	t.Setenv("LABCTL_ACCEL", "") // of the tests that run machines
	o, err := parseOptions(map[string]any{"bridges": map[string]any{"out": "br0"}, "max_cpus": 4, "max_memory": "2GiB"})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestExpand(t *testing.T) {
	rs, err := expand(sample(), map[string]lab.Seed{"gate": {Digest: "sha256:1"}, "db": {Digest: "sha256:2"}, "arm": {Digest: "sha256:3"}}, sampleOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.MarshalIndent(rs, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "expand.json", append(b, '\n'))
}

// TestDefinitions shows what libvirt gets; and that what is read back is what was meant.
func TestDefinitions(t *testing.T) {
	l, o := sample(), sampleOptions(t)
	rs, err := expand(l, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for _, n := range l.Networks {
		names[networkName(l.Name, n.Name)] = n.Name
	}
	for _, r := range rs {
		m := mark{Lab: l.Name, Target: "local", Name: r.Addr.Name}
		var text string
		var back any
		switch r.Addr.Kind {
		case kindNetwork:
			var a networkAttrs
			if err := r.Attrs.Decode(&a); err != nil {
				t.Fatal(err)
			}
			x := networkXML(a, m)
			text, err = x.Marshal()
			again := networkOfXML(x, m)
			again.Power, again.Autostart = a.Power, a.Autostart
			back = again
		case kindMachine:
			var a machineAttrs
			if err := r.Attrs.Decode(&a); err != nil {
				t.Fatal(err)
			}
			m.note = note{Protect: a.Protect, Image: a.Image, Kernel: a.Firmware == lab.Kernel}
			d := definition{mark: m, attrs: a, kind: typeKVM, files: map[string]string{}, seed: "/p/" + seedVolume("test", m.Name), log: "/p/" + logVolume("test", m.Name)}
			for _, disk := range a.all() {
				d.files[disk] = "/p/" + diskVolume("test", m.Name, disk)
			}
			if a.Nested {
				d.nest = "vmx"
			}
			if m.Name == "db" {
				d.kind, d.boot = typeQEMU, bootFrom{"/p/" + imageFile(a.Image, "vmlinuz"), "/p/" + imageFile(a.Image, "initrd"), "root=/dev/vda1 console=ttyS0"}
			}
			d.place(libvirtxml.Domain{})
			x := domainXML(d)
			text, err = x.Marshal()
			again := known{lab: "test", networks: names, images: l.Images}.machineOfXML(x, m)
			again.Power, again.Autostart = a.Power, a.Autostart
			back = again
		default:
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		golden(t, r.Addr.Kind+"-"+r.Addr.Name+".xml", []byte(text+"\n"))
		attrs, err := provider.Encode(back)
		if d := cmp.Diff(r.Attrs, attrs); d != "" || err != nil {
			t.Errorf("%s (-desired +read back): %v\n%s", r.Addr, err, d)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*lab.Lab, *options)
		code   provider.Code
		want   string
	}{
		{"no BIOS", func(l *lab.Lab, _ *options) { l.Machines[0].Firmware = lab.BIOS }, provider.Unsupported, "servers.arm.firmware: arm64 machines have no BIOS"},
		{"a router", func(l *lab.Lab, _ *options) { l.Machines[2].Firmware = "pxe" }, provider.Unsupported, "routers.gate.firmware: starting by"},
		{"nested on arm64", func(l *lab.Lab, _ *options) { l.Machines[0].Nested = true }, provider.Unsupported, "servers.arm.nested: only amd64"},
		{"devices for a session", func(l *lab.Lab, o *options) {
			o.session, o.Bridges, l.Networks = true, map[string]string{"lan": "br1", "out": "br0"}, l.Networks[:0]
			l.Machines[2].NICs, l.Machines = nil, l.Machines[2:]
		}, provider.Unsupported, "routers.gate.devices: an ordinary user's libvirt"},
		{"no order of kernels", func(l *lab.Lab, _ *options) { l.Machines[1].Boot = []lab.Boot{lab.FromNetwork} }, provider.Unsupported, "servers.db.boot: with firmware"},
		{"no kernel", func(l *lab.Lab, _ *options) { l.Machines[0].Firmware = lab.Kernel }, provider.Unsupported, "does not offer its kernel"},
		{"no disk", func(l *lab.Lab, _ *options) { l.Machines[1].Disks = nil }, provider.Invalid, "servers.db.disks: a machine needs"},
		{"too many CPUs", func(l *lab.Lab, _ *options) { l.Machines[1].CPUs = 300 }, provider.Unsupported, "servers.db.cpus: 300"},
		{"a pool too small", func(l *lab.Lab, _ *options) { l.Pools[0].Size = lab.GiB }, provider.Invalid, "pools.fast.size: the disks in it come to 20GiB"},
		{"an inner bridge", func(_ *lab.Lab, o *options) { o.Bridges = map[string]string{"office": "br0"} }, provider.Unsupported, "networks.office.uplink"},
		{"a session", func(_ *lab.Lab, o *options) { o.session = true }, provider.Unsupported, "networks.lan: an ordinary user's libvirt"},
		{"no room", func(l *lab.Lab, _ *options) { l.Networks[3].CIDR = netip.MustParsePrefix("10.9.0.0/31") }, provider.Unsupported, "10.9.0.0/31 has no room"},
		{"labctl cut off", func(l *lab.Lab, _ *options) {
			l.Machines[1].Firewall, l.Implied = true, &lab.Implied{Admin: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
		}, provider.Invalid, "implied.admin: the packet filter of db would cut off labctl, which comes from 10.20.0.254"},
		{"an uplink alone", func(l *lab.Lab, _ *options) {
			l.Machines[2].Router, l.Machines[2].Firewall, l.Machines[2].NICs, l.Machines[2].Routing = false, true, l.Machines[2].NICs[:1], nil
		}, provider.Invalid, "or give the uplink a cidr"},
		{"a bridge of the host alone", func(l *lab.Lab, _ *options) {
			l.Machines[2].NICs, l.Machines[2].Routing = l.Machines[2].NICs[2:], nil
		}, provider.Invalid, "the host's own address on br0; name that in implied.admin"},
		{"a range of IPv6", func(l *lab.Lab, _ *options) { l.Networks[3].CIDR = netip.MustParsePrefix("fd00:21::/64") }, provider.Unsupported, "networks.store.dhcp"},
		{"no free uplink", func(l *lab.Lab, o *options) { o.UplinkCIDR = "10.20.0.0/16" }, provider.Invalid, "networks.lan.cidr"},
	} {
		l, o := sample(), sampleOptions(t)
		c.change(&l, &o)
		_, err := expand(l, nil, o)
		if provider.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: code %q, want %q: %v", c.name, provider.CodeOf(err), c.code, err)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		values map[string]any
		want   string // part of the error
	}{
		{map[string]any{"uri": "xen:///"}, "only the drivers qemu and test"},
		{map[string]any{"uri": "qemu:///nowhere"}, "its path is"},
		{map[string]any{"uri": "qemu+ssh://host/session"}, "needs the option pool_path"},
		{map[string]any{"type": "xen"}, "none of auto, kvm, qemu"},
		{map[string]any{"stop": "soon"}, "no duration"},
		{map[string]any{"max_memory": "lots"}, "no size"},
		{map[string]any{"uplink_cidr": "10.0.0.1/24"}, "no IPv4 network"},
		{map[string]any{"pool_path": "here"}, "no absolute path"},
		{map[string]any{"bridges": map[string]any{"a": "br0", "b": "br0"}}, "br0 is both a and b"},
		{map[string]any{"max_cpus": "four"}, "max_cpus"},
	} {
		if _, err := parseOptions(c.values); provider.CodeOf(err) == "" || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.values, err, c.want)
		}
	}
	o, err := parseOptions(map[string]any{"uri": "qemu+ssh://host/session", "pool_path": "/srv/labs/"})
	if err != nil || o.PoolPath != "/srv/labs" {
		t.Errorf("%+v, %v", o, err)
	}
}

// TestPlaces defines a machine again with another NIC first and a disk less: what stays keeps its slot.
func TestPlaces(t *testing.T) {
	slot := func(bus uint) *libvirtxml.DomainAddress {
		return &libvirtxml.DomainAddress{PCI: &libvirtxml.DomainAddressPCI{Bus: &bus}}
	}
	d := definition{mark: mark{Lab: "test", Name: "m"}, attrs: machineAttrs{Root: "root", Disks: []string{"a", "b"}, NICs: []nic{{"lan", "02:00:00:00:00:01", lab.Up, ""}}}, files: map[string]string{"root": "/p/root", "a": "/p/a", "b": "/p/b"}}
	d.place(libvirtxml.Domain{})
	old := domainXML(d)
	old.Devices.Interfaces[0].Address = slot(7)
	old.Devices.Disks[0].Address, old.Devices.Disks[2].Address = slot(1), slot(2)
	d.attrs.NICs, d.attrs.Disks = []nic{{"back", "02:00:00:00:00:02", lab.Up, ""}, {"lan", "02:00:00:00:00:01", lab.Up, ""}}, []string{"aa", "b"}
	d.files["aa"] = "/p/aa"
	d.place(old)
	x := domainXML(d)
	keepPlaces(&x, old)
	if a := x.Devices.Interfaces[0].Address; a != nil {
		t.Errorf("a new NIC has a place: %+v", a)
	}
	if a := x.Devices.Interfaces[1].Address; a == nil || *a.PCI.Bus != 7 {
		t.Errorf("the NIC is at %+v", a)
	}
	if a := x.Devices.Disks[0].Address; a == nil || *a.PCI.Bus != 1 {
		t.Errorf("the root disk is at %+v", a)
	}
	if d.at["b"] != "vdd" || d.at["aa"] != "vdc" {
		t.Errorf("the disks are at %v", d.at)
	}
	if got, least := len(x.Devices.Controllers), len(old.Devices.Controllers); got < least {
		t.Errorf("%d slots, want at least %d", got, least)
	}
}

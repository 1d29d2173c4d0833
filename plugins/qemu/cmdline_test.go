package qemu

import (
	"encoding/json"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/internal/goldentest"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// golden compares with testdata/<name>.
func golden(t *testing.T, name, got string) {
	t.Helper()
	goldentest.File(t, filepath.Join("testdata", name), got)
}

func TestCommandLine(t *testing.T) {
	ds := dirs{data: "/home/me/.labctl/labs/office/targets/local", run: "/run/user/1000/0123456789"}
	d := definition{
		Lab:    "office",
		Target: "local", Machine: "web", Kernel: "/images/1/vmlinuz", Initrd: "/images/1/initrd", Cmdline: "root=/dev/nvme0n1p1 ro",
		Attrs: machineAttrs{
			Arch: lab.AMD64, Firmware: lab.Kernel, CPUs: 2, Memory: 512 * lab.MiB,
			NICs:  []nic{{"lan", "02:00:00:00:00:01", lab.Up}, {"office", "02:00:00:00:00:02", lab.Down}},
			MTU:   map[string]int{"office": 9000},
			Disks: []string{"root", "data"}, Power: "on",
		},
	}
	arm := func(f lab.Firmware) definition {
		a := d
		a.Attrs.Arch, a.Attrs.Firmware = lab.ARM64, f
		a.Attrs.NICs, a.Attrs.MTU, a.Attrs.Disks = a.Attrs.NICs[:1], nil, a.Attrs.Disks[:1]
		return a
	}
	with := func(f lab.Firmware) definition {
		a := d
		a.Attrs.Firmware = f
		return a
	}
	pxe := with(lab.BIOS)
	pxe.Attrs.Boot, pxe.Attrs.Nested = []string{"network:office", "disk"}, true
	apple := arm(lab.UEFI) // installs itself
	apple.Attrs.Boot, apple.Installs, apple.HTTP = []string{"disk", "network:office"}, true, true
	v := version{7, 2}
	for name, c := range map[string]struct {
		d definition
		h host
	}{
		"linux-amd64-tcg-kernel":   {d, host{Version: v, Accel: accelTCG}},
		"linux-amd64-kvm-uefi":     {with(lab.UEFI), host{Version: v, Accel: accelKVM, Code: "/usr/share/OVMF/OVMF_CODE_4M.fd", Vars: "/usr/share/OVMF/OVMF_VARS_4M.fd"}},
		"linux-amd64-tcg-bios":     {with(lab.BIOS), host{Version: v, Accel: accelTCG, CPU: "Nehalem"}},
		"linux-amd64-tcg-network":  {pxe, host{Version: v, Accel: accelTCG, CPU: "Nehalem"}},
		"linux-arm64-tcg-uefi":     {arm(lab.UEFI), host{Version: v, Accel: accelTCG, Code: "/usr/share/AAVMF/AAVMF_CODE.fd", Vars: "/usr/share/AAVMF/AAVMF_VARS.fd"}},
		"darwin-arm64-hvf-uefi":    {arm(lab.UEFI), host{Version: version{9, 2}, Accel: accelHVF, Code: "/opt/homebrew/share/qemu/edk2-aarch64-code.fd", Vars: "/opt/homebrew/share/qemu/edk2-arm-vars.fd"}},
		"darwin-arm64-hvf-install": {apple, host{Version: version{9, 2}, Accel: accelHVF, Code: "/opt/homebrew/share/qemu/edk2-aarch64-code.fd", Vars: "/opt/homebrew/share/qemu/edk2-arm-vars.fd"}},
		"linux-arm64-tcg-kernel":   {arm(lab.Kernel), host{Version: v, Accel: accelTCG}},
	} {
		t.Run(name, func(t *testing.T) {
			golden(t, "cmdline-"+name+".txt", lines(commandLine(c.d, ds, c.h)))
		})
	}
}

// lines is one option to a line.
func lines(args []string) string {
	var b strings.Builder
	for i, a := range args {
		switch {
		case i == 0:
		case strings.HasPrefix(a, "-"):
			b.WriteString("\n")
		default:
			b.WriteString(" ")
		}
		b.WriteString(a)
	}
	return b.String() + "\n"
}

// office is a lab with one of everything.
func office() lab.Lab {
	machine := lab.Machine{CPUs: 1, Memory: 512 * lab.MiB, Arch: lab.AMD64, Firmware: lab.Kernel, Image: "built", Power: lab.On, Disks: []lab.Disk{{Name: "root", Size: 4 * lab.GiB}}}
	db, web := machine, machine
	db.Name, db.NICs = "db", []lab.NIC{{Network: "office", Link: lab.Up}}
	web.Name, web.Firmware, web.Image, web.Protect = "web", lab.UEFI, "cloud", true
	web.NICs = []lab.NIC{{Network: "office", Addr: netip.MustParseAddr("10.20.0.10"), Given: true, Link: lab.Up}, {Network: "lan", Link: lab.Down}}
	web.Disks = append(web.Disks[:1:1], lab.Disk{Name: "www", Size: lab.GiB}, lab.Disk{Name: "data", Size: lab.GiB})
	return lab.Complete(lab.Lab{
		Name: "office", Domain: "office.lab", Target: "local",
		Images: []lab.Image{
			{Name: "built", Arch: lab.AMD64, Kernel: true, MinDisk: lab.GiB, Build: &lab.Build{Distribution: "debian", Release: "bookworm"}},
			{Name: "cloud", Arch: lab.AMD64, MinDisk: lab.GiB, URL: "https://example.org/cloud.qcow2", Digest: "sha256:" + strings.Repeat("ab", 32)},
		},
		Networks: []lab.Network{
			{Name: "lan", Uplink: true, MTU: 1500},
			{Name: "office", CIDR: netip.MustParsePrefix("10.20.0.0/24"), MTU: 9000, DHCP: &lab.Range{From: netip.MustParseAddr("10.20.0.100"), To: netip.MustParseAddr("10.20.0.120")}},
			{Name: "spare", CIDR: netip.MustParsePrefix("10.0.2.0/24"), MTU: 1500},
		},
		Machines: []lab.Machine{db, web},
	})
}

func TestExpand(t *testing.T) {
	rs, err := expand(office(), map[string]lab.Seed{"web": {Digest: "sha256:1"}, "db": {Digest: "sha256:2"}}, options{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.MarshalIndent(rs, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	// What a recipe's digest is, is the image package's business.
	got := strings.ReplaceAll(string(b), image.ID(office().Images[0]), "build:sha256:0")
	golden(t, "expand.json", got+"\n")
}

func TestExpandRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*lab.Lab)
		code   provider.Code
		words  string
	}{
		"pxe":             {func(l *lab.Lab) { l.Machines[0].Firmware = "pxe" }, provider.Unsupported, "servers.db.firmware"},
		"router":          {func(l *lab.Lab) { l.Machines[0].Router, l.Machines[0].Firmware = true, "pxe" }, provider.Unsupported, "routers.db.firmware"},
		"no kernel":       {func(l *lab.Lab) { l.Machines[1].Firmware = lab.Kernel }, provider.Unsupported, "servers.web.firmware"},
		"arm bios":        {func(l *lab.Lab) { l.Machines[0].Arch, l.Machines[0].Firmware = lab.ARM64, lab.BIOS }, provider.Unsupported, "servers.db.firmware"},
		"wrong image":     {func(l *lab.Lab) { l.Machines[0].Arch = lab.ARM64 }, provider.Invalid, "servers.db.image"},
		"no image":        {func(l *lab.Lab) { l.Machines[0].Image = "none" }, provider.Invalid, "servers.db.image"},
		"too many cpus":   {func(l *lab.Lab) { l.Machines[0].CPUs = 300 }, provider.Unsupported, "servers.db.cpus"},
		"nested arm64":    {func(l *lab.Lab) { l.Machines[1].Arch, l.Machines[1].Nested, l.Images[1].Arch = lab.ARM64, true, "" }, provider.Unsupported, "servers.web.nested"},
		"devices":         {func(l *lab.Lab) { l.Machines[0].Devices = []string{"0000:65:00.0"} }, provider.Unsupported, "servers.db.devices: QEMU that an ordinary user runs"},
		"kernel and boot": {func(l *lab.Lab) { l.Machines[0].Boot = []lab.Boot{lab.FromNetwork} }, provider.Unsupported, "servers.db.boot"},
		"odd memory":      {func(l *lab.Lab) { l.Machines[0].Memory++ }, provider.Invalid, "servers.db.memory"},
		"odd disk":        {func(l *lab.Lab) { l.Machines[0].Disks[0].Size++ }, provider.Invalid, "servers.db.disks.root"},
		"unknown network": {func(l *lab.Lab) { l.Machines[0].NICs[0].Network = "none" }, provider.Invalid, "servers.db.nics.none"},
		"uplinks":         {func(l *lab.Lab) { l.Networks[2].CIDR = netip.MustParsePrefix("0.0.0.0/0") }, provider.Invalid, "networks.lan.cidr"},
	} {
		t.Run(name, func(t *testing.T) {
			l := office()
			c.change(&l)
			_, err := expand(l, nil, options{})
			if provider.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.words) {
				t.Errorf("got %q, %v", provider.CodeOf(err), err)
			}
		})
	}
}

func TestOptions(t *testing.T) {
	t.Setenv("LABCTL_ACCEL", "") // of the tests that run machines
	for _, bad := range []map[string]any{{"accel": "xen"}, {"uplink_cidr": "10.0.0.1/24"}, {"uplink_cidr": "x"}, {"stop": "soon"}, {"cpu": 3}} {
		if _, err := open(provider.Options{Home: "/h", Target: "t", Values: bad}); provider.CodeOf(err) != provider.Invalid {
			t.Errorf("%v: %v", bad, err)
		}
	}
	if _, err := open(provider.Options{Home: "relative"}); provider.CodeOf(err) != provider.Invalid {
		t.Errorf("relative home: %v", err)
	}
}

// An emulated machine with one processor could get another, or QEMU leaves out its memory barriers.
func TestProcessors(t *testing.T) {
	for _, c := range []struct {
		accel string
		cpus  int
		want  string
	}{
		{accelTCG, 1, "-smp 1,maxcpus=2,sockets=2,cores=1,threads=1"},
		{accelTCG, 2, "-smp 2,sockets=1,cores=2,threads=1"},
		{accelKVM, 1, "-smp 1,sockets=1,cores=1,threads=1"},
	} {
		var l cmdline
		l.processors(machineAttrs{CPUs: c.cpus}, host{Accel: c.accel})
		if got := strings.Join(l.args, " "); got != c.want {
			t.Errorf("%s with %d: %s, want %s", c.accel, c.cpus, got, c.want)
		}
	}
}

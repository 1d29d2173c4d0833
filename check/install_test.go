package check_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/check"
	"github.com/labctl-dev/labctl/lab"
)

// soundInstalled is a lab with a machine that the host installs, and one that another machine may.
func soundInstalled() lab.Lab {
	machine := func(name string, m lab.Machine) lab.Machine {
		m.Name, m.CPUs, m.Memory, m.Arch, m.Firmware, m.Power, m.Image = name, 1, lab.GiB, lab.AMD64, lab.BIOS, lab.On, "debian"
		m.Disks = []lab.Disk{{Name: "root", Size: 8 * lab.GiB}}
		m.Guest.User = "lab"
		return m
	}
	on := func(network string) []lab.NIC { return []lab.NIC{{Network: network, Link: lab.Up}} }
	return lab.Complete(lab.Lab{
		Name: "i", Domain: "i.lab",
		Networks: []lab.Network{
			{Name: "hosted", CIDR: netip.MustParsePrefix("10.1.0.0/24"), MTU: 1500, Netboot: lab.ByHost},
			{Name: "inside", CIDR: netip.MustParsePrefix("10.2.0.0/24"), MTU: 1500},
		},
		Images: []lab.Image{{Name: "debian", Arch: lab.AMD64, MinDisk: 2 * lab.GiB, Build: &lab.Build{Distribution: "debian", Release: "bookworm"}}},
		Machines: []lab.Machine{
			machine("a", lab.Machine{NICs: on("hosted"), Install: lab.FromNetwork}),
			machine("b", lab.Machine{NICs: on("inside"), Install: lab.FromNetwork}),
			machine("p", lab.Machine{NICs: on("inside"), Roles: []lab.Role{{Name: "provisioner", Installs: true}}}),
		},
	})
}

func TestInstalls(t *testing.T) {
	l := soundInstalled()
	if got := check.Vet(l); got != nil {
		t.Errorf("a sound lab has findings: %v", got)
	}
	want := []lab.Install{
		{Machine: "a", Network: "hosted", MAC: lab.MAC("i", "a", "hosted")},
		{Machine: "b", Network: "inside", MAC: lab.MAC("i", "b", "inside"), Server: "p"},
	}
	if diff := cmp.Diff(want, l.Installs()); diff != "" {
		t.Error(diff)
	}
	a, _ := l.Machine("a")
	if diff := cmp.Diff([]string{"disk", "network:hosted"}, a.Starts()); diff != "" {
		t.Error(diff)
	}
}

func TestVetInstall(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(l *lab.Lab, a, p *lab.Machine)
		want   []string
	}{
		{"nobody", func(l *lab.Lab, a, p *lab.Machine) { l.Networks[0].Netboot, a.Boot = "", nil }, []string{
			`error: servers.a.install: nobody installs a: its network hosted has neither netboot: "host" nor a machine with a role that installs`}},
		{"nobody on a network to start from", func(l *lab.Lab, a, p *lab.Machine) { a.Boot = []lab.Boot{lab.FromDisk} }, []string{
			`error: servers.a.install: nobody installs a: it starts from no network`}},
		{"not itself", func(l *lab.Lab, a, p *lab.Machine) {
			l.Networks[0].Netboot, a.Boot, a.Roles = "", nil, []lab.Role{{Name: "provisioner", Installs: true}}
		}, []string{`error: servers.a.install: nobody installs a: its network hosted has neither netboot: "host" nor a machine with a role that installs`}},
		{"two", func(l *lab.Lab, a, p *lab.Machine) {
			a.Boot, a.NICs = nil, append(a.NICs, lab.NIC{Network: "inside", Link: lab.Up})
		}, []string{`error: servers.a.install: a would be installed by the host on hosted and by p on inside: one is wanted; boot: ["disk", "network:NAME"] names a network`}},
		{"one of two, by name", func(l *lab.Lab, a, p *lab.Machine) {
			a.Boot, a.NICs = []lab.Boot{"disk", "network:inside"}, append(a.NICs, lab.NIC{Network: "inside", Link: lab.Up})
		}, nil},
		{"two on one network", func(l *lab.Lab, a, p *lab.Machine) {
			p.NICs = append(p.NICs, lab.NIC{Network: "hosted", Link: lab.Up})
		}, []string{
			`error: networks.hosted.netboot: the host and p would both answer machines that start from hosted (see servers.p.nics.hosted)`,
			`error: servers.a.install: a would be installed by the host on hosted and by p on hosted: one is wanted; boot: ["disk", "network:NAME"] names a network`}},
		{"a kernel's firmware", func(l *lab.Lab, a, p *lab.Machine) { a.Firmware, l.Images[0].Kernel = lab.Kernel, true }, []string{
			`error: servers.a.firmware: with firmware "kernel" the hypervisor starts the image's kernel, and the disk of a is written by what it starts from the network: use "bios" or "uefi" (see servers.a.install)`}},
		{"no room for the seed", func(l *lab.Lab, a, p *lab.Machine) { a.Disks[0].Size = 2 * lab.GiB }, []string{
			`error: servers.a.disk: 2GiB is too small: image debian needs 2GiB, and the seed that is put beside it 18MiB`}},
		{"IPv6 alone", func(l *lab.Lab, a, p *lab.Machine) { l.Networks[0].CIDR = netip.MustParsePrefix("fd00:1::/64") }, []string{
			`error: networks.hosted.netboot: hosted has IPv6 alone, and machines are given addresses to be installed by DHCP for IPv4`}},
		{"a router's addresses", func(l *lab.Lab, a, p *lab.Machine) {
			p.NICs = append(p.NICs, lab.NIC{Network: "hosted", Link: lab.Up})
			p.Router, p.Roles, p.Routing = true, nil, &lab.Routing{DHCP: []string{"hosted"}}
			l.Networks[1].Netboot = lab.ByHost
		}, []string{`error: networks.hosted.netboot: the host and p would both give addresses on hosted (see routers.p.dhcp)`}},
		{"neither disk nor network", func(l *lab.Lab, a, p *lab.Machine) { a.Install = "floppy" }, []string{
			`error: servers.a.install: "floppy" is neither "disk" nor "network"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := soundInstalled()
			c.change(&l, &l.Machines[0], &l.Machines[2])
			l = lab.Complete(l)
			for i := range l.Networks { // addresses of the other family are not what is tried
				if l.Networks[i].CIDR.Addr().Is6() {
					l.Machines[0].NICs[0].Addr = netip.MustParseAddr("fd00:1::99")
				}
			}
			var got []string
			for _, f := range check.Vet(l) {
				got = append(got, f.String())
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

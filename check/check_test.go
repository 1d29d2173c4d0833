package check_test

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/check"
	"github.com/labctl-dev/labctl/lab"
)

// sound is a lab without findings. Machines are web (lan, office) and db (office).
func sound() lab.Lab {
	return lab.Lab{
		Name: "x", Domain: "x.lab",
		Networks: []lab.Network{
			{Name: "lan", Uplink: true, MTU: 1500},
			{Name: "office", CIDR: netip.MustParsePrefix("10.20.0.0/24"), MTU: 1500,
				DHCP: &lab.Range{From: netip.MustParseAddr("10.20.0.200"), To: netip.MustParseAddr("10.20.0.220")}},
		},
		Machines: []lab.Machine{
			{Name: "db", CPUs: 1, Memory: lab.GiB, Arch: lab.AMD64, Firmware: lab.BIOS, Image: "debian-12", Power: lab.On,
				Disks: []lab.Disk{{Name: "root", Size: 8 * lab.GiB}}, NICs: []lab.NIC{{Network: "office", Link: lab.Up}}},
			{Name: "web", CPUs: 1, Memory: lab.GiB, Arch: lab.AMD64, Firmware: lab.BIOS, Image: "debian-12", Power: lab.On,
				Disks: []lab.Disk{{Name: "root", Size: 8 * lab.GiB}, {Name: "data", Size: lab.GiB}},
				NICs:  []lab.NIC{{Network: "lan", Link: lab.Up}, {Network: "office", Addr: netip.MustParseAddr("10.20.0.10"), Given: true, Link: lab.Up}},
				Guest: lab.Guest{User: "lab", Packages: []string{"nginx"}, Units: []lab.Unit{{Name: "nginx.service", Enabled: true, Running: true}},
					Files:    []lab.File{{Path: "/etc/motd", Text: "hello\n", Mode: "0644"}, {Path: "/etc/key", Secret: "key", Mode: "0600"}},
					Commands: []lab.Command{{Name: "touch", Run: "touch /x", Creates: "/x"}}}},
		},
		Images: []lab.Image{{Name: "debian-12", Arch: lab.AMD64, URL: "https://example.org/x.qcow2",
			Digest: "sha256:" + strings.Repeat("0", 64), MinDisk: 3 * lab.GiB}},
		Targets: []lab.Target{{Name: "local", Provider: "qemu"}},
		Secrets: []lab.Secret{{Name: "key", Generate: 32}},
	}
}

func TestSoundLabHasNoFindings(t *testing.T) {
	if got := check.Vet(lab.Complete(sound())); got != nil {
		t.Errorf("Vet: %v, want nothing", got)
	}
}

const label = ` is not a DNS label (1 to 63 of a-z, 0-9 and "-", neither first nor last a "-")`

func TestVet(t *testing.T) {
	db := func(l *lab.Lab) *lab.Machine { return &l.Machines[0] }
	web := func(l *lab.Lab) *lab.Machine { return &l.Machines[1] }
	ip := func(a string) func(*lab.Lab) {
		return func(l *lab.Lab) { web(l).NICs[1].Addr = netip.MustParseAddr(a) }
	}
	cidr := func(p string) func(*lab.Lab) {
		return func(l *lab.Lab) {
			l.Networks[1].CIDR, l.Networks[1].DHCP, web(l).NICs[1].Addr = netip.MustParsePrefix(p), nil, netip.Addr{}
		}
	}
	text := func(s string) func(*lab.Lab) { return func(l *lab.Lab) { web(l).Guest.Files[0].Text = s } }
	revealed := func(n, what string) []string {
		return []string{`error: servers.web.files."/etc/motd".text: line ` + n + ` has ` + what +
			`, which everybody who reads the spec has then: put it in secrets and let a file take it from there (secret: "NAME")`}
	}
	tests := []struct {
		name   string
		change func(*lab.Lab)
		want   []string
	}{
		// Names.
		{"lab name", func(l *lab.Lab) { l.Name = "My_Lab" }, []string{`error: name: "My_Lab"` + label}},
		{"domain", func(l *lab.Lab) { l.Domain = "x..lab" }, []string{`error: domain: "x..lab" is not a DNS domain: ""` + label}},
		{"long domain", func(l *lab.Lab) { l.Domain = strings.Repeat("a.", 100) + "lab" },
			[]string{`error: domain: the domain has 203 characters; with the name of a machine before it DNS allows 189`}},
		{"machine name", func(l *lab.Lab) { db(l).Name = "db_1" }, []string{`error: servers.db_1: "db_1"` + label}},
		{"machine name with a dot", func(l *lab.Lab) { db(l).Name = "db.1" }, []string{`error: servers."db.1": "db.1"` + label}},
		{"network name", func(l *lab.Lab) { l.Networks[0].Name, web(l).NICs[0].Network = "-lan", "-lan" },
			[]string{`error: networks.-lan: "-lan"` + label}},
		{"disk name", func(l *lab.Lab) { web(l).Disks[1].Name = "a/b" }, []string{`error: servers.web.disks."a/b": "a/b"` + label}},
		{"target name", func(l *lab.Lab) { l.Targets[0].Name = ".." }, []string{`error: targets."..": ".."` + label}},
		{"secret name", func(l *lab.Lab) { l.Secrets = append(l.Secrets, lab.Secret{Name: "../x"}) },
			[]string{`error: secrets."../x": "../x" is not a name for a secret (a-z, 0-9, "-", "_", "." and "/" between names)`}},
		{"two of one name", func(l *lab.Lab) {
			l.Machines = append(l.Machines, *db(l))
			l.Machines[2].Router, l.Machines[2].NICs = true, []lab.NIC{{Network: "lan", Link: lab.Up}, {Network: "office", Link: lab.Up}}
		}, []string{`error: routers.db: there are two machines called "db" (see servers.db)`}},
		{"disk named twice", func(l *lab.Lab) { web(l).Disks[1].Name = "root" },
			[]string{`error: servers.web.disks.root: there are two disks called "root"; "root" is the one made from the image`}},

		// Names of what does not exist.
		{"network", func(l *lab.Lab) { db(l).NICs[0].Network = "ofice" },
			[]string{`error: servers.db.nics.ofice: there is no network called "ofice"; there is lan, office`}},
		{"image", func(l *lab.Lab) { db(l).Image = "debian-21" },
			[]string{`error: servers.db.image: there is no image called "debian-21" for amd64`}},
		{"image of another architecture", func(l *lab.Lab) { db(l).Arch, db(l).Firmware = lab.ARM64, lab.UEFI },
			[]string{`error: servers.db.image: image debian-12 is for amd64, and the machine is arm64`}},
		{"secret", func(l *lab.Lab) { l.Secrets = nil }, []string{`error: servers.web.files."/etc/key".secret: there is no secret called "key"`}},
		{"secret in a text", func(l *lab.Lab) {
			web(l).Guest.Files = []lab.File{{Path: "/a", Text: "@K", Mode: "0644", Fill: map[string]string{"@K": "key"}}}
		}, []string{`error: servers.web.files."/a".mode: mode 0644 lets everybody in the machine at a secret: use "0600", or "0640" with a group`}},
		{"no such secret in a text", func(l *lab.Lab) {
			web(l).Guest.Files = []lab.File{{Path: "/a", Text: "@K", Mode: "0600", Fill: map[string]string{"@K": "kye"}}}
		}, []string{`error: servers.web.files."/a".fill: @K: there is no secret called "kye", did you mean "key"?`}},
		{"nothing to fill", func(l *lab.Lab) {
			web(l).Guest.Files = []lab.File{{Path: "/a", Text: "@L", Mode: "0600", Fill: map[string]string{"@K": "key"}}}
		}, []string{`error: servers.web.files."/a".fill: "@K" does not stand in the text`}},

		// Networks.
		{"host bits", func(l *lab.Lab) { l.Networks[1].CIDR = netip.MustParsePrefix("10.20.0.7/24") },
			[]string{`error: networks.office.cidr: 10.20.0.7/24 has host bits set: the network is 10.20.0.0/24`}},
		{"no cidr", func(l *lab.Lab) { l.Networks[0].Uplink = false }, []string{`error: networks.lan.cidr: a network needs a cidr unless it is an uplink`}},
		{"no room", cidr("10.20.0.0/31"), []string{`error: networks.office.cidr: 10.20.0.0/31 has no room for machines`,
			`error: servers.db.nics.office: no address is left in 10.20.0.0/31`, `error: servers.web.nics.office: no address is left in 10.20.0.0/31`}},
		{"no address left", cidr("10.20.0.0/29"), []string{}},
		{"full", func(l *lab.Lab) {
			cidr("10.20.0.0/29")(l)
			for _, n := range []string{"a", "b", "c"} {
				m := *db(l)
				m.Name, m.NICs = n, []lab.NIC{{Network: "office", Link: lab.Up}}
				l.Machines = append(l.Machines, m)
			}
		}, []string{`error: servers.web.nics.office: no address is left in 10.20.0.0/29`}},
		{"multicast", cidr("224.1.0.0/16"), []string{`error: networks.office.cidr: 224.1.0.0/16 is not for machines: it is multicast, loopback or reserved`}},
		{"mtu of IPv6", func(l *lab.Lab) { cidr("fd00::/64")(l); l.Networks[1].MTU = 576 },
			[]string{`error: networks.office.mtu: IPv6 needs an MTU of at least 1280 bytes, not 576`}},
		{"overlap", func(l *lab.Lab) { l.Networks[0].CIDR = netip.MustParsePrefix("10.0.0.0/8") },
			[]string{`error: networks.office.cidr: 10.20.0.0/24 overlaps 10.0.0.0/8 of network lan (see networks.lan.cidr)`}},
		{"unused network", func(l *lab.Lab) {
			l.Networks = append(l.Networks, lab.Network{Name: "spare", CIDR: netip.MustParsePrefix("10.21.0.0/24"), MTU: 1500})
		}, []string{`warning: networks.spare: no machine uses this network`}},

		// DHCP.
		{"range outside", func(l *lab.Lab) { l.Networks[1].DHCP.To = netip.MustParseAddr("10.20.1.3") },
			[]string{`error: networks.office.dhcp.to: 10.20.1.3 is outside the network 10.20.0.0/24`}},
		{"range backwards", func(l *lab.Lab) { l.Networks[1].DHCP.To = netip.MustParseAddr("10.20.0.3") },
			[]string{`error: networks.office.dhcp: the range ends at 10.20.0.3 before it begins at 10.20.0.200`}},
		{"range with the door", func(l *lab.Lab) { l.Networks[1].DHCP.To = netip.MustParseAddr("10.20.0.255") },
			[]string{`error: networks.office.dhcp: the range holds 10.20.0.254, kept free for labctl's own way in`,
				`error: networks.office.dhcp: the range holds 10.20.0.255, the broadcast address`}},
		{"range without cidr", func(l *lab.Lab) { l.Networks[0].DHCP = l.Networks[1].DHCP },
			[]string{`error: networks.lan.dhcp: a DHCP range needs a network with a cidr`}},

		// Addresses.
		{"outside", ip("10.21.0.1"), []string{`error: servers.web.nics.office.ip: 10.21.0.1 is outside the network 10.20.0.0/24`}},
		{"network address", ip("10.20.0.0"), []string{`error: servers.web.nics.office.ip: 10.20.0.0 is the address of the network itself`}},
		{"broadcast", ip("10.20.0.255"), []string{`error: servers.web.nics.office.ip: 10.20.0.255 is the broadcast address`}},
		{"door", ip("10.20.0.254"), []string{`error: servers.web.nics.office.ip: 10.20.0.254 is kept free for labctl's own way in`}},
		{"in the DHCP range", ip("10.20.0.210"),
			[]string{`error: servers.web.nics.office.ip: 10.20.0.210 is in the DHCP range 10.20.0.200 to 10.20.0.220 (see networks.office.dhcp)`}},
		{"gateway of an uplink", func(l *lab.Lab) {
			l.Networks[0].CIDR = netip.MustParsePrefix("10.9.0.0/24")
			web(l).NICs[0].Addr = netip.MustParseAddr("10.9.0.1")
		}, []string{`error: servers.web.nics.lan.ip: 10.9.0.1 is the gateway of the uplink`}},
		{"first address of a network of its own", ip("10.20.0.1"), []string{}},
		{"taken twice", func(l *lab.Lab) { db(l).NICs[0].Addr = netip.MustParseAddr("10.20.0.10") },
			[]string{`error: servers.web.nics.office.ip: 10.20.0.10 is taken already (see servers.db.nics.office.ip)`}},
		{"address without cidr", func(l *lab.Lab) { web(l).NICs[0].Addr = netip.MustParseAddr("10.1.1.1") },
			[]string{`error: servers.web.nics.lan.ip: network lan has no cidr, so its addresses cannot be given`}},

		// MACs.
		{"MAC twice", func(l *lab.Lab) { db(l).NICs[0].MAC, web(l).NICs[0].MAC = "02:00:00:00:00:0A", "02:00:00:00:00:0a" },
			[]string{`error: servers.web.nics.lan.mac: 02:00:00:00:00:0a is the MAC of another interface too (see servers.db.nics.office.mac)`}},
		{"DUID twice", func(l *lab.Lab) {
			l.Networks[1].CIDR6 = netip.MustParsePrefix("fd00:7::/64")
			for k, m := range []*lab.Machine{db(l), web(l)} {
				i := slices.IndexFunc(m.NICs, func(n lab.NIC) bool { return n.Network == l.Networks[1].Name })
				m.NICs[i].DUID, m.NICs[i].Addr6 = "00:03:00:01:02:00:00:00:00:0a", netip.AddrFrom16([16]byte{0: 0xfd, 3: 7, 15: byte(10 + k)})
			}
		}, []string{`error: servers.web.nics.office.duid: 00:03:00:01:02:00:00:00:00:0a is the DUID of another machine on network office too (see servers.db.nics.office.duid)`}},
		{"DUID without IPv6", func(l *lab.Lab) { db(l).NICs[0].DUID = "00:03:00:01:02:00:00:00:00:0a" },
			[]string{`error: servers.db.nics.office.duid: network office has no IPv6 addresses to ask for`}},
		{"multicast MAC", func(l *lab.Lab) { db(l).NICs[0].MAC = "03:00:00:00:00:01" },
			[]string{`error: servers.db.nics.office.mac: 03:00:00:00:00:01 is a multicast MAC address, and an interface needs one of its own (even first byte)`}},
		{"zero MAC", func(l *lab.Lab) { db(l).NICs[0].MAC = "00:00:00:00:00:00" },
			[]string{`error: servers.db.nics.office.mac: 00:00:00:00:00:00 is no interface's MAC address`}},

		// Machines.
		{"memory", func(l *lab.Lab) { db(l).Memory = 64 * lab.MiB },
			[]string{`error: servers.db.memory: 64MiB is too little to start in: give it 128MiB or more`}},
		{"disk", func(l *lab.Lab) { db(l).Disks[0].Size = 2 * lab.GiB },
			[]string{`error: servers.db.disk: 2GiB is smaller than image debian-12, which needs 3GiB`}},
		{"disk of no size", func(l *lab.Lab) { web(l).Disks[1].Size = 0 }, []string{`error: servers.web.disks.data: a disk of no size`}},
		{"firmware", func(l *lab.Lab) { db(l).Firmware = lab.Kernel },
			[]string{`error: servers.db.firmware: image debian-12 does not offer its kernel: use "bios" or "uefi"`}},
		{"no nics", func(l *lab.Lab) { db(l).NICs = nil },
			[]string{`warning: servers.db: the machine has no nics, so nothing can reach it, labctl included`}},
		{"two uplinks", func(l *lab.Lab) {
			l.Networks = append(l.Networks, lab.Network{Name: "wan", Uplink: true, MTU: 1500})
			web(l).NICs = append(web(l).NICs, lab.NIC{Network: "wan", Link: lab.Up})
		}, []string{`warning: servers.web.nics: the machine is on 2 uplinks (lan, wan): its default route leads over the first`}},

		// Images.
		{"scheme", func(l *lab.Lab) { l.Images[0].URL = "example.org/x.qcow2" },
			[]string{`error: images.debian-12.url: "example.org/x.qcow2" is not a URL that begins with http://, https://, file://`}},
		{"no digest", func(l *lab.Lab) { l.Images[0].Digest = "" },
			[]string{`error: images.debian-12: an image with a url needs the sha256 or sha512 of what the url serves`}},
		{"short digest", func(l *lab.Lab) { l.Images[0].Digest = "sha512:" + strings.Repeat("0", 64) },
			[]string{`error: images.debian-12.sha512: a sha512 digest is 128 hex digits, not 64 characters`}},

		// Inside.
		{"relative path", func(l *lab.Lab) { web(l).Guest.Files[0].Path = "etc/motd" },
			[]string{`error: servers.web.files."etc/motd": "etc/motd" is not an absolute path`}},
		{"path of a folder", func(l *lab.Lab) { web(l).Guest.Files[0].Path = "/etc/../motd" },
			[]string{`error: servers.web.files."/etc/../motd": "/etc/../motd" is not the plain path of a file`}},
		{"ours", func(l *lab.Lab) { web(l).Guest.Files[0].Path = "/etc/labctl/guest.json" },
			[]string{`error: servers.web.files."/etc/labctl/guest.json": /etc/labctl belongs to labctl itself`}},
		{"the lab's own hosts", func(l *lab.Lab) { web(l).Guest.Files[0].Path = "/etc/hosts" },
			[]string{`error: servers.web.files."/etc/hosts": /etc/hosts belongs to labctl itself`}},
		{"ours by name", func(l *lab.Lab) { web(l).Guest.Files[0].Path = "/etc/sysctl.d/90-labctl.conf" },
			[]string{`error: servers.web.files."/etc/sysctl.d/90-labctl.conf": files of this name belong to labctl itself`}},
		{"mode", func(l *lab.Lab) { web(l).Guest.Files[0].Mode = "rw" },
			[]string{`error: servers.web.files."/etc/motd".mode: "rw" is not an octal mode such as "0644"`}},
		{"open secret", func(l *lab.Lab) { web(l).Guest.Files[1].Mode = "0644" },
			[]string{`error: servers.web.files."/etc/key".mode: mode 0644 lets everybody in the machine at a secret: use "0600", or "0640" with a group`}},
		{"package", func(l *lab.Lab) { web(l).Guest.Packages = []string{"--purge"} },
			[]string{`error: servers.web.packages: "--purge" is not the name of a package`}},
		{"unit", func(l *lab.Lab) { web(l).Guest.Units[0].Name = "nginx" },
			[]string{`error: servers.web.units.nginx: "nginx" is not the full name of a systemd unit such as "nginx.service"`}},
		{"creates", func(l *lab.Lab) { web(l).Guest.Commands[0].Creates = "x" },
			[]string{`error: servers.web.commands.touch.creates: "x" is not an absolute path`}},

		// Hardware.
		{"boot", func(l *lab.Lab) { web(l).Boot = []lab.Boot{"network:office", lab.FromDisk, lab.FromNetwork} }, []string{}},
		{"boot nowhere", func(l *lab.Lab) {
			web(l).Boot = []lab.Boot{"network:ofice", "cd", lab.FromNetwork, "network:lan"}
			db(l).NICs, db(l).Boot = nil, []lab.Boot{lab.FromNetwork}
		}, []string{
			`warning: servers.db: the machine has no nics, so nothing can reach it, labctl included`,
			`error: servers.db.boot.0: the machine has no nics to start from`,
			`error: servers.web.boot.0: the machine has no interface on network "ofice", did you mean "office"?`,
			`error: servers.web.boot.1: "cd" is neither "disk" nor "network", alone or with the name of a network: "network:NAME"`,
			`error: servers.web.boot.3: network:lan stands in it twice (see servers.web.boot.2)`,
		}},
		{"boot by kernel", func(l *lab.Lab) {
			l.Images[0].Kernel = true
			web(l).Firmware, web(l).Boot = lab.Kernel, []lab.Boot{lab.FromDisk, lab.FromNetwork}
			db(l).Firmware, db(l).Boot = lab.Kernel, []lab.Boot{lab.FromDisk}
		}, []string{
			`error: servers.web.boot: with firmware "kernel" the hypervisor starts the image's kernel, which asks for no order: use "bios" or "uefi" (see servers.web.firmware)`,
		}},
		{"devices", func(l *lab.Lab) {
			web(l).Devices = []string{"0000:65:00.0", "0000:66:00.1"}
			db(l).Devices = []string{"0000:66:00.1", "66:00.0"}
		}, []string{
			`error: servers.db.devices.1: "66:00.0" is not a PCI device such as "0000:65:00.0", as lspci -D prints it`,
			`error: servers.web.devices.1: device 0000:66:00.1 is given to a machine already (see servers.db.devices.0)`,
		}},
		{"nested", func(l *lab.Lab) {
			web(l).Nested, db(l).Nested = true, true
			l.Images = append(l.Images, lab.Image{Name: "arm", Arch: lab.ARM64, URL: l.Images[0].URL, Digest: l.Images[0].Digest})
			db(l).Arch, db(l).Image, db(l).Firmware = lab.ARM64, "arm", lab.UEFI
		}, []string{`error: servers.db.nested: arm64 machines cannot run machines of their own: only amd64 can`}},

		// Secrets in the spec.
		{"PEM", text("# key\n-----BEGIN OPENSSH PRIVATE KEY-----\n"), revealed("2", "a private key")},
		{"certificate", text("-----BEGIN CERTIFICATE-----\n"), []string{}},
		{"public key", text("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== me\n"), []string{}},
		{"hash", text("root:$6$rounds=5000$abcdefgh$0123456789abcdef:1::\n"), revealed("1", "the hash of a password")},
		{"yescrypt", text("chpasswd: $y$j9T$abcdefghijklmnopq$xyz\n"), revealed("1", "the hash of a password")},
		{"YAML", text("user: x\n  db_password: hunter2\n"), revealed("2", "a password")},
		{"INI", text("MYSQL_ROOT_PASSWORD=hunter2\n"), revealed("1", "a password")},
		{"JSON", text(`{"passwd": "hunter2"}`), revealed("1", "a password")},
		{"reference", text("password: $DB_PASSWORD\npassword=/run/secret\npassword: {{ x }}\n"), []string{}},
		{"nsswitch", text("passwd:         files systemd\nPasswordAuthentication no\n"), []string{}},
		{"command", func(l *lab.Lab) { web(l).Guest.Commands[0].Run = "x --password=hunter2" },
			[]string{strings.Replace(revealed("1", "a password")[0], `files."/etc/motd".text`, "commands.touch.run", 1)}},
		{"option", func(l *lab.Lab) {
			l.Targets[0].Options = json.RawMessage(`{"auth":{"api_password":"hunter2"},"passwordless":"yes"}`)
		},
			[]string{`error: targets.local.auth.api_password: a secret stands in the spec: everybody who reads it has it`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := sound()
			tt.change(&l)
			got := []string{}
			for _, f := range check.Vet(lab.Complete(l)) {
				got = append(got, f.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

package qemu

import (
	"errors"
	"io/fs"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// TestVMNet has networks of a lab be macOS' own, and others that cannot.
func TestVMNet(t *testing.T) {
	p := netip.MustParsePrefix
	base := func() lab.Lab {
		return lab.Complete(lab.Lab{Name: "mac", Domain: "mac.lab", Target: "local", Networks: []lab.Network{
			{Name: "lan", CIDR: p("192.168.106.0/24"), MTU: 1500}, {Name: "out", CIDR: p("192.168.105.0/24"), Uplink: true, MTU: 1500}}})
	}
	for _, c := range []struct {
		name   string
		option map[string]any
		change func(*lab.Lab)
		fails  string
	}{
		{name: "both", option: map[string]any{"out": "shared", "lan": "host"}},
		{name: "bridged", option: map[string]any{"out": "bridged:en0"}},
		{name: "a socket", option: map[string]any{"out": "/var/run/socket_vmnet", "lan": "/tmp/x"}},
		{name: "word", option: map[string]any{"out": "nat"}, fails: `vmnet: out: "nat" is none of`},
		{name: "no such network", option: map[string]any{"attic": "shared"}, fails: `the lab has no network "attic"`},
		{name: "inside", option: map[string]any{"lan": "shared"}, fails: `networks.lan.uplink: with vmnet "shared" it leads outside`},
		{name: "outside", option: map[string]any{"out": "host"}, fails: "networks.out.uplink: "},
		{name: "addresses", option: map[string]any{"out": "shared"}, change: func(l *lab.Lab) { l.Networks[1].CIDR = netip.Prefix{} }, fails: "networks.out.cidr: .* must be given: those of 192.168.105.0/24"},
		{name: "IPv6", option: map[string]any{"out": "shared"}, change: func(l *lab.Lab) { l.Networks[1].CIDR6 = p("fd00::/64") }, fails: "networks.out.cidr6: "},
		{name: "frames", option: map[string]any{"lan": "host"}, change: func(l *lab.Lab) { l.Networks[0].MTU = 9000 }, fails: "networks.lan.mtu: "},
		{name: "ranges", option: map[string]any{"lan": "host"}, change: func(l *lab.Lab) { l.Networks[0].DHCP = &lab.Range{} }, fails: "networks.lan.dhcp: "},
		{name: "netboot", option: map[string]any{"lan": "host"}, change: func(l *lab.Lab) { l.Networks[0].Netboot = lab.ByHost }, fails: "networks.lan.netboot: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := base()
			if c.change != nil {
				c.change(&l)
			}
			o, err := parseOptions(map[string]any{"vmnet": c.option})
			var rs []provider.Resource
			if err == nil {
				rs, err = expand(l, nil, o)
			}
			if c.fails != "" {
				before, after, _ := strings.Cut(c.fails, ".*")
				if err == nil || !strings.Contains(err.Error(), before) || !strings.Contains(err.Error(), after) {
					t.Errorf("%v, want %q", err, c.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range rs {
				want, joined := c.option[r.Addr.Name]
				if !joined {
					continue
				}
				if diff := cmp.Diff([]any{want}, r.Attrs["join"]); diff != "" {
					t.Errorf("%s: -want +got:\n%s", r.Addr, diff)
				}
				for _, none := range []string{"uplink", "dhcp", "leases", "records", "host_access"} {
					if v, ok := r.Attrs[none]; ok {
						t.Errorf("%s: macOS gives that: %s %v", r.Addr, none, v)
					}
				}
			}
		})
	}
}

// TestDiagnoseVMNet says what is wrong with sockets, and what mends it.
func TestDiagnoseVMNet(t *testing.T) {
	for _, c := range []struct {
		name, segment string
		there         map[string]error
		status        provider.Health
		detail, fix   string
	}{
		{"labctl's helper", "shared", map[string]error{"/var/run/labctl.vmnet.shared": nil}, provider.Good, "/var/run/labctl.vmnet.shared", ""},
		{"Homebrew's service", "shared", map[string]error{"/opt/homebrew/var/run/socket_vmnet": nil}, provider.Good, "/opt/homebrew/var/run/socket_vmnet", ""},
		{"none", "bridged:en0", nil, provider.Broken, "socket_vmnet does not run; looked for /var/run/labctl.vmnet.bridged.en0, ", "--segment bridged:en0 | sudo sh"},
		{"not ours", "host", map[string]error{"/var/run/labctl.vmnet.host": fs.ErrPermission}, provider.Broken, "/var/run/labctl.vmnet.host is there, and not open to this user", "--segment host"},
		{"dead", "shared", map[string]error{"/var/run/socket_vmnet": errors.New("connection refused")}, provider.Broken, "/var/run/socket_vmnet is there, and nobody answers: connection refused", "install-helper"},
		{"a path", "/tmp/gone", nil, provider.Broken, "looked for /tmp/gone", ""},
	} {
		d := diagnoseSegment(c.segment, provider.Broken, func(path string) error {
			if err, ok := c.there[path]; ok {
				return err
			}
			return fs.ErrNotExist
		})
		if d.Status != c.status || !strings.Contains(d.Detail, c.detail) || !strings.Contains(d.Fix, c.fix) || c.fix == "" && d.Fix != "" {
			t.Errorf("%s: %+v", c.name, d)
		}
	}
}

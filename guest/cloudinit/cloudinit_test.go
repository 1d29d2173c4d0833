package cloudinit_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/labctl-dev/labctl/guest/cloudinit"
	"github.com/labctl-dev/labctl/internal/goldentest"
	"github.com/labctl-dev/labctl/lab"
)

const content = "{\"secret\": \"ä\"}\n"

func input() cloudinit.Input {
	packed, err := cloudinit.Pack([]byte(content))
	if err != nil {
		panic(err)
	}
	return cloudinit.Input{
		Instance: "labctl-demo-web", Hostname: "web", FQDN: "web.demo.lab", User: "lab",
		Authorized:  []string{"ssh-ed25519 AAAA labctl <a&b>"},
		HostPrivate: "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n", HostPublic: "ssh-ed25519 BBBB web",
		Interfaces: []cloudinit.Interface{
			{Name: "lan", MAC: "02:00:00:00:00:01", MTU: 1500, DHCP: true, UseRoutes: true, UseDNS: true, RA: true, Default: true},
			{Name: "office", MAC: "02:00:00:00:00:02", MTU: 9000, Addresses: []netip.Prefix{netip.MustParsePrefix("10.20.0.10/24")}},
			{Name: "side", MAC: "02:00:00:00:00:03", MTU: 1500, DHCP: true},
			{Name: "up", MAC: "02:00:00:00:00:04", MTU: 1500, Default: true, Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.2.9/24")},
				Routes: []lab.Route{{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.0.2.1"), Network: "up"}}, DNS: []netip.Addr{netip.MustParseAddr("10.0.2.1")}},
			{Name: "six", MAC: "02:00:00:00:00:05", MTU: 1500, Default: true, Addresses: []netip.Prefix{netip.MustParsePrefix("fd00::9/64")},
				Routes: []lab.Route{{To: netip.MustParsePrefix("::/0"), Via: netip.MustParseAddr("fd00::1")}}},
			{Name: "lan-of-a-very-long-name", Device: "net-0102030405", MAC: "02:00:00:00:00:06", MTU: 1500, DHCP: true, UseRoutes: true, RA: true, DNS: []netip.Addr{netip.MustParseAddr("10.9.0.1")}},
			{Name: "perimeter", Device: "perimeter", MAC: "02:00:00:00:00:07", MTU: 1500, Addresses: []netip.Prefix{netip.MustParsePrefix("10.8.0.1/24"), netip.MustParsePrefix("fd00:8::1/64")},
				Routes: []lab.Route{{To: netip.MustParsePrefix("10.7.0.0/24"), Via: netip.MustParseAddr("10.8.0.7")}, {To: netip.MustParsePrefix("fd00:7::/64"), Via: netip.MustParseAddr("fd00:8::7")}}},
		},
		Files: []cloudinit.File{{Path: "/etc/labctl/guest.json", Mode: "0600", Content: packed}},
		Run:   []string{"/usr/local/lib/labctl/converge", "--run", "boot"},
	}
}

func TestGolden(t *testing.T) {
	in := input()
	for name, make := range map[string]func() ([]byte, error){
		"user-data":      func() ([]byte, error) { return cloudinit.UserData(in) },
		"meta-data":      func() ([]byte, error) { return cloudinit.MetaData(in) },
		"network-config": func() ([]byte, error) { return cloudinit.NetworkConfig(in.Interfaces) },
	} {
		got, err := make()
		if err != nil {
			t.Fatal(err)
		}
		goldentest.File(t, "testdata/"+name, string(got))
	}
}

func TestContentComesBack(t *testing.T) {
	b, err := cloudinit.UserData(input())
	if err != nil {
		t.Fatal(err)
	}
	head, body, _ := strings.Cut(string(b), "\n")
	var d struct {
		WriteFiles []struct{ Content, Encoding string } `json:"write_files"`
	}
	if err := json.Unmarshal([]byte(body), &d); err != nil || head != "#cloud-config" {
		t.Fatalf("%v, %q", err, head)
	}
	z, err := base64.StdEncoding.DecodeString(d.WriteFiles[0].Content)
	if err != nil {
		t.Fatal(err)
	}
	r, err := gzip.NewReader(bytes.NewReader(z))
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := io.ReadAll(r); string(text) != content {
		t.Errorf("%q", text)
	}
}

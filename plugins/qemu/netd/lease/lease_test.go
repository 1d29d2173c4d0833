package lease

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/labctl-dev/labctl/lab"
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func server() *Server {
	s := new(Server)
	s.Set(config())
	return s
}

func config() Config {
	return Config{
		Server: ip("10.0.0.1"), Subnet: netip.MustParsePrefix("10.0.0.0/24"), Range: &lab.Range{From: ip("10.0.0.100"), To: ip("10.0.0.102")},
		Static: []Static{{MAC: "02:00:00:00:00:01", Addr: ip("10.0.0.101")}}, // within the range, even
	}
}

// message is one of client number n; wish and id may be "".
func message(t *testing.T, n byte, kind dhcpv4.MessageType, wish, id string) *dhcpv4.DHCPv4 {
	t.Helper()
	m, err := dhcpv4.New(dhcpv4.WithHwAddr(net.HardwareAddr{2, 0, 0, 0, 0, n}), dhcpv4.WithMessageType(kind))
	if err != nil {
		t.Fatal(err)
	}
	if wish != "" {
		m.UpdateOption(dhcpv4.OptRequestedIPAddress(ip(wish).AsSlice()))
	}
	if id != "" {
		m.UpdateOption(dhcpv4.OptServerIdentifier(ip(id).AsSlice()))
	}
	return m
}

// TestAnswer is one long story; each step builds on those before.
func TestAnswer(t *testing.T) {
	const (
		discover, request = dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRequest
		release, decline  = dhcpv4.MessageTypeRelease, dhcpv4.MessageTypeDecline
	)
	s := server()
	now := time.Unix(1e9, 0)
	steps := []struct {
		name     string
		client   byte
		kind     dhcpv4.MessageType
		wish, id string
		after    time.Duration
		want     string
	}{
		{name: "known", client: 1, kind: discover, want: "OFFER 10.0.0.101"},
		{name: "known wishes another", client: 1, kind: discover, wish: "10.0.0.100", want: "OFFER 10.0.0.101"},
		{name: "known takes", client: 1, kind: request, wish: "10.0.0.101", id: "10.0.0.1", want: "ACK 10.0.0.101"},
		{name: "known insists on another", client: 1, kind: request, wish: "10.0.0.100", want: "NAK"},
		{name: "stranger", client: 2, kind: discover, want: "OFFER 10.0.0.100"},
		{name: "the same again", client: 2, kind: discover, want: "OFFER 10.0.0.100"},
		{name: "stranger takes", client: 2, kind: request, wish: "10.0.0.100", id: "10.0.0.1", want: "ACK 10.0.0.100"},
		{name: "wishes a known one's", client: 3, kind: discover, wish: "10.0.0.101", want: "OFFER 10.0.0.102"},
		{name: "takes another server's", client: 3, kind: request, wish: "10.9.9.9", id: "10.0.0.2", want: "none"},
		{name: "none left", client: 4, kind: discover, want: "none"},
		{name: "the offer has run out", client: 4, kind: discover, after: 2 * offered, want: "OFFER 10.0.0.102"},
		{name: "release", client: 2, kind: release, want: "none"},
		{name: "free again", client: 5, kind: discover, want: "OFFER 10.0.0.100"},
		{name: "in use, it says", client: 5, kind: decline, wish: "10.0.0.100", want: "none"},
		{name: "it rests", client: 5, kind: discover, want: "none"},
		{name: "it has rested", client: 5, kind: discover, after: declined, want: "OFFER 10.0.0.100"},
		{name: "after a restart of ours, remembered by the client", client: 6, kind: request, wish: "10.0.0.102", after: Time, want: "ACK 10.0.0.102"},
		{name: "of another network", client: 7, kind: request, wish: "192.168.1.5", want: "NAK"},
	}
	for _, st := range steps {
		now = now.Add(st.after)
		got := "none"
		if r := s.Answer(message(t, st.client, st.kind, st.wish, st.id), now); r != nil {
			got = r.MessageType().String()
			if !r.YourIPAddr.IsUnspecified() {
				got += fmt.Sprint(" ", r.YourIPAddr)
			}
		}
		if got != st.want {
			t.Errorf("%s: %s, want %s", st.name, got, st.want)
		}
	}
}

func TestWithoutRange(t *testing.T) {
	c := config()
	c.Range = nil
	s := new(Server)
	if s.Answer(message(t, 1, dhcpv4.MessageTypeDiscover, "", ""), time.Now()) != nil {
		t.Error("a server without configuration answers")
	}
	s.Set(c)
	if s.Answer(message(t, 2, dhcpv4.MessageTypeDiscover, "", ""), time.Now()) != nil {
		t.Error("a stranger is answered")
	}
	if s.Answer(message(t, 1, dhcpv4.MessageTypeDiscover, "", ""), time.Now()) == nil {
		t.Error("a known one is not answered")
	}
}

// TestSetForgets checks that an address that was given lasts over a change, unless it is somebody else's then.
func TestSetForgets(t *testing.T) {
	s := server()
	for n, wish := range map[byte]string{2: "10.0.0.100", 3: "10.0.0.102", 1: "10.0.0.101"} {
		if s.Answer(message(t, n, dhcpv4.MessageTypeRequest, wish, ""), time.Now()).MessageType() != dhcpv4.MessageTypeAck {
			t.Fatal(wish)
		}
	}
	c := config()
	c.Static[0].Addr = ip("10.0.0.50")
	c.Range.To = ip("10.0.0.101")
	s.Set(c)
	if got := s.Leases(); len(got) != 1 || got[0].Addr != ip("10.0.0.100") {
		t.Errorf("%v", got)
	}
}

func FuzzAnswer(f *testing.F) {
	s := server()
	f.Add(message(new(testing.T), 1, dhcpv4.MessageTypeDiscover, "10.0.0.5", "").ToBytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := dhcpv4.FromBytes(b); err == nil {
			if r := s.Answer(m, time.Now()); r != nil {
				_ = r.ToBytes()
			}
		}
	})
}

// TestBoots is what each kind of client is told to start.
func TestBoots(t *testing.T) {
	c := config()
	c.Script, c.IPXE = "http://10.0.0.1/boot.ipxe", "http://10.0.0.1/ipxe/arm64.efi"
	s := new(Server)
	s.Set(c)
	for name, want := range map[string]struct {
		class, user, file, answers string
	}{
		"a system":             {},
		"iPXE":                 {class: "PXEClient:Arch:00011:UNDI:003010", user: "iPXE", file: c.Script},
		"arm64 by HTTP":        {class: "HTTPClient:Arch:00019:UNDI:003001", file: c.IPXE, answers: "HTTPClient"},
		"arm64 by TFTP":        {class: "PXEClient:Arch:00011:UNDI:003001"},
		"x86 by HTTP":          {class: "HTTPClient:Arch:00016:UNDI:003001"},
		"iPXE that was got so": {class: "HTTPClient:Arch:00019:UNDI:003010", user: "iPXE", file: c.Script},
	} {
		m := message(t, 1, dhcpv4.MessageTypeDiscover, "", "")
		if want.class != "" {
			m.UpdateOption(dhcpv4.OptClassIdentifier(want.class))
		}
		if want.user != "" {
			m.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionUserClassInformation, []byte(want.user)))
		}
		r := s.Answer(m, time.Unix(1e9, 0))
		if r == nil || r.BootFileNameOption() != want.file || r.ClassIdentifier() != want.answers {
			t.Errorf("%s is told %v", name, r)
		}
	}
}

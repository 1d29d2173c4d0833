package zone

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func TestAnswer(t *testing.T) {
	a := netip.MustParseAddr
	records := []Record{{"web", a("10.0.0.10")}, {"web", a("10.1.0.10")}, {"web", a("fd00::10")}, {"db", a("10.0.0.11")}}
	up := func(q *dns.Msg) (*dns.Msg, error) {
		if q.Question[0].Name == "broken.example." {
			return nil, errors.New("broken")
		}
		m := new(dns.Msg).SetReply(q)
		m.Id = 99
		m.Answer = []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{"upstream"}}}
		return m, nil
	}
	tests := []struct {
		name     string
		kind     uint16
		upstream bool
		want     string
	}{
		{"web.", dns.TypeA, false, "NOERROR 10.0.0.10 10.1.0.10"},
		{"Web.Quickstart.LAB.", dns.TypeA, false, "NOERROR 10.0.0.10 10.1.0.10"},
		{"web.quickstart.lab.", dns.TypeAAAA, false, "NOERROR fd00::10"},
		{"db.", dns.TypeAAAA, true, "NOERROR"},
		{"db.", dns.TypeMX, true, "NOERROR"},
		{"11.0.0.10.in-addr.arpa.", dns.TypePTR, true, "NOERROR db.quickstart.lab."},
		{"12.0.0.10.in-addr.arpa.", dns.TypePTR, true, "NOERROR \"upstream\""},
		{"nobody.quickstart.lab.", dns.TypeA, true, "NXDOMAIN"},
		{"nobody.", dns.TypeA, true, "NXDOMAIN"},
		{"example.org.", dns.TypeA, false, "REFUSED"},
		{"example.org.", dns.TypeTXT, true, "NOERROR \"upstream\""},
		{"broken.example.", dns.TypeA, true, "SERVFAIL"},
	}
	for _, tt := range tests {
		c := Config{Records: records, Domain: "quickstart.lab"}
		if tt.upstream {
			c.Upstream = up
		}
		var s Server
		s.Set(c)
		q := new(dns.Msg).SetQuestion(tt.name, tt.kind)
		if got := show(q, s.Answer(q)); got != tt.want {
			t.Errorf("%s %s: %q, want %q", tt.name, dns.TypeToString[tt.kind], got, tt.want)
		}
	}
}

// show is a reply's code and data.
func show(q, m *dns.Msg) string {
	if m.Id != q.Id || !m.Response {
		return "no reply to this question"
	}
	out := []string{dns.RcodeToString[m.Rcode]}
	for _, rr := range m.Answer {
		out = append(out, strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	return strings.Join(out, " ")
}

// listen listens on one port for both protocols.
func listen(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 100 {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if l, err := net.Listen("tcp", pc.LocalAddr().String()); err == nil {
			return pc, l
		}
		pc.Close()
	}
	t.Fatal("no port is free for TCP and UDP")
	return nil, nil
}

// TestHost asks resolvers of which the first is not there.
func TestHost(t *testing.T) {
	pc, l := listen(t)
	var s Server
	var many []Record
	for i := range 200 { // too much for a datagram: asked again by TCP
		many = append(many, Record{"many", netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})})
	}
	s.Set(Config{Records: many})
	wait := s.Serve(pc, l)
	defer wait()
	defer l.Close()
	defer pc.Close()
	_, port, _ := net.SplitHostPort(pc.LocalAddr().String())
	h := NewHost(filepath.Join(t.TempDir(), "none"))
	if len(h.known()) != 0 {
		t.Error("servers out of no file")
	}
	path := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(path, []byte("nameserver 127.0.0.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h = NewHost(path)
	if got := h.known(); len(got) != 1 || got[0] != "127.0.0.1:53" {
		t.Fatalf("servers %v", got)
	}
	h.servers = []string{"127.0.0.1:1", "127.0.0.1:" + port}
	m, err := h.Ask(context.Background(), new(dns.Msg).SetQuestion("many.", dns.TypeA))
	if err != nil || len(m.Answer) != 200 {
		t.Errorf("%v, %v", m, err)
	}
}

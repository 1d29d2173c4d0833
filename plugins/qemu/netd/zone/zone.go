// Package zone is the DNS server of a network: it knows the lab's machines, and asks the host's resolver for
// everything else where it may.
//
// It must not know QEMU, the switch, or how packets reach it.
package zone

import (
	"net"
	"net/netip"
	"strings"
	"sync/atomic"

	"github.com/miekg/dns"
)

// ttl of the lab's own records in seconds; short, because an apply may move a machine.
const ttl = 10

// Record is a machine's name and one of its addresses; several records of one name are several addresses.
type Record struct {
	Name string     `json:"name"` // without the domain
	Addr netip.Addr `json:"addr"`
}

// Config is what the server knows. Records are served as Name and as Name.Domain, and backwards.
type Config struct {
	Records []Record
	Domain  string
	// Upstream answers all else. Nil: names out of Domain are refused, and without Records every name is.
	Upstream func(*dns.Msg) (*dns.Msg, error)
}

// Server is a DNS server. The zero Server refuses everything. It is safe for concurrent use.
type Server struct{ book atomic.Pointer[book] }

type book struct {
	domain   string // "quickstart.lab." or ""
	byName   map[string][]netip.Addr
	byAddr   map[string]string // "10.0.20.10.in-addr.arpa." to a full name
	upstream func(*dns.Msg) (*dns.Msg, error)
}

// Set changes what is answered from now on.
func (s *Server) Set(c Config) {
	b := &book{byName: map[string][]netip.Addr{}, byAddr: map[string]string{}, upstream: c.Upstream}
	if c.Domain != "" {
		b.domain = dns.CanonicalName(c.Domain)
	}
	for _, r := range c.Records {
		short := dns.CanonicalName(r.Name)
		full := short
		if b.domain != "" {
			full += b.domain
			b.byName[full] = append(b.byName[full], r.Addr)
		}
		b.byName[short] = append(b.byName[short], r.Addr)
		if back, err := dns.ReverseAddr(r.Addr.String()); err == nil && b.byAddr[back] == "" {
			b.byAddr[back] = full
		}
	}
	s.book.Store(b)
}

// Serve answers questions at both sockets until they are closed.
func (s *Server) Serve(packets net.PacketConn, streams net.Listener) (wait func()) {
	done := make(chan struct{}, 2)
	for _, srv := range []*dns.Server{{PacketConn: packets, Handler: s}, {Listener: streams, Handler: s}} {
		go func() {
			_ = srv.ActivateAndServe() // it ends when its socket does
			done <- struct{}{}
		}()
	}
	return func() { <-done; <-done }
}

// ServeDNS implements dns.Handler.
func (s *Server) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	m := s.Answer(q)
	size := dns.MaxMsgSize
	if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
		size = dns.MinMsgSize
		if o := q.IsEdns0(); o != nil {
			size = max(size, int(o.UDPSize()))
		}
	}
	m.Truncate(size)
	_ = w.WriteMsg(m) // a client that is gone asks again
}

// Answer is the reply to q.
func (s *Server) Answer(q *dns.Msg) *dns.Msg {
	m := new(dns.Msg)
	b := s.book.Load()
	if b == nil || len(b.byName) == 0 && b.upstream == nil || len(q.Question) != 1 || q.Question[0].Qclass != dns.ClassINET {
		return m.SetRcode(q, dns.RcodeRefused)
	}
	ask := q.Question[0]
	name := dns.CanonicalName(ask.Name)
	m.SetReply(q)
	m.Authoritative, m.RecursionAvailable = true, b.upstream != nil
	if full, ok := b.byAddr[name]; ok {
		if ask.Qtype == dns.TypePTR || ask.Qtype == dns.TypeANY {
			m.Answer = append(m.Answer, &dns.PTR{Hdr: head(ask, dns.TypePTR), Ptr: full})
		}
		return m
	}
	if addrs, ok := b.byName[name]; ok {
		for _, a := range addrs {
			switch {
			case a.Is4() && (ask.Qtype == dns.TypeA || ask.Qtype == dns.TypeANY):
				m.Answer = append(m.Answer, &dns.A{Hdr: head(ask, dns.TypeA), A: a.AsSlice()})
			case a.Is6() && (ask.Qtype == dns.TypeAAAA || ask.Qtype == dns.TypeANY):
				m.Answer = append(m.Answer, &dns.AAAA{Hdr: head(ask, dns.TypeAAAA), AAAA: a.AsSlice()})
			}
		}
		return m
	}
	switch {
	case b.domain != "" && dns.IsSubDomain(b.domain, name), strings.Count(name, ".") == 1 && name != ".":
		m.Rcode = dns.RcodeNameError // ours, or a bare name, which nobody outside knows
		return m
	case b.upstream == nil:
		return m.SetRcode(q, dns.RcodeRefused)
	}
	m.Authoritative = false
	r, err := b.upstream(q)
	if err != nil {
		m.Rcode = dns.RcodeServerFailure
		return m
	}
	r.Id = q.Id
	return r
}

func head(q dns.Question, t uint16) dns.RR_Header {
	return dns.RR_Header{Name: q.Name, Rrtype: t, Class: dns.ClassINET, Ttl: ttl}
}

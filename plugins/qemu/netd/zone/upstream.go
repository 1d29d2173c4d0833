package zone

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	patience = 3 * time.Second // for one server's answer
	asking   = 64              // questions under way at a time
	reread   = 5 * time.Second // how old our knowledge of the host's resolver may be
)

// Host asks the host's resolver: the servers of its resolv.conf, question by question as it came, so that every type
// of record works; where there is no such file or none of them answers, the host's own lookup of addresses.
type Host struct {
	path string
	busy chan struct{}

	mu      sync.Mutex
	read    time.Time
	servers []string
}

// NewHost returns a Host that reads the file at path; "" is /etc/resolv.conf.
func NewHost(path string) *Host {
	if path == "" {
		path = "/etc/resolv.conf"
	}
	return &Host{path: path, busy: make(chan struct{}, asking)}
}

// Ask returns the answer to q. It takes ten seconds at most.
func (h *Host) Ask(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
	select {
	case h.busy <- struct{}{}:
		defer func() { <-h.busy }()
	default:
		return nil, fmt.Errorf("more than %d questions under way", asking)
	}
	var errs []error
	for _, server := range h.known() {
		r, err := exchange(ctx, q, server)
		if err == nil {
			return r, nil
		}
		errs = append(errs, err)
	}
	if r, err := lookup(ctx, q); err == nil {
		return r, nil
	}
	return nil, fmt.Errorf("no resolver of the host answers: %w", errors.Join(errs...))
}

// exchange asks by UDP, and by TCP what does not fit.
func exchange(ctx context.Context, q *dns.Msg, server string) (*dns.Msg, error) {
	c := dns.Client{Timeout: patience, UDPSize: dns.DefaultMsgSize}
	r, _, err := c.ExchangeContext(ctx, q, server)
	if err == nil && r.Truncated {
		c.Net = "tcp"
		if whole, _, err := c.ExchangeContext(ctx, q, server); err == nil {
			return whole, nil
		}
	}
	return r, err
}

// known are the host's resolvers, at most three, as the C library has it.
func (h *Host) known() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Since(h.read) < reread {
		return h.servers
	}
	h.read, h.servers = time.Now(), nil
	if c, err := dns.ClientConfigFromFile(h.path); err == nil {
		for _, s := range c.Servers[:min(3, len(c.Servers))] {
			h.servers = append(h.servers, net.JoinHostPort(s, c.Port))
		}
	}
	return h.servers
}

// lookup answers questions for addresses by the host's own means.
func lookup(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
	ask := q.Question[0]
	family := map[uint16]string{dns.TypeA: "ip4", dns.TypeAAAA: "ip6"}[ask.Qtype]
	if family == "" {
		return nil, errors.New("not a question for an address")
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ips, err := net.DefaultResolver.LookupIP(ctx, family, ask.Name)
	if err != nil {
		return nil, err
	}
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable = true
	for _, ip := range ips {
		if v4 := ip.To4(); v4 != nil {
			m.Answer = append(m.Answer, &dns.A{Hdr: head(ask, dns.TypeA), A: v4})
		} else {
			m.Answer = append(m.Answer, &dns.AAAA{Hdr: head(ask, dns.TypeAAAA), AAAA: ip})
		}
	}
	return m, nil
}

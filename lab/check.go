package lab

import (
	"net/url"
	"strconv"
)

// Check is something that must hold once the lab is up. It is asked from inside the machine From. Exactly one of TCP,
// HTTP, DNS and Command is set.
type Check struct {
	Name    string        `json:"name"` // unique
	From    string        `json:"from"` // the machine that asks
	TCP     *TCPCheck     `json:"tcp,omitempty"`
	HTTP    *HTTPCheck    `json:"http,omitempty"`
	DNS     *DNSCheck     `json:"dns,omitempty"`
	Command *CommandCheck `json:"command,omitempty"`
	Within  Duration      `json:"within"`         // it is asked again until it holds, at most this long
	Path    string        `json:"path,omitempty"` // in the spec, e.g. "checks.login"
}

// TCPCheck holds when a connection is accepted, or with Refused, when none is.
type TCPCheck struct {
	To      string `json:"to"`   // a machine's name, another name, or an address
	Port    int    `json:"port"` // 1 to 65535
	Refused bool   `json:"refused,omitempty"`
}

// HTTPCheck holds when the answer to a GET is as it says. Redirects are not followed.
type HTTPCheck struct {
	URL    string `json:"url"`            // http or https; certificates are verified against the machine's own authorities
	Status int    `json:"status"`         // 100 to 599
	Body   string `json:"body,omitempty"` // a text that the body contains
}

// DNSCheck holds when the answers to a question are these, in any order.
type DNSCheck struct {
	Name   string   `json:"name"`             // what is asked for; for PTR an address
	Type   string   `json:"type"`             // "A", "AAAA", "PTR", "MX", "TXT", "CNAME", "NS" or "SRV"
	Server string   `json:"server,omitempty"` // a machine's name or an address; "" is the asking machine's own resolver
	Answer []string `json:"answer"`           // none means that there is no such name
}

// CommandCheck holds when a shell command run as root ends with the exit status and prints what it should.
type CommandCheck struct {
	Run    string `json:"run"`
	Exit   int    `json:"exit"`             // 0 to 255
	Output string `json:"output,omitempty"` // a text that its standard output contains
}

// Machines are the machines of l that a check is about: the one that asks, and the one asked where it is named.
func (c Check) Machines(l Lab) []string {
	out := []string{c.From}
	to := ""
	switch {
	case c.TCP != nil:
		to = c.TCP.To
	case c.HTTP != nil:
		to = host(c.HTTP.URL)
	case c.DNS != nil:
		to = c.DNS.Server
	}
	if m, ok := l.Called(to); ok && m.Name != c.From {
		out = append(out, m.Name)
	}
	return out
}

// Service is what a check opens on whom it asks; false for a command.
func (c Check) Service() (Service, bool) {
	port := uint16(0)
	switch {
	case c.TCP != nil:
		port = uint16(c.TCP.Port)
	case c.DNS != nil:
		return Service{Proto: UDP, From: 53, To: 53}, true
	case c.HTTP != nil:
		u, err := url.Parse(c.HTTP.URL)
		if err != nil {
			return Service{}, false
		}
		if n, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
			port = uint16(n)
		} else if port = 80; u.Scheme == "https" {
			port = 443
		}
	}
	return Service{Proto: TCP, From: port, To: port}, port > 0
}

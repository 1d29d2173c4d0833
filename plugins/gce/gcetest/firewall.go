package gcetest

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

func firewalls() *kind {
	mutable := []string{"description", "allowed", "denied", "sourceRanges", "sourceTags", "targetTags", "destinationRanges", "priority", "disabled", "logConfig", "sourceServiceAccounts", "targetServiceAccounts"}
	return &kind{
		collection: "firewalls", singular: "firewall",
		check: checkFirewall,
		verbs: map[string]verb{
			"patch": patch(mutable, checkFirewall),
			"update": func(w *world, c call, t *thing) (func() *apiError, *apiError) {
				for _, name := range mutable { // what an update does not say is gone
					if _, ok := c.body[name]; !ok {
						c.body[name] = nil
					}
				}
				return patch(mutable, checkFirewall)(w, c, t)
			},
		},
	}
}

var (
	portForm = regexp.MustCompile(`^[0-9]+(-[0-9]+)?$`)
	withPort = map[string]bool{"tcp": true, "udp": true, "sctp": true, "6": true, "17": true}
	known    = map[string]bool{"tcp": true, "udp": true, "icmp": true, "esp": true, "ah": true, "sctp": true, "ipip": true, "all": true}
)

func checkFirewall(w *world, c call, t *thing) *apiError {
	o := t.o
	n, e := w.find(c.project, "networks", "resource.network", orElse(text(o, "network"), "global/networks/default"))
	if e != nil {
		return e
	}
	o["network"] = w.link(n.name)
	for name, v := range o {
		if l, ok := v.([]any); v == nil || ok && len(l) == 0 {
			delete(o, name)
		}
	}
	if (len(list(o, "allowed")) > 0) == (len(list(o, "denied")) > 0) {
		return invalid("resource", base(t.name), "Exactly one of allowed and denied must be specified.")
	}
	for _, side := range []string{"allowed", "denied"} {
		for i, r := range objects(o, side) {
			if e := checkRule(fmt.Sprintf("resource.%s[%d]", side, i), r); e != nil {
				return e
			}
		}
	}
	fill(o, "direction", "INGRESS")
	fill(o, "priority", 1000.0)
	fill(o, "disabled", false)
	if o["logConfig"] == nil {
		o["logConfig"] = object{"enable": false}
	}
	if p := number(o, "priority"); p < 0 || p > 65535 {
		return invalid("resource.priority", p, "Must be between 0 and 65535.")
	}
	return checkSides(o)
}

// checkSides judges from and to where a rule is.
func checkSides(o object) *apiError {
	egress := o["direction"] == "EGRESS"
	if egress && (o["sourceTags"] != nil || o["sourceServiceAccounts"] != nil) {
		return invalid("resource.sourceTags", o["sourceTags"], "Egress firewalls cannot have source tags or service accounts.")
	}
	if egress && o["destinationRanges"] == nil {
		o["destinationRanges"] = []any{"0.0.0.0/0"}
	}
	if !egress && o["sourceRanges"] == nil && o["sourceTags"] == nil && o["sourceServiceAccounts"] == nil {
		o["sourceRanges"] = []any{"0.0.0.0/0"}
	}
	if o["sourceServiceAccounts"] != nil && (o["sourceTags"] != nil || o["targetTags"] != nil) || o["targetServiceAccounts"] != nil && (o["sourceTags"] != nil || o["targetTags"] != nil) {
		return invalid("resource.targetTags", o["targetTags"], "Tags and service accounts cannot be used together.")
	}
	for _, field := range []string{"sourceRanges", "destinationRanges"} {
		if len(list(o, field)) > 5000 {
			return invalid("resource."+field, len(list(o, field)), "Too many ranges.")
		}
		for i, r := range texts(o, field) {
			p, err := netip.ParsePrefix(r)
			if a, e := netip.ParseAddr(r); e == nil {
				p, err = netip.PrefixFrom(a, a.BitLen()), nil
			}
			if err != nil || p.Masked() != p {
				return invalid(fmt.Sprintf("resource.%s[%d]", field, i), r, "Must be a valid CIDR range whose host bits are zero.")
			}
		}
	}
	for _, field := range []string{"sourceTags", "targetTags"} {
		for i, tag := range texts(o, field) {
			if !nameForm.MatchString(tag) {
				return invalid(fmt.Sprintf("resource.%s[%d]", field, i), tag, "Must be a match of regex '(?:[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?)'")
			}
		}
	}
	return nil
}

func checkRule(field string, r object) *apiError {
	proto := strings.ToLower(text(r, "IPProtocol"))
	n, err := strconv.Atoi(proto)
	if !known[proto] && (err != nil || n < 0 || n > 255) {
		return invalid(field+".IPProtocol", text(r, "IPProtocol"), "Must be a well known protocol or a number from 0 to 255.")
	}
	r["IPProtocol"] = proto
	if len(list(r, "ports")) == 0 {
		delete(r, "ports")
		return nil
	}
	if !withPort[proto] {
		return invalid(field+".ports", r["ports"], "Ports may only be specified on rules whose protocol is one of [TCP, UDP, SCTP].")
	}
	for i, p := range texts(r, "ports") {
		low, high, _ := strings.Cut(p, "-")
		a, _ := strconv.Atoi(low)
		b := a
		if high != "" {
			b, _ = strconv.Atoi(high)
		}
		if !portForm.MatchString(p) || a > b || b > 65535 {
			return invalid(fmt.Sprintf("%s.ports[%d]", field, i), p, "Must be a port or a range of ports.")
		}
	}
	return nil
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

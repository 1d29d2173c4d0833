package gcetest

import (
	"encoding/binary"
	"net/netip"
	"strings"
)

func networks() *kind {
	return &kind{
		collection: "networks", singular: "network",
		check: checkNetwork,
		settle: func(w *world, t *thing) *apiError {
			w.addRoute(t, "0.0.0.0/0", object{"nextHopGateway": linkBase + "projects/" + projectOf(t.name) + "/global/gateways/default-internet-gateway",
				"description": "Default route to the Internet.", "priority": 1000.0})
			return nil
		},
		heldLate: func(w *world, t *thing) *apiError {
			for _, c := range []string{"firewalls", "subnetworks", "routers"} {
				if user := w.user(t.name, c); user != "" {
					return inUse("network", t.name, user)
				}
			}
			for _, r := range w.of("routes") {
				if mentions(r.o["network"], t.name) && !automatic(r) {
					return inUse("network", t.name, r.name)
				}
			}
			// Whether the real one minds is not known: one that does not would leave zones for networks that are gone.
			for name, z := range w.zones {
				if mentions(z.o["privateVisibilityConfig"], t.name) {
					return inUse("network", t.name, "projects/"+projectOf(t.name)+"/managedZones/"+name)
				}
			}
			return nil
		},
		gone: func(w *world, t *thing) {
			w.dropRoutes(func(r *thing) bool { return mentions(r.o["network"], t.name) })
		},
		show: func(w *world, t *thing, o object) {
			var subnets []any
			for _, s := range w.of("subnetworks") {
				if s.state == ready && mentions(s.o["network"], t.name) {
					subnets = append(subnets, w.link(s.name))
				}
			}
			if subnets != nil {
				o["subnetworks"] = subnets
			}
			o["selfLinkWithId"] = linkBase + strings.TrimSuffix(t.name, base(t.name)) + text(o, "id")
		},
		verbs: map[string]verb{"patch": patch([]string{"routingConfig", "networkFirewallPolicyEnforcementOrder", "mtu"}, checkNetwork)},
	}
}

func checkNetwork(_ *world, _ call, t *thing) *apiError {
	o := t.o
	if _, ok := o["autoCreateSubnetworks"]; !ok {
		return invalid("resource.IPv4Range", "", "Legacy networks cannot be created any more: set autoCreateSubnetworks.")
	}
	if yes(o, "autoCreateSubnetworks") {
		return invalid("resource.autoCreateSubnetworks", true, "gcetest has networks in custom mode only.")
	}
	fill(o, "mtu", 1460.0)
	if mtu := number(o, "mtu"); mtu < 1300 || mtu > 8896 {
		return invalid("resource.mtu", mtu, "MTU must be between 1300 and 8896.")
	}
	r := sub(o, "routingConfig")
	if r == nil {
		r = object{}
		o["routingConfig"] = r
	}
	fill(r, "routingMode", "REGIONAL")
	fill(r, "bgpBestPathSelectionMode", "LEGACY")
	fill(o, "networkFirewallPolicyEnforcementOrder", "AFTER_CLASSIC_FIREWALL")
	return nil
}

func subnetworks() *kind {
	return &kind{
		collection: "subnetworks", singular: "subnetwork",
		check: func(w *world, c call, t *thing) *apiError { return checkSubnetwork(w, c, t, nil) },
		settle: func(w *world, t *thing) *apiError {
			n := w.things[refer("", text(t.o, "network"))]
			if n == nil {
				return notFound(refer("", text(t.o, "network")))
			}
			w.addRoute(n, text(t.o, "ipCidrRange"), object{"nextHopNetwork": text(t.o, "network"), "description": "Default local route to the subnetwork " + text(t.o, "ipCidrRange") + ".", "priority": 0.0})
			return nil
		},
		held: func(w *world, t *thing) *apiError {
			if user := w.user(t.name, "instances", "addresses", "routers"); user != "" {
				return inUse("subnetwork", t.name, user)
			}
			return nil
		},
		gone: func(w *world, t *thing) {
			w.dropRoutes(func(r *thing) bool {
				return automatic(r) && r.o["network"] == t.o["network"] && r.o["destRange"] == t.o["ipCidrRange"]
			})
		},
		show: func(_ *world, t *thing, o object) { o["fingerprint"] = fingerprint(t.o) },
		verbs: map[string]verb{
			"expandIpCidrRange":        expandSubnetwork,
			"patch":                    patchSubnetwork,
			"setPrivateIpGoogleAccess": func(_ *world, c call, t *thing) (func() *apiError, *apiError) { return set(t, c.body), nil },
		},
	}
}

func checkSubnetwork(w *world, c call, t *thing, old *thing) *apiError {
	o := t.o
	if text(o, "network") == "" {
		return required("resource.network")
	}
	n, e := w.find(c.project, "networks", "resource.network", text(o, "network"))
	if e != nil {
		return e
	}
	o["network"] = w.link(n.name)
	p, e := ranged("resource.ipCidrRange", text(o, "ipCidrRange"))
	if e != nil {
		return e
	}
	if p.Bits() > 29 || p.Bits() < 4 {
		return invalid("resource.ipCidrRange", p, "IP range must be between /4 and /29.")
	}
	for _, s := range w.of("subnetworks") {
		if s != old && s.o["network"] == o["network"] && netip.MustParsePrefix(text(s.o, "ipCidrRange")).Overlaps(p) {
			return invalid("resource.ipCidrRange", p, "Invalid IPCidrRange: %s conflicts with existing subnetwork '%s' in region '%s'.", p, base(s.name), base(scopeOf(s.name)))
		}
	}
	o["gatewayAddress"] = p.Addr().Next().String()
	fill(o, "privateIpGoogleAccess", false)
	fill(o, "privateIpv6GoogleAccess", "DISABLE_GOOGLE_ACCESS")
	fill(o, "purpose", "PRIVATE")
	fill(o, "stackType", "IPV4_ONLY")
	return nil
}

func ranged(field, text string) (netip.Prefix, *apiError) {
	p, err := netip.ParsePrefix(text)
	if err != nil || !p.Addr().Is4() {
		return p, invalid(field, text, "Must be a CIDR address range.")
	}
	if p.Masked() != p {
		return p, invalid(field, text, "Must be the first address of its range: %s.", p.Masked())
	}
	return p, nil
}

func expandSubnetwork(w *world, c call, t *thing) (func() *apiError, *apiError) {
	was := netip.MustParsePrefix(text(t.o, "ipCidrRange"))
	p, e := ranged("ipCidrRange", text(c.body, "ipCidrRange"))
	if e != nil {
		return nil, e
	}
	if p.Bits() >= was.Bits() || !p.Contains(was.Addr()) {
		return nil, invalid("ipCidrRange", p, "The new range must be larger than the current one and contain it.")
	}
	next := &thing{name: t.name, kind: t.kind, o: clone(t.o).(object)}
	next.o["ipCidrRange"] = p.String()
	if e := checkSubnetwork(w, c, next, t); e != nil {
		return nil, e
	}
	return func() *apiError {
		for _, r := range w.of("routes") {
			if automatic(r) && r.o["network"] == t.o["network"] && r.o["destRange"] == was.String() {
				r.o["destRange"] = p.String()
			}
		}
		t.o = next.o
		return nil
	}, nil
}

func patchSubnetwork(w *world, c call, t *thing) (func() *apiError, *apiError) {
	if f := text(c.body, "fingerprint"); f != fingerprint(t.o) {
		return nil, stale("Supplied fingerprint does not match current metadata fingerprint.")
	}
	delete(c.body, "fingerprint")
	return patch([]string{"privateIpGoogleAccess", "logConfig", "stackType", "secondaryIpRanges"}, func(w *world, c call, n *thing) *apiError { return checkSubnetwork(w, c, n, t) })(w, c, t)
}

// reserved says whether an address of a subnetwork is the cloud's: the first two and the last two.
func reserved(p netip.Prefix, a netip.Addr) bool {
	b := p.Addr().As4()
	first := binary.BigEndian.Uint32(b[:])
	size := uint32(1) << (32 - p.Bits())
	b = a.As4()
	i := binary.BigEndian.Uint32(b[:]) - first
	return i < 2 || i >= size-2
}

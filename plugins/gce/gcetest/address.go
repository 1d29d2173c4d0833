package gcetest

import (
	"fmt"
	"net/netip"
)

func addresses() *kind {
	return &kind{
		collection: "addresses", singular: "address", labels: true,
		check: checkAddress,
		held: func(w *world, t *thing) *apiError {
			if u := w.holders(t); len(u) > 0 {
				return inUse("address", t.name, u[0])
			}
			return nil
		},
		show: func(w *world, t *thing, o object) {
			o["status"] = "RESERVED"
			if u := w.holders(t); len(u) > 0 {
				o["status"] = "IN_USE"
				var users []any
				for _, name := range u {
					users = append(users, w.link(name))
				}
				o["users"] = users
			}
		},
		verbs: map[string]verb{"setLabels": setLabels},
	}
}

func checkAddress(w *world, c call, t *thing) *apiError {
	o := t.o
	fill(o, "addressType", "EXTERNAL")
	fill(o, "networkTier", "PREMIUM")
	if o["addressType"] == "EXTERNAL" {
		if text(o, "subnetwork") != "" || text(o, "address") != "" {
			return invalid("resource.address", text(o, "address"), "External addresses are chosen by the cloud.")
		}
		o["address"] = w.external()
		return nil
	}
	fill(o, "purpose", "GCE_ENDPOINT")
	s, e := w.find(c.project, "subnetworks", "resource.subnetwork", text(o, "subnetwork"))
	if e != nil {
		return e
	}
	o["subnetwork"] = w.link(s.name)
	a, e := w.internal(s, "resource.address", text(o, "address"), "")
	if e != nil {
		return e
	}
	o["address"] = a
	return nil
}

// external is a public address that nobody has: of TEST-NET-3 and what follows it.
func (w *world) external() string {
	a := netip.MustParseAddr("203.0.113.1")
	for used := w.taken(); used[a.String()]; {
		a = a.Next()
	}
	return a.String()
}

// taken are all public addresses in use.
func (w *world) taken() map[string]bool {
	used := map[string]bool{}
	for _, t := range w.of("addresses") {
		used[text(t.o, "address")] = true
	}
	for _, i := range w.of("instances") {
		for _, nic := range objects(i.o, "networkInterfaces") {
			for _, a := range objects(nic, "accessConfigs") {
				used[text(a, "natIP")] = true
			}
		}
	}
	return used
}

// internal judges an address of subnetwork s that somebody wants, or finds a free one. instance is the name of who wants
// it: what is reserved may be taken by anybody once.
func (w *world) internal(s *thing, field, want, instance string) (string, *apiError) {
	p := netip.MustParsePrefix(text(s.o, "ipCidrRange"))
	if want == "" {
		for a := p.Addr(); p.Contains(a); a = a.Next() {
			if !reserved(p, a) && w.owner(s, a.String(), instance) == "" && w.booked(s, a.String()) == nil {
				return a.String(), nil
			}
		}
		return "", &apiError{HTTP: 400, Reason: "invalid", Code: "IP_SPACE_EXHAUSTED", Text: fmt.Sprintf("IP space of '%s' is exhausted.", s.name)}
	}
	a, err := netip.ParseAddr(want)
	if err != nil || !a.Is4() {
		return "", invalid(field, want, "Must be an IPv4 address.")
	}
	if !p.Contains(a) {
		return "", invalid(field, want, "Requested internal IP is outside the subnetwork CIDR range.")
	}
	if reserved(p, a) {
		return "", invalid(field, want, "IP address is reserved by the subnetwork: the first two and the last two addresses of its range cannot be used.")
	}
	return a.String(), nil
}

// owner is the instance that has an internal address of a subnetwork, another than except; "" is none.
func (w *world) owner(s *thing, ip, except string) string {
	for _, i := range w.of("instances") {
		if i.name == except {
			continue
		}
		for _, nic := range objects(i.o, "networkInterfaces") {
			if mentions(nic["subnetwork"], s.name) && text(nic, "networkIP") == ip {
				return i.name
			}
		}
	}
	return ""
}

// booked is the reservation of an internal address.
func (w *world) booked(s *thing, ip string) *thing {
	for _, t := range w.of("addresses") {
		if mentions(t.o["subnetwork"], s.name) && text(t.o, "address") == ip {
			return t
		}
	}
	return nil
}

// holders are the instances and routers that use an address.
func (w *world) holders(t *thing) []string {
	var users []string
	ip := text(t.o, "address")
	for _, i := range w.of("instances") {
		for _, nic := range objects(i.o, "networkInterfaces") {
			own := t.o["addressType"] == "INTERNAL" && nic["subnetwork"] == t.o["subnetwork"] && text(nic, "networkIP") == ip
			for _, a := range objects(nic, "accessConfigs") {
				own = own || t.o["addressType"] == "EXTERNAL" && text(a, "natIP") == ip
			}
			if own {
				users = append(users, i.name)
			}
		}
	}
	if r := w.user(t.name, "routers"); r != "" {
		users = append(users, r)
	}
	return users
}

package gcetest

import (
	"fmt"
)

func checkNICs(w *world, c call, t, m *thing) *apiError {
	nics := objects(t.o, "networkInterfaces")
	if len(nics) == 0 {
		return required("resource.networkInterfaces")
	}
	if e := checkNICCount(t.o, m); e != nil {
		return e
	}
	networks := map[string]bool{}
	for i, n := range nics {
		field := fmt.Sprintf("resource.networkInterfaces[%d]", i)
		if e := checkNIC(w, c, t, field, n); e != nil {
			return e
		}
		if networks[text(n, "network")] {
			return invalid(field+".network", n["network"], "Networks must be distinct for each network interface of an instance.")
		}
		networks[text(n, "network")] = true
		n["name"], n["kind"] = fmt.Sprintf("nic%d", i), "compute#networkInterface"
	}
	return nil
}

// checkNICCount holds the limit of machine type m: one for each processor, at least two and at most eight.
func checkNICCount(o object, m *thing) *apiError {
	limit := min(max(number(m.o, "guestCpus"), 2), 8)
	if yes(m.o, "isSharedCpu") {
		limit = 2
	}
	if n := len(list(o, "networkInterfaces")); n > limit {
		return invalid("resource.networkInterfaces", n, "Too many network interfaces. The maximum number of network interfaces allowed for this machine type is %d.", limit)
	}
	return nil
}

func checkNIC(w *world, c call, t *thing, field string, n object) *apiError {
	if text(n, "subnetwork") == "" {
		return invalid(field, "", "Subnetwork should be specified for custom subnetmode network")
	}
	s, e := w.find(c.project, "subnetworks", field+".subnetwork", text(n, "subnetwork"))
	if e != nil {
		return e
	}
	if region := "regions/" + regionOf(base(c.scope)); scopeOf(s.name) != region {
		return invalid(field+".subnetwork", n["subnetwork"], "The subnetwork is in another region than the instance: it must be in %s.", region)
	}
	if text(n, "network") != "" && refer(c.project, text(n, "network")) != refer("", text(s.o, "network")) {
		return invalid(field+".network", n["network"], "The subnetwork is not in the network.")
	}
	n["subnetwork"], n["network"] = w.link(s.name), s.o["network"]
	want := text(n, "networkIP")
	if r := w.things[refer(c.project, want)]; want != "" && r != nil && r.kind.collection == "addresses" {
		want = text(r.o, "address")
	}
	if want != "" {
		if want, e = w.internal(s, field+".networkIP", want, t.name); e != nil {
			return e
		}
	}
	n["networkIP"] = want
	fill(n, "stackType", "IPV4_ONLY")
	delete(n, "fingerprint")
	for i, a := range objects(n, "accessConfigs") {
		if e := checkAccess(w, c, fmt.Sprintf("%s.accessConfigs[%d]", field, i), a); e != nil {
			return e
		}
	}
	if len(list(n, "accessConfigs")) > 1 {
		return invalid(field+".accessConfigs", len(list(n, "accessConfigs")), "At most one access config is supported.")
	}
	return nil
}

// checkAccess judges and completes the public address of an interface. An address of one's own is named by its value or
// its resource.
func checkAccess(w *world, c call, field string, a object) *apiError {
	fill(a, "type", "ONE_TO_ONE_NAT")
	fill(a, "name", "External NAT")
	fill(a, "networkTier", "PREMIUM")
	a["kind"] = "compute#accessConfig"
	want := text(a, "natIP")
	if want == "" {
		return nil
	}
	if r := w.things[refer(c.project, want)]; r != nil && r.kind.collection == "addresses" {
		want = text(r.o, "address")
	}
	region := "regions/" + regionOf(base(c.scope))
	for _, t := range w.of("addresses") {
		if text(t.o, "address") == want && scopeOf(t.name) == region && t.o["addressType"] == "EXTERNAL" {
			if u := w.holders(t); len(u) > 0 {
				return invalid(field+".natIP", want, "The specified external IP address '%s' was already in use by '%s'.", want, u[0])
			}
			a["natIP"] = want
			return nil
		}
	}
	return invalid(field+".natIP", want, "The specified external IP address '%s' was not found in region '%s'.", want, base(region))
}

// takeAddress gives an interface of an instance its addresses, or finds that somebody else has them.
func (w *world) takeAddress(t *thing, n object) *apiError {
	s := w.things[refer("", text(n, "subnetwork"))]
	if s == nil {
		return notFound(refer("", text(n, "subnetwork")))
	}
	ip := text(n, "networkIP")
	if ip == "" {
		var e *apiError
		if ip, e = w.internal(s, "networkIP", "", t.name); e != nil {
			return e
		}
		n["networkIP"] = ip
	}
	if w.owner(s, ip, t.name) != "" {
		return addressInUse(ip)
	}
	for _, a := range objects(n, "accessConfigs") {
		if text(a, "natIP") == "" {
			a["natIP"] = w.external()
		}
	}
	return nil
}

// nicOn is the interface of an instance in a network.
func nicOn(i, network *thing) object {
	for _, n := range objects(i.o, "networkInterfaces") {
		if mentions(n["network"], network.name) {
			return n
		}
	}
	return nil
}

// nicNamed is the interface called "nic0".
func nicNamed(t *thing, name string) (object, *apiError) {
	for _, n := range objects(t.o, "networkInterfaces") {
		if text(n, "name") == name {
			return n, nil
		}
	}
	return nil, invalid("networkInterface", name, "The instance has no such network interface.")
}

func addAccess(w *world, c call, t *thing) (func() *apiError, *apiError) {
	n, e := nicNamed(t, c.query.Get("networkInterface"))
	if e != nil {
		return nil, e
	}
	if len(list(n, "accessConfigs")) > 0 {
		return nil, invalid("networkInterface", c.query.Get("networkInterface"), "At most one access config currently supported.")
	}
	if e := checkAccess(w, c, "resource", c.body); e != nil {
		return nil, e
	}
	return func() *apiError {
		if text(c.body, "natIP") == "" {
			c.body["natIP"] = w.external()
		}
		n["accessConfigs"] = []any{c.body}
		return nil
	}, nil
}

func deleteAccess(_ *world, c call, t *thing) (func() *apiError, *apiError) {
	n, e := nicNamed(t, c.query.Get("networkInterface"))
	if e != nil {
		return nil, e
	}
	for _, a := range objects(n, "accessConfigs") {
		if text(a, "name") == c.query.Get("accessConfig") {
			return func() *apiError { delete(n, "accessConfigs"); return nil }, nil
		}
	}
	return nil, invalid("accessConfig", c.query.Get("accessConfig"), "The network interface has no such access config.")
}

// updateNIC moves an interface of a stopped instance: to another address, or network. Alias ranges and the stack may
// change any time; labs have neither.
func updateNIC(w *world, c call, t *thing) (func() *apiError, *apiError) {
	n, e := nicNamed(t, c.query.Get("networkInterface"))
	if e != nil {
		return nil, e
	}
	if f := text(c.body, "fingerprint"); f != fingerprint(n) {
		return nil, stale("Supplied fingerprint does not match current metadata fingerprint.")
	}
	if t.o["status"] != "TERMINATED" {
		return nil, notStopped(t.name)
	}
	next := clone(n).(object)
	for name, v := range c.body {
		next[name] = v
	}
	if c.body["networkIP"] == nil && c.body["subnetwork"] != nil {
		delete(next, "networkIP") // it is of the old subnetwork
	}
	if c.body["network"] == nil && c.body["subnetwork"] != nil {
		delete(next, "network")
	}
	if e := checkNIC(w, c, t, "resource", next); e != nil {
		return nil, e
	}
	return func() *apiError {
		if e := w.takeAddress(t, next); e != nil {
			return e
		}
		for name, v := range next {
			n[name] = v
		}
		return nil
	}, nil
}

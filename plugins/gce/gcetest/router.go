package gcetest

import "fmt"

func routers() *kind {
	return &kind{
		collection: "routers", singular: "router",
		check: checkRouter,
		verbs: map[string]verb{
			"patch": patch([]string{"nats", "bgp", "description"}, checkRouter),
			"update": func(w *world, c call, t *thing) (func() *apiError, *apiError) {
				for _, name := range []string{"nats", "bgp", "description"} {
					if _, ok := c.body[name]; !ok {
						c.body[name] = nil
					}
				}
				return patch([]string{"nats", "bgp", "description"}, checkRouter)(w, c, t)
			},
		},
	}
}

func checkRouter(w *world, c call, t *thing) *apiError {
	o := t.o
	n, e := w.find(c.project, "networks", "resource.network", text(o, "network"))
	if e != nil {
		return e
	}
	o["network"] = w.link(n.name)
	names := map[string]bool{}
	for i, nat := range objects(o, "nats") {
		field := fmt.Sprintf("resource.nats[%d]", i)
		if e := checkName(field+".name", text(nat, "name")); e != nil {
			return e
		}
		if names[text(nat, "name")] {
			return invalid(field+".name", nat["name"], "The name is not unique within the router.")
		}
		names[text(nat, "name")] = true
		if e := checkNAT(w, c, field, nat, n); e != nil {
			return e
		}
	}
	return nil
}

func checkNAT(w *world, c call, field string, nat object, n *thing) *apiError {
	for _, name := range []string{"natIpAllocateOption", "sourceSubnetworkIpRangesToNat"} {
		if text(nat, name) == "" {
			return required(field + "." + name)
		}
	}
	if nat["natIpAllocateOption"] == "MANUAL_ONLY" && len(list(nat, "natIps")) == 0 {
		return invalid(field+".natIps", "", "At least one NAT IP must be specified with MANUAL_ONLY.")
	}
	for i, ip := range texts(nat, "natIps") {
		a, e := w.find(c.project, "addresses", fmt.Sprintf("%s.natIps[%d]", field, i), ip)
		if e != nil {
			return e
		}
		list(nat, "natIps")[i] = w.link(a.name)
	}
	subnets := objects(nat, "subnetworks")
	if (nat["sourceSubnetworkIpRangesToNat"] == "LIST_OF_SUBNETWORKS") != (len(subnets) > 0) {
		return invalid(field+".subnetworks", len(subnets), "Subnetworks must be specified if and only if sourceSubnetworkIpRangesToNat is LIST_OF_SUBNETWORKS.")
	}
	for i, s := range subnets {
		at := fmt.Sprintf("%s.subnetworks[%d]", field, i)
		found, e := w.find(c.project, "subnetworks", at+".name", text(s, "name"))
		if e != nil {
			return e
		}
		if !mentions(found.o["network"], n.name) {
			return invalid(at+".name", s["name"], "The subnetwork is not in the router's network.")
		}
		s["name"] = w.link(found.name)
		if len(list(s, "sourceIpRangesToNat")) == 0 {
			s["sourceIpRangesToNat"] = []any{"ALL_IP_RANGES"}
		}
	}
	fill(nat, "type", "PUBLIC")
	fill(nat, "enableEndpointIndependentMapping", false)
	fill(nat, "endpointTypes", []any{"ENDPOINT_TYPE_VM"})
	fill(nat, "autoNetworkTier", "PREMIUM")
	return nil
}

package gcetest

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

func routes() *kind {
	return &kind{
		collection: "routes", singular: "route",
		check: checkRoute,
		held: func(_ *world, t *thing) *apiError {
			if text(t.o, "nextHopNetwork") != "" {
				return invalid("route", base(t.name), "The local route cannot be deleted: it goes with its subnetwork.")
			}
			return nil
		},
		show: func(w *world, t *thing, o object) {
			if hop := refer("", text(o, "nextHopInstance")); hop != "" && (w.things[hop] == nil || text(w.things[hop].o, "status") != "RUNNING") {
				code, what := "NEXT_HOP_INSTANCE_NOT_FOUND", "was not found"
				if w.things[hop] != nil {
					code, what = "NEXT_HOP_NOT_RUNNING", "is not running"
				}
				o["warnings"] = []any{object{"code": code, "message": fmt.Sprintf("Next hop instance '%s' %s.", text(o, "nextHopInstance"), what)}}
			}
		},
	}
}

func checkRoute(w *world, c call, t *thing) *apiError {
	o := t.o
	n, e := w.find(c.project, "networks", "resource.network", text(o, "network"))
	if e != nil {
		return e
	}
	o["network"] = w.link(n.name)
	p, e := ranged("resource.destRange", text(o, "destRange"))
	if e != nil {
		return e
	}
	for _, s := range w.of("subnetworks") {
		own := netip.MustParsePrefix(text(s.o, "ipCidrRange"))
		if s.o["network"] == o["network"] && own.Bits() <= p.Bits() && own.Contains(p.Addr()) {
			return invalid("resource.destRange", p, "%s hides the reserved address space for network (%s).", p, own)
		}
	}
	fill(o, "priority", 1000.0)
	if n := number(o, "priority"); n < 0 || n > 65535 {
		return invalid("resource.priority", n, "Must be between 0 and 65535.")
	}
	o["routeType"] = "STATIC"
	return checkHop(w, c, t, n)
}

func checkHop(w *world, c call, t *thing, n *thing) *apiError {
	o := t.o
	var hops []string
	for name := range o {
		if strings.HasPrefix(name, "nextHop") {
			hops = append(hops, name)
		}
	}
	slices.Sort(hops)
	if len(hops) != 1 {
		return invalid("resource", strings.Join(hops, ","), "Exactly one of nextHopInstance, nextHopIp, nextHopNetwork, nextHopGateway, nextHopVpnTunnel or nextHopIlb must be specified.")
	}
	switch hops[0] {
	case "nextHopInstance":
		i, e := w.find(c.project, "instances", "resource.nextHopInstance", text(o, "nextHopInstance"))
		if e != nil {
			return e
		}
		if nicOn(i, n) == nil {
			return invalid("resource.nextHopInstance", text(o, "nextHopInstance"), "Instance has no network interface in network '%s'.", base(n.name))
		}
		o["nextHopInstance"] = w.link(i.name)
	case "nextHopIp":
		a, err := netip.ParseAddr(text(o, "nextHopIp"))
		if err != nil {
			return invalid("resource.nextHopIp", o["nextHopIp"], "Must be an IP address.")
		}
		if !w.within(n, a) {
			return invalid("resource.nextHopIp", a, "Next hop IP address is not within any subnetwork of the network.")
		}
	case "nextHopGateway":
		if base(text(o, "nextHopGateway")) != "default-internet-gateway" {
			return invalid("resource.nextHopGateway", o["nextHopGateway"], "The only gateway is default-internet-gateway.")
		}
		o["nextHopGateway"] = linkBase + "projects/" + c.project + "/global/gateways/default-internet-gateway"
	default:
		return invalid("resource."+hops[0], o[hops[0]], "gcetest does not know it.")
	}
	return nil
}

// within says whether a subnetwork of network n has the address.
func (w *world) within(n *thing, a netip.Addr) bool {
	return slices.ContainsFunc(w.of("subnetworks"), func(s *thing) bool {
		return mentions(s.o["network"], n.name) && netip.MustParsePrefix(text(s.o, "ipCidrRange")).Contains(a)
	})
}

// automatic tells routes that the cloud made from those that people made.
func automatic(r *thing) bool { return strings.HasPrefix(base(r.name), "default-route-") }

// addRoute makes one that comes with network n.
func (w *world) addRoute(n *thing, dest string, o object) {
	o["network"], o["destRange"] = w.link(n.name), dest
	o["name"] = "default-route-" + strings.ReplaceAll(newUUID(), "-", "")[:16]
	t := &thing{name: "projects/" + projectOf(n.name) + "/global/routes/" + text(o, "name"), kind: w.kinds["routes"], o: o}
	w.head(t)
	w.things[t.name] = t
}

func (w *world) dropRoutes(which func(*thing) bool) {
	for _, r := range w.of("routes") {
		if which(r) {
			delete(w.things, r.name)
		}
	}
}

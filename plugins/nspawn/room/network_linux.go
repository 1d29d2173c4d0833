package room

import (
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/provider/site"
)

// network is one that the room has.
type network struct {
	Network
	served *child // its dnsmasq; nil if it needs none
	doors  []*door
}

// proto marks the routes that are the room's (ip-route(8)).
const proto = "77"

// set makes a network what n says. What fails leaves it as it was told before, so that it is seen to differ.
func (r *server) set(n Network) error {
	have := r.networks[n.Name]
	if have == nil {
		have = &network{}
	}
	if err := r.lay(n); err != nil {
		return err
	}
	told := map[string]*network{n.Name: {Network: n}}
	for name, other := range r.networks {
		if name != n.Name {
			told[name] = other
		}
	}
	if err := r.lead(told); err != nil {
		return err
	}
	if err := r.serveNames(n, have); err != nil {
		return err
	}
	if err := r.open(n, have); err != nil {
		return err
	}
	have.Network = n
	r.networks[n.Name] = have
	return nil
}

// lay makes the bridge of a network with what the room has on it.
func (r *server) lay(n Network) error {
	all, err := links()
	if err != nil {
		return err
	}
	dev := bridge(n.Name)
	var do []string
	if _, there := all[dev]; !there {
		do = append(do, fmt.Sprintf("link add %s address %s type bridge stp_state 0 forward_delay 0 mcast_snooping 0", dev, n.MAC))
	}
	for name, l := range all {
		if l.Master == dev {
			do = append(do, fmt.Sprintf("link set %s mtu %d", name, n.MTU))
		}
	}
	if err := ip(append(do, fmt.Sprintf("link set %s mtu %d", dev, n.MTU))...); err != nil {
		return err
	}
	own := n.addresses()
	off := 1
	if slices.ContainsFunc(own, func(p netip.Prefix) bool { return p.Addr().Is6() }) {
		off = 0
	}
	if err := put(dev, "ipv6", "disable_ipv6", off); err != nil && !os.IsNotExist(err) {
		return err
	}
	do = []string{"link set " + dev + " up", "addr flush dev " + dev, "route flush dev " + dev + " proto " + proto}
	for _, p := range own {
		do = append(do, "addr add "+p.String()+" dev "+dev+nodad(p))
	}
	for _, w := range n.Routes {
		if w.Via.IsValid() && slices.ContainsFunc(own, func(p netip.Prefix) bool { return p.Addr().Is6() == w.Via.Is6() }) {
			do = append(do, fmt.Sprintf("route replace %s via %s dev %s proto %s onlink", w.Prefix, w.Via, dev, proto))
		}
	}
	return ip(do...)
}

func nodad(p netip.Prefix) string {
	if p.Addr().Is6() {
		return " nodad"
	}
	return ""
}

// remove takes a network away with all that serves it.
func (r *server) remove(name string) error {
	n, ok := r.networks[name]
	if ok {
		n.served.stop()
		for _, d := range n.doors {
			d.close()
		}
		delete(r.networks, name)
	}
	all, err := links()
	if err != nil {
		return err
	}
	if _, there := all[bridge(name)]; there {
		if err := ip("link del " + bridge(name)); err != nil {
			return err
		}
	}
	return r.lead(r.networks)
}

// stop ends what the room has started; the kernel removes the rest with the namespace.
func (r *server) stop() {
	for _, n := range r.networks {
		n.served.stop()
	}
	if r.outside != nil {
		r.outside.stop()
	}
}

// serveNames makes the dnsmasq of a network what n says.
func (r *server) serveNames(n Network, have *network) error {
	if !n.gives() && !n.Uplink {
		have.served.stop()
		have.served = nil
		return nil
	}
	text := r.names(n)
	if have.served.alive() && have.served.config == text {
		return nil
	}
	have.served.stop()
	served, err := r.startNames(n, text)
	have.served = served
	return err
}

// open makes the ports of the host that lead into a network those that n says.
func (r *server) open(n Network, have *network) error {
	var keep []*door
	for _, d := range have.doors {
		if slices.Contains(n.Forward, d.Forward) {
			keep = append(keep, d)
		} else {
			d.close()
		}
	}
	have.doors = keep
	for _, f := range n.Forward {
		if slices.ContainsFunc(keep, func(d *door) bool { return d.Forward == f }) {
			continue
		}
		for _, other := range r.networks { // a port moves with one of its networks; the other is told later, or was
			if other != have {
				other.yield(f.Listen)
			}
		}
		d, err := r.listen(f)
		if err != nil {
			return fmt.Errorf("listen on %s of the host for machine %s: %w", f.Listen, f.Machine, err)
		}
		have.doors = append(have.doors, d)
	}
	return nil
}

// yield gives up a port of the host that another network takes.
func (n *network) yield(listen netip.AddrPort) {
	n.Forward = slices.DeleteFunc(slices.Clone(n.Forward), func(f site.Forward) bool { return f.Listen == listen })
	n.doors = slices.DeleteFunc(n.doors, func(d *door) bool {
		if d.Listen == listen {
			d.close()
		}
		return d.Listen == listen
	})
}

// lead makes the ways between networks: none, but from uplinks to the outside.
func (r *server) lead(networks map[string]*network) error {
	uplinks := []string{}
	all := []Network{}
	for _, n := range networks {
		all = append(all, n.Network)
		if n.Uplink {
			uplinks = append(uplinks, n.Name)
		}
	}
	slices.SortFunc(all, func(a, b Network) int { return strings.Compare(a.Name, b.Name) })
	switch {
	case len(uplinks) == 0 && r.outside != nil:
		r.outside.stop()
		r.outside = nil
	case len(uplinks) > 0 && (r.outside == nil || !r.outside.alive()):
		out, err := r.startOutside(all)
		if err != nil {
			return err
		}
		r.outside = out
	}
	own, err := r.hostAddresses()
	if err != nil {
		return err
	}
	rules := ruleset(all, own)
	if r.outside != nil && reflect.DeepEqual(r.outside.rules, rules) {
		return nil
	}
	if err := nft(rules); err != nil {
		return err
	}
	if r.outside != nil {
		r.outside.rules = rules
	}
	return nil
}

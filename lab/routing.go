package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strings"
)

// Route is one entry of a machine's routing table besides its own networks.
type Route struct {
	To      netip.Prefix `json:"to"` // 0.0.0.0/0 or ::/0 for the default route
	Via     netip.Addr   `json:"via,omitzero"`
	Network string       `json:"network"` // the interface it leaves by
	Router  string       `json:"router"`  // whose address Via is; "" is an uplink's gateway
}

// Hop is a router on a way, and the networks it joins there.
type Hop struct {
	Router string `json:"router"`
	In     string `json:"in"`
	Out    string `json:"out"`
}

// Ambiguity is a place where the shortest way is not the only one, or a loop, which is why there are two.
type Ambiguity struct {
	Network string   // where the choice is made; of a loop any network of it
	Routers []string // sorted; the first is taken
	Loop    bool     // Routers and networks make a ring: whether packets return the way they came is left to chance
	V6      bool
}

// Topology is which routers join which networks, and the ways that follow from it. Ways are the shortest in number
// of routers; of equal ones the router first by name is taken, and the choice is an Ambiguity. Uplinks are not used
// as a way between two networks of the lab: what is outside is not trusted with that. The state of a NIC's cable is
// not looked at.
type Topology struct {
	lab      Lab
	family   [2]family // IPv4, IPv6
	machines map[string]*Machine
	networks map[string]*Network
}

// family is the topology of one address family.
type family struct {
	joins map[string][]string // router -> its networks in NIC order
	on    map[string][]string // network -> its routers, sorted
	outer map[string]bool     // uplinks
	// dist[d][x] is how many routers are between network x and network d; "" as d is the world.
	dist map[string]map[string]int
	next map[string]map[string]string // next[d][x] is the router that hosts of x take towards d
}

// NewTopology works out the ways of a complete lab.
func NewTopology(l Lab) *Topology {
	t := &Topology{lab: l, machines: map[string]*Machine{}, networks: map[string]*Network{}}
	for i := range l.Machines {
		t.machines[l.Machines[i].Name] = &l.Machines[i]
	}
	for i := range l.Networks {
		t.networks[l.Networks[i].Name] = &l.Networks[i]
	}
	for i := range t.family {
		t.family[i] = t.newFamily(i == 1)
	}
	return t
}

func (t *Topology) newFamily(v6 bool) family {
	f := family{joins: map[string][]string{}, on: map[string][]string{}, outer: map[string]bool{}, dist: map[string]map[string]int{}, next: map[string]map[string]string{}}
	for i := range t.lab.Machines {
		m := &t.lab.Machines[i]
		if !m.Router {
			continue
		}
		for _, nic := range m.NICs {
			if t.has(nic, v6) {
				f.joins[m.Name] = append(f.joins[m.Name], nic.Network)
				f.on[nic.Network] = append(f.on[nic.Network], m.Name)
			}
		}
	}
	for _, routers := range f.on {
		slices.Sort(routers)
	}
	for _, n := range t.lab.Networks {
		f.outer[n.Name] = n.Uplink
	}
	var uplinks []string
	for _, n := range t.lab.Networks {
		if n.Uplink && (t.dhcp(n.Name, v6) || hasPrefix(n, v6)) {
			uplinks = append(uplinks, n.Name)
		}
		f.spread(t, n.Name, []string{n.Name})
	}
	f.spread(t, "", uplinks)
	return f
}

func hasPrefix(n Network, v6 bool) bool { _, ok := n.Prefix(v6); return ok }

// has says whether an interface speaks a family: it has an address of it, or will get one from its uplink.
func (t *Topology) has(nic NIC, v6 bool) bool {
	_, ok := nic.Address(v6)
	return ok || t.dhcp(nic.Network, v6)
}

// dhcp says whether a network's addresses of a family are the target's and not known. IPv6 of such an uplink is not
// counted on.
func (t *Topology) dhcp(network string, v6 bool) bool {
	n := t.networks[network]
	return n != nil && n.Uplink && !n.CIDR.IsValid() && !v6
}

// spread fills in the ways from everywhere to d, which begins at the networks of from.
func (f family) spread(t *Topology, d string, from []string) {
	dist, next := map[string]int{}, map[string]string{}
	f.dist[d], f.next[d] = dist, next
	edge := from
	for _, n := range from {
		dist[n] = 0
	}
	for len(edge) > 0 {
		var reached []string
		for _, n := range edge {
			if dist[n] > 0 && t.networks[n].Uplink { // the end of a way may be an uplink, its middle never
				continue
			}
			for _, r := range f.on[n] {
				for _, x := range f.joins[r] {
					if _, seen := dist[x]; !seen {
						dist[x] = dist[n] + 1
						reached = append(reached, x)
					}
					if dist[x] == dist[n]+1 && (next[x] == "" || r < next[x]) {
						next[x] = r
					}
				}
			}
		}
		edge = reached
	}
}

func (t *Topology) of(v6 bool) family {
	if v6 {
		return t.family[1]
	}
	return t.family[0]
}

// Path is the routers between network x and network d ("" is the world), as hosts with no other interface take them;
// false where there is no way. A network is reached from itself without any router.
func (t *Topology) Path(x, d string, v6 bool) ([]Hop, bool) {
	f := t.of(v6)
	k, ok := f.dist[d][x]
	if !ok {
		return nil, false
	}
	var hops []Hop
	for ; k > 0; k-- {
		r := f.next[d][x]
		out := f.exit(r, d)
		hops = append(hops, Hop{Router: r, In: x, Out: out})
		x = out
	}
	return hops, true
}

// exit is the network by which a router leaves towards d. It is no uplink, unless that is where d is.
func (f family) exit(router, d string) string {
	var inner []string
	for _, n := range f.joins[router] {
		if !f.outer[n] || f.dist[d][n] == 0 {
			inner = append(inner, n)
		}
	}
	return f.nearest(inner, d)
}

// nearest is the one of networks that is nearest to d; of equal ones the first for the world, since the guest takes
// its first uplink, else the first by name.
func (f family) nearest(networks []string, d string) string {
	best := ""
	for _, x := range networks {
		k, ok := f.dist[d][x]
		if !ok {
			continue
		}
		if b := f.dist[d][best]; best == "" || k < b || k == b && d != "" && x < best {
			best = x
		}
	}
	return best
}

// Routes are the routes of a machine to everything it is not on itself, sorted by destination, default routes first.
// A host gets its default route and those that lead another way; a router gets one for every network. Without a way
// to the world there is no default route but a route for every network.
func (t *Topology) Routes(machine string) []Route {
	m := t.machines[machine]
	if m == nil {
		return nil
	}
	var out []Route
	for _, v6 := range []bool{false, true} {
		out = append(out, t.routes(m, v6)...)
	}
	return out
}

func (t *Topology) routes(m *Machine, v6 bool) []Route {
	f := t.of(v6)
	var own []string
	for _, nic := range m.NICs {
		if t.has(nic, v6) {
			own = append(own, nic.Network)
		}
	}
	var out []Route
	def, hasDefault := t.way(m, own, "", v6)
	if hasDefault {
		def.To = everything(v6)
		out = append(out, def)
	}
	var rest []Route
	for _, n := range t.lab.Networks {
		p, ok := n.Prefix(v6)
		if !ok || slices.Contains(own, n.Name) || len(f.on[n.Name]) == 0 {
			continue
		}
		r, ok := t.way(m, own, n.Name, v6)
		if !ok || !m.Router && hasDefault && r.Via == def.Via && r.Network == def.Network {
			continue
		}
		r.To = p
		rest = append(rest, r)
	}
	sort.Slice(rest, func(i, j int) bool { return rest[i].To.Addr().Less(rest[j].To.Addr()) })
	return append(out, rest...)
}

// way is the first step of a machine on networks own towards network d, or the world.
func (t *Topology) way(m *Machine, own []string, d string, v6 bool) (Route, bool) {
	f := t.of(v6)
	x := f.nearest(own, d)
	if m.Router {
		x = f.exit(m.Name, d)
	}
	if x == "" {
		return Route{}, false
	}
	if f.dist[d][x] == 0 { // only the world: own networks have no route
		p, ok := t.networks[x].Prefix(v6)
		if !ok {
			return Route{Network: x}, true
		}
		return Route{Network: x, Via: Gateway(p)}, true
	}
	r := f.next[d][x]
	nic, _ := t.machines[r].NIC(x)
	via, ok := nic.Address(v6)
	return Route{Network: x, Router: r, Via: via}, ok && r != m.Name
}

func everything(v6 bool) netip.Prefix {
	if v6 {
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
}

// Gateway is the router that hosts of a network take for everything that is not in the lab, or, where no way leads
// to the world, the first router on it by name. What serves DHCP or router advertisements there names it.
func (t *Topology) Gateway(network string, v6 bool) (router string, addr netip.Addr, ok bool) {
	f := t.of(v6)
	router = f.next[""][network]
	if router == "" && len(f.on[network]) > 0 {
		router = f.on[network][0]
	}
	m := t.machines[router]
	if m == nil {
		return "", netip.Addr{}, false
	}
	nic, _ := m.NIC(network)
	addr, ok = nic.Address(v6)
	return router, addr, ok
}

// Beyond are the networks that a router reaches over the interface on one of its networks, that one first; and
// whether the world is there too: over an uplink, and where its default route leads.
func (t *Topology) Beyond(router, network string, v6 bool) (networks []string, world bool) {
	f := t.of(v6)
	m := t.machines[router]
	networks = []string{network}
	for _, n := range t.lab.Networks {
		if n.Name == network || slices.Contains(f.joins[router], n.Name) {
			continue
		}
		if r, ok := t.way(m, f.joins[router], n.Name, v6); ok && r.Network == network {
			networks = append(networks, n.Name)
		}
	}
	def, ok := t.way(m, f.joins[router], "", v6)
	return networks, t.networks[network].Uplink || ok && def.Network == network
}

// Behind are the routers that a machine's ways to the world lead over, sorted; where none leads there, those on its
// networks, unless it is a router itself.
func (t *Topology) Behind(machine string) []string {
	m := t.machines[machine]
	if m == nil {
		return nil
	}
	var all []string
	for _, nic := range m.NICs {
		for i, f := range t.family {
			hops, ok := t.Path(nic.Network, "", i == 1)
			if !ok && !m.Router {
				all = append(all, f.on[nic.Network]...)
			}
			for _, h := range hops {
				all = append(all, h.Router)
			}
		}
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(r string) bool { return r == machine })
}

// Ambiguities are the places where the ways are not the only ones; loops first.
func (t *Topology) Ambiguities() []Ambiguity {
	var out []Ambiguity
	seen := map[string]bool{}
	add := func(a Ambiguity) {
		key := fmt.Sprint(a.Network, a.Routers, a.Loop)
		if !seen[key] {
			seen[key] = true
			out = append(out, a)
		}
	}
	for _, v6 := range []bool{false, true} {
		for _, a := range t.loops(v6) {
			add(a)
		}
	}
	for _, v6 := range []bool{false, true} {
		f := t.of(v6)
		for _, n := range t.lab.Networks {
			if n.Uplink {
				continue
			}
			var equal []string
			for _, r := range f.on[n.Name] {
				if x := f.exit(r, ""); x != "" && f.dist[""][n.Name] == f.dist[""][x]+1 {
					equal = append(equal, r)
				}
			}
			if len(equal) > 1 {
				add(Ambiguity{Network: n.Name, Routers: equal, V6: v6})
			}
		}
	}
	return out
}

// loops finds the rings that routers and networks other than uplinks make, one for each connection that closes one.
func (t *Topology) loops(v6 bool) []Ambiguity {
	f := t.of(v6)
	var out []Ambiguity
	parent := map[string]string{} // a forest that grows by the connections that close no ring
	up := func(x string) []string {
		chain := []string{x}
		for parent[x] != "" {
			x = parent[x]
			chain = append(chain, x)
		}
		return chain
	}
	for i := range t.lab.Machines {
		router := t.lab.Machines[i].Name
		for _, n := range f.joins[router] {
			if t.networks[n].Uplink {
				continue
			}
			a, b := up("r/"+router), up("n/"+n)
			if a[len(a)-1] != b[len(b)-1] {
				for k := len(a) - 1; k > 0; k-- { // turn the router's tree round, so that the router is its root
					parent[a[k]] = a[k-1]
				}
				parent["r/"+router] = "n/" + n
				continue
			}
			var routers []string
			for _, x := range append(only(a, b), only(b, a)...) {
				if r, ok := strings.CutPrefix(x, "r/"); ok {
					routers = append(routers, r)
				}
			}
			if top := common(a, b); strings.HasPrefix(top, "r/") {
				routers = append(routers, strings.TrimPrefix(top, "r/"))
			}
			slices.Sort(routers)
			out = append(out, Ambiguity{Network: n, Routers: slices.Compact(routers), Loop: true, V6: v6})
		}
	}
	return out
}

func only(a, b []string) (out []string) {
	for _, x := range a {
		if !slices.Contains(b, x) {
			out = append(out, x)
		}
	}
	return out
}

func common(a, b []string) string {
	for _, x := range a {
		if slices.Contains(b, x) {
			return x
		}
	}
	return ""
}

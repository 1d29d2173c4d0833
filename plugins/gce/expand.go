package gce

import (
	"fmt"
	"net/netip"
	"slices"
	"sort"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/site"
)

// Expand implements provider.Provider.
func (g *gce) Expand(l lab.Lab, seeds map[string]lab.Seed) ([]provider.Resource, error) {
	return expand(l, seeds, g.opts)
}

// expand says what a lab is made of here.
func expand(l lab.Lab, seeds map[string]lab.Seed, o options) ([]provider.Resource, error) {
	x, err := expanded(l, seeds, o)
	if err != nil {
		return nil, err
	}
	return x.found, nil
}

// expanded is expand with the lab as it is placed here.
func expanded(l lab.Lab, seeds map[string]lab.Seed, o options) (*expansion, error) {
	if err := refuse(l, o); err != nil {
		return nil, err
	}
	here, err := site.Place(l, o.UplinkCIDR, func(n string) provider.Addr { return addr(kindNetwork, n) })
	if err != nil {
		return nil, err
	}
	x := &expansion{lab: here.Lab, known: map[string]bool{}, ways: lab.NewTopology(here.Lab), seeds: seeds, opts: o}
	for _, n := range l.Networks {
		x.known[n.Name] = n.CIDR.IsValid()
	}
	for _, step := range []func() error{x.networks, x.firewalls, x.names, x.machines, x.routes, x.guests} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	sort.Slice(x.found, func(i, j int) bool { return x.found[i].Addr.Compare(x.found[j].Addr) < 0 })
	return x, nil
}

// expansion collects resources.
type expansion struct {
	lab   lab.Lab         // with all addresses
	known map[string]bool // networks whose addresses the spec gives
	ways  *lab.Topology
	seeds map[string]lab.Seed
	opts  options
	found []provider.Resource
}

func (x *expansion) add(kind, name, machine string, attrs any, needs ...provider.Addr) error {
	a := addr(kind, name)
	enc, err := provider.Encode(attrs)
	if err != nil {
		return fmt.Errorf("%s: %w", a, err)
	}
	x.found = append(x.found, provider.Resource{Addr: a, Lab: x.lab.Name, Attrs: enc, Needs: needs, Machine: machine})
	return nil
}

// networks are VPCs, each with one subnet and, where the world is, a NAT.
func (x *expansion) networks() error {
	for _, n := range x.lab.Networks {
		p, _ := n.Prefix(false)
		network := addr(kindNetwork, n.Name)
		if err := x.add(kindNetwork, n.Name, "", networkAttrs{MTU: n.MTU}); err != nil {
			return err
		}
		if err := x.add(kindSubnet, n.Name, "", subnetAttrs{n.Name, p.Addr().String(), p.Bits()}, network); err != nil {
			return err
		}
		if n.Uplink && x.opts.NAT {
			if err := x.add(kindNAT, n.Name, "", natAttrs{n.Name, natAll}, network, addr(kindSubnet, n.Name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// natAll is a NAT for every machine on the network.
const natAll = "all"

// iap is where Google's proxy comes from: https://cloud.google.com/iap/docs/using-tcp-forwarding.
var iap = netip.MustParsePrefix("35.235.240.0/20")

// admin is from where labctl comes in.
func admin(l lab.Lab) []netip.Prefix {
	if l.Implied != nil && len(l.Implied.Admin) > 0 {
		return l.Implied.Admin
	}
	return []netip.Prefix{iap}
}

func (x *expansion) firewalls() error {
	rules, err := walls(x.lab, x.ways, admin(x.lab))
	if err != nil {
		return &provider.Error{Op: "expand", Code: provider.Invalid, Text: err.Error()}
	}
	for name, a := range rules {
		if err := x.add(kindFirewall, name, "", a, addr(kindNetwork, a.Network)); err != nil {
			return err
		}
	}
	return nil
}

// machines are instances with their disks and external addresses.
func (x *expansion) machines() error {
	for _, m := range x.lab.Machines {
		for i, d := range m.Disks {
			a := diskAttrs{Type: x.opts.DiskType, Size: whole(d.Size), Protect: m.Protects(d)}
			if i == 0 {
				img, _ := x.lab.Image(m.Image)
				a.Image, _ = x.opts.source(img)
			}
			if err := x.add(kindDisk, m.Name+"/"+d.Name, m.Name, a); err != nil {
				return err
			}
		}
		a := x.machine(m)
		if a.External != "" {
			if err := x.add(kindAddress, a.External, m.Name, addressAttrs{Tier: tier}); err != nil {
				return err
			}
		}
		if err := x.add(kindMachine, m.Name, m.Name, a, machineNeeds(m.Name, a)...); err != nil {
			return err
		}
	}
	return nil
}

// tier is the API's own default.
const tier = "PREMIUM"

// minDisk is the smallest disk that there is, and the smallest that the public images fit in.
const minDisk = 10 * lab.GiB

// whole is the size of a disk here.
func whole(size lab.Bytes) lab.Bytes {
	return max(minDisk, (size+lab.GiB-1)/lab.GiB*lab.GiB)
}

func (x *expansion) machine(m lab.Machine) machineAttrs {
	t, _ := smallest(m, x.opts.MachineType)
	a := machineAttrs{
		Type: t.name, Forwards: m.Router, Nested: m.Nested, Power: string(m.Power), Protect: m.Protect, GPUs: gpus(m.GPUs),
		Metadata: ownMetadata(), TTL: x.opts.TTL,
	}
	for _, d := range m.Disks {
		a.Disks = append(a.Disks, d.Name)
	}
	if len(a.Disks) > 1 {
		slices.Sort(a.Disks[1:])
	}
	for _, n := range upstreamFirst(x.ways, m) {
		a.NICs = append(a.NICs, nic{n.Network, n.Addr.String()})
	}
	if m.Routing != nil && len(m.Routing.Publish) > 0 {
		a.External = m.Name
	}
	return a
}

func gpus(g *lab.GPUs) string {
	if g == nil {
		return ""
	}
	return fmt.Sprintf("%s x %d", g.Type, g.Count)
}

// ownMetadata is what every instance is told besides its seed: who may log in stands in the seed alone.
func ownMetadata() map[string]string {
	return map[string]string{"enable-oslogin": "FALSE", "block-project-ssh-keys": "TRUE", "serial-port-logging-enable": "TRUE"}
}

// upstreamFirst are a machine's interfaces in the spec's order, but that the one that leads to the world comes first: the
// first is the one that Google configures at boot, and the only one with a default route and an external address.
func upstreamFirst(ways *lab.Topology, m lab.Machine) []lab.NIC {
	nics := slices.Clone(m.NICs)
	for _, r := range ways.Routes(m.Name) {
		if r.To.Bits() != 0 || !r.To.Addr().Is4() {
			continue
		}
		i := slices.IndexFunc(nics, func(n lab.NIC) bool { return n.Network == r.Network })
		if i > 0 {
			first := nics[i]
			nics = slices.Insert(slices.Delete(nics, i, i+1), 0, first)
		}
		break
	}
	return nics
}

func machineNeeds(name string, a machineAttrs) []provider.Addr {
	var needs []provider.Addr
	for _, d := range a.Disks {
		needs = append(needs, addr(kindDisk, name+"/"+d))
	}
	for _, n := range a.NICs {
		needs = append(needs, addr(kindSubnet, n.Network))
	}
	if a.External != "" {
		needs = append(needs, addr(kindAddress, a.External))
	}
	slices.SortFunc(needs, provider.Addr.Compare)
	return slices.Compact(needs)
}

// routePriority is below that of the route to the internet that every VPC is made with (1000): lower wins.
const routePriority = 900

// routes lead from each VPC to what is behind the routers on it. Inside a VPC it does not matter which gateway a machine
// names: packets go where the VPC's routes say. On an uplink machines know the ways only where the lab gives its addresses:
// so it is on all targets, and in the proof.
func (x *expansion) routes() error {
	for _, n := range x.lab.Networks {
		if n.Uplink && !x.known[n.Name] {
			continue
		}
		world := ""
		lead := func(to netip.Prefix, name, via string) error {
			a := routeAttrs{Network: n.Name, To: to.String(), Via: via, Priority: routePriority}
			return x.add(kindRoute, n.Name+"/"+name, "", a, addr(kindNetwork, n.Name), addr(kindSubnet, n.Name), addr(kindMachine, via))
		}
		if hops, ok := x.ways.Path(n.Name, "", false); ok && len(hops) > 0 {
			world = hops[0].Router
			if err := lead(netip.PrefixFrom(netip.IPv4Unspecified(), 0), "world", world); err != nil {
				return err
			}
		}
		for _, d := range x.lab.Networks {
			p, ok := d.Prefix(false)
			if !ok || d.Name == n.Name {
				continue
			}
			hops, ok := x.ways.Path(n.Name, d.Name, false)
			if !ok || len(hops) == 0 || hops[0].Router == world {
				continue
			}
			if err := lead(p, d.Name, hops[0].Router); err != nil {
				return err
			}
		}
	}
	return nil
}

// guests come last: what they fetch takes the lab's own routes.
func (x *expansion) guests() error {
	var routes []provider.Addr
	for _, r := range x.found {
		if r.Addr.Kind == kindRoute {
			routes = append(routes, r.Addr)
		}
	}
	for _, m := range x.lab.Machines {
		needs := append([]provider.Addr{addr(kindMachine, m.Name)}, routes...)
		if err := x.add(kindGuest, m.Name, m.Name, guestAttrs{m.Addresses(), x.seeds[m.Name].Digest}, needs...); err != nil {
			return err
		}
	}
	return nil
}

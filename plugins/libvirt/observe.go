package libvirt

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/digitalocean/go-libvirt"

	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/libvirt/conn"
	"github.com/labctl-dev/labctl/provider"
)

// Observe implements provider.Provider: one pass over the host, which is then read in the lab's own terms.
func (v *virt) Observe(ctx context.Context, l lab.Lab) ([]provider.Observed, error) {
	found, err := v.observe(ctx, l)
	if err != nil {
		return nil, provider.Wrap("observe lab "+l.Name, provider.Addr{}, err)
	}
	return found, nil
}

func (v *virt) observe(ctx context.Context, l lab.Lab) ([]provider.Observed, error) {
	if err := ended(ctx); err != nil {
		return nil, err
	}
	w, err := v.look(ctx, l)
	if err != nil {
		return nil, err
	}
	o := newObserver(v, l, w)
	o.pools()
	o.images()
	o.networks()
	o.disks()
	o.machines()
	o.remains()
	if o.err != nil {
		return nil, o.err
	}
	sort.Slice(o.found, func(i, j int) bool { return o.found[i].Addr.Compare(o.found[j].Addr) < 0 })
	return o.found, nil
}

// observer makes of what was seen on the host what the lab consists of; it asks the host nothing more.
type observer struct {
	v     *virt
	l     lab.Lab
	w     *world
	known known              // what the definitions of the lab's machines refer to
	given map[string]lab.Lab // the lab with the addresses that this target gives on a network for which the lab has none
	found []provider.Observed
	err   error // the first
}

func newObserver(v *virt, l lab.Lab, w *world) *observer {
	o := &observer{v: v, l: l, w: w, given: map[string]lab.Lab{}}
	o.known = known{lab: l.Name, networks: o.networkNames(), adopted: w.adopted(), there: w.there, images: l.Images}
	cidrs, err := uplinkCIDRs(l, v.opts)
	if err != nil { // there is no room for them: Expand says so
		return o
	}
	for _, n := range l.Networks {
		if !n.CIDR.IsValid() && cidrs[n.Name].IsValid() {
			o.given[n.Name] = addressed(l, n.Name, cidrs[n.Name])
		}
	}
	return o
}

func (o *observer) add(obs provider.Observed, attrs any) {
	enc, err := provider.Encode(attrs)
	if err != nil && o.err == nil {
		o.err = err
	}
	obs.Attrs = enc
	if !obs.Shared {
		obs.Lab = o.l.Name
	}
	o.found = append(o.found, obs)
}

// pools are those that the lab would use. They are shared: the last one to leave an empty pool that we made removes it.
func (o *observer) pools() {
	names := []string{imagePool, diskPool}
	for _, p := range o.l.Pools {
		names = append(names, p.Name)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if p := o.w.pool(poolRef(o.l, name)); p != nil {
			obs := provider.Observed{Addr: addr(kindPool, name), Shared: true, Outputs: map[string]string{"pool": p.name, "path": p.path}}
			o.add(obs, poolAttrs{Path: poolPath(o.l, name), Power: onOff(p.active)})
		}
	}
}

func onOff(active bool) string {
	if active {
		return on
	}
	return off
}

func (o *observer) images() {
	ref := poolRef(o.l, imagePool)
	for _, i := range o.l.Images {
		p := o.w.pool(ref)
		if p == nil {
			continue
		}
		if vol := p.volumes[imageVolume(image.ID(i))]; vol != nil && p.volumes[imageMark(image.ID(i))] != nil {
			obs := provider.Observed{Addr: addr(kindImage, i.Name), Shared: true, Outputs: map[string]string{"volume": vol.path, "pool": p.name}, Needs: []provider.Addr{addr(kindPool, imagePool)}}
			o.add(obs, imageAttrs{image.ID(i), i, ref})
		}
	}
}

func (o *observer) networks() {
	for _, n := range o.w.networks {
		if n.mark.Lab != o.l.Name {
			continue
		}
		if n.mark.Adopted != "" {
			o.adoptedNetwork(n)
			continue
		}
		a := networkOfXML(n.live, n.mark)
		a.Power, a.Autostart = onOff(n.active), n.autostart
		a.Definition = a.apart(networkOfXML(n.config, n.mark))
		a.Detached = o.w.detached(n)
		o.add(provider.Observed{Addr: addr(kindNetwork, n.mark.Name), Outputs: o.aboutNetwork(n, a.Address)}, a)
	}
}

// aboutNetwork are a network's outputs. address is the host's own on it; zero if it has none.
func (o *observer) aboutNetwork(n *networkSeen, address netip.Addr) map[string]string {
	out := map[string]string{"network": n.live.Name}
	if n.live.Bridge != nil {
		out["bridge"] = n.live.Bridge.Name
	}
	if address.IsValid() {
		out["address"] = address.String()
	}
	if users := o.w.foreign(n.live.Name, o.l.Name); len(users) > 0 {
		out["foreign"] = list(users)
	}
	return out
}

func (o *observer) disks() {
	for _, p := range o.w.pools {
		for _, vol := range p.volumes {
			machine, disk, ok := parseDisk(o.l.Name, vol.name)
			if !ok || !vol.whole() && o.desired(machine, disk) { // half made: Create makes it whole
				continue
			}
			a := diskAttrs{Size: vol.capacity, Pool: o.poolName(p), Protect: o.protected(machine, disk)}
			needs := []provider.Addr{}
			if vol.backing != "" {
				a.Image = known{images: o.l.Images}.imageOf(vol.backing)
			}
			for _, i := range o.l.Images {
				if a.Image != "" && image.ID(i) == a.Image {
					needs = append(needs, addr(kindImage, i.Name))
				}
			}
			obs := provider.Observed{Addr: addr(kindDisk, machine+"/"+disk), Machine: machine, Needs: needs,
				Outputs: map[string]string{"path": vol.path, "used": vol.allocation.String()}}
			o.add(obs, a)
		}
	}
}

// protected says whether a machine's mark says that a disk of it is protected, or if the machine has gone already, the
// lab.
func (o *observer) protected(machine, disk string) bool {
	for _, d := range o.w.domains {
		if d.mark.Lab == o.l.Name && d.mark.Name == machine {
			return d.mark.Protect || slices.Contains(d.mark.Precious, disk)
		}
	}
	m, _ := o.l.Machine(machine)
	return m.Protect || slices.ContainsFunc(m.Disks, func(d lab.Disk) bool { return d.Name == disk && d.Protect })
}

// desired says whether the lab has a disk of that name.
func (o *observer) desired(machine, disk string) bool {
	m, _ := o.l.Machine(machine)
	return slices.ContainsFunc(m.Disks, func(d lab.Disk) bool { return d.Name == disk })
}

// poolName is what the lab calls a pool; where it calls it nothing, what the host does.
func (o *observer) poolName(p *poolSeen) string {
	names := []string{diskPool}
	for _, x := range o.l.Pools {
		names = append(names, x.Name)
	}
	for _, name := range names {
		if ref := poolRef(o.l, name); o.w.pool(ref) == p {
			return ref
		}
	}
	return strings.TrimPrefix(p.name, poolPrefix)
}

func (o *observer) machines() {
	for _, d := range o.w.domains {
		switch {
		case d.mark.Lab != o.l.Name:
		case d.mark.Adopted != "":
			o.adoptedMachine(d)
		default:
			o.machine(d)
		}
	}
}

func (o *observer) machine(d *domainSeen) {
	name := d.mark.Name
	a, config := o.known.machine(d, d.mark)
	if d.active {
		a.Definition = a.apart(config)
	}
	switch {
	case d.active && d.kept: // of the past, since it goes on
		a.Definition = "saved memory"
	case d.transient:
		a.Definition = "gone"
	case d.mark.Restore != "":
		a.Definition = "half restored"
	}
	a.Power, a.Autostart = d.state, d.autostart
	seed := o.w.volume(seedVolume(o.l.Name, name))
	switch {
	case seed == nil && !o.w.blind():
		a.Seed = "missing"
	case d.mark.Seeding:
		a.Seed = "torn"
	}
	out := d.about()
	if log := o.w.volume(logVolume(o.l.Name, name)); log != nil {
		out["console"] = log.path
	}
	o.add(provider.Observed{Addr: addr(kindMachine, name), Machine: name, Needs: machineNeeds(name, a), Outputs: o.addresses(name, out)}, a)
	if d.mark.Guest != nil && a.Root != "" {
		g := provider.Observed{Addr: addr(kindGuest, name), Machine: name, Needs: []provider.Addr{addr(kindMachine, name)}}
		o.add(g, *d.mark.Guest)
	}
}

// about are the outputs of every machine.
func (d *domainSeen) about() map[string]string {
	out := map[string]string{"domain": d.live.Name, "accel": map[string]string{typeKVM: "kvm", typeQEMU: "tcg"}[d.live.Type]}
	if d.active && d.live.ID != nil {
		out["id"] = strconv.Itoa(*d.live.ID) // another one after each start
	}
	return out
}

// machine is a domain as it runs, if it does, and as it is defined.
func (k known) machine(d *domainSeen, m mark) (now, config machineAttrs) {
	now, config = k.machineOfXML(d.live, m), k.machineOfXML(d.config, m)
	if d.active && now.Memory == now.MaxMemory && config.Memory < config.MaxMemory && config.MaxMemory == now.MaxMemory {
		now.Memory = config.Memory // its guest has no balloon driver, or not yet
	}
	return now, config
}

// networkNames are the lab's names of networks by those on the host: also of the ones that are gone, which NICs of
// machines that run still name.
func (o *observer) networkNames() map[string]string {
	names := map[string]string{}
	for _, n := range o.l.Networks {
		if n.Adopted == "" {
			names[networkName(o.l.Name, n.Name)] = n.Name
		}
	}
	for _, n := range o.w.networks {
		delete(names, n.live.Name)
	}
	maps.Copy(names, o.w.networkNames(o.l.Name))
	return names
}

func machineNeeds(name string, a machineAttrs) []provider.Addr {
	var needs []provider.Addr
	for _, d := range a.all() {
		needs = append(needs, addr(kindDisk, name+"/"+d))
	}
	for _, n := range a.NICs {
		needs = append(needs, addr(kindNetwork, n.Network))
	}
	sort.Slice(needs, func(i, j int) bool { return needs[i].Compare(needs[j]) < 0 })
	return needs
}

// addresses adds those that this target gives, which stand nowhere in the lab.
func (o *observer) addresses(machine string, out map[string]string) map[string]string {
	for network, l := range o.given {
		if a := given(l, network, machine); a.IsValid() {
			out["address/"+network] = a.String()
		}
	}
	return out
}

// remains are volumes of machines that the lab no longer has and that have no domain either, left by a creation or a
// deletion that was cut short.
func (o *observer) remains() {
	seen := map[string]bool{}
	for _, d := range o.w.domains {
		if d.mark.Lab == o.l.Name {
			seen[d.mark.Name] = true
		}
	}
	for _, p := range o.w.pools {
		for name := range p.volumes {
			rest, ours := strings.CutPrefix(name, prefix(o.l.Name))
			m, kind, _ := strings.Cut(rest, between)
			machine := unescape(m)
			if _, wanted := o.l.Machine(machine); !ours || wanted || seen[machine] || between+kind != seedSuffix && between+kind != logSuffix {
				continue
			}
			seen[machine] = true
			o.add(provider.Observed{Addr: addr(kindMachine, machine), Machine: machine}, machineAttrs{Power: off, Seed: "left"})
		}
	}
}

// gone says whether err means that a thing went away between being listed and being asked for.
func gone(err error) bool {
	return conn.Is(err, libvirt.ErrNoDomain, libvirt.ErrNoNetwork, libvirt.ErrNoStoragePool, libvirt.ErrNoStorageVol)
}

// volumeOf reads what libvirt says of a volume.
func volumeOf(name, text string) (*volumeSeen, error) {
	e, ok := skipped{}.parse(text)
	if !ok {
		return nil, fmt.Errorf("volume %s: libvirt's definition of it is not as libvirt writes them: %q", name, text)
	}
	target := e.kid("target")
	s := &volumeSeen{name: name, path: target.kid("path").text(), format: target.kid("format").attr("type"), backing: e.kid("backingStore").kid("path").text()}
	for size, kid := range map[*lab.Bytes]string{&s.capacity: "capacity", &s.allocation: "allocation", &s.physical: "physical"} {
		k := e.kid(kid)
		n, err := strconv.ParseUint(k.text(), 10, 63)
		if unit := k.attr("unit"); k != nil && (err != nil || unit != "" && unit != "bytes") {
			return nil, fmt.Errorf("volume %s: its %s is %q %s, not a number of bytes", name, kid, k.text(), unit)
		}
		*size = lab.Bytes(n)
	}
	if s.path == "" {
		s.path = path.Clean(e.kid("key").text())
	}
	return s, nil
}

// list puts words in order and joins them.
func list(words []string) string {
	slices.Sort(words)
	return strings.Join(words, ", ")
}
